"""Pipelines to begin with, one for each category."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from dsl.catalog import FieldType, Pipeline, PipelineCategory, PipelineEvent, PipelineField

_TYPES: Final[Mapping[str, FieldType]] = {
    "s": "string",
    "n": "number",
    "b": "boolean",
    "t": "timestamp",
    "o": "object",
    "l": "list",
}


def _event(name: str, description: str, fields: str = "") -> PipelineEvent:
    """An event whose fields are written `n!price s!currency`: type, `!` where it is required, else `?`, name."""
    return PipelineEvent(
        name,
        tuple(PipelineField(each[2:], _TYPES[each[0]], required=each[1] == "!") for each in fields.split()),
        description,
    )


TEMPLATES: Final[Mapping[PipelineCategory, Pipeline]] = {
    pipeline.category: replace(pipeline, status="configuring")
    for pipeline in (
        Pipeline(
            "web-shop",
            (
                _event("page_view", "A page was opened.", "s!url s?title s?referrer"),
                _event("product_viewed", "A product's page was opened.", "s!product_id n?price s?category"),
                _event("add_to_cart", "A product went into the cart.", "s!product_id n!quantity n?price n?cart.total"),
                _event("search", "Somebody searched.", "s!query n?results"),
            ),
            "Web shop",
            "What visitors do.",
            "behavioral",
        ),
        Pipeline(
            "orders",
            (
                _event("purchase", "An order was paid.", "s!order_id n!amount s?currency l?product_ids s?coupon"),
                _event("refund", "Money was given back.", "s!order_id n!amount s?reason"),
                _event("subscription_renewed", "A subscription goes on.", "s!plan n!amount t?until"),
            ),
            "Orders",
            "What is bought and given back.",
            "transaction",
        ),
        Pipeline(
            "sessions",
            (
                _event("session_started", "Somebody is here.", "s!session_id s?device.kind s?device.os s?country"),
                _event("location_changed", "Somebody is elsewhere.", "s!country s?city"),
            ),
            "Sessions",
            "Where and with what people come.",
            "context",
        ),
        Pipeline(
            "campaigns",
            (
                _event("message_sent", "A message left.", "s!campaign_id s!channel s?variant"),
                _event("message_opened", "A message was read.", "s!campaign_id s!channel"),
                _event("message_clicked", "A link in a message was followed.", "s!campaign_id s!channel s?url"),
                _event("unsubscribed", "Somebody wants no more messages.", "s!channel s?reason"),
            ),
            "Campaigns",
            "What is sent to people, and what they make of it.",
            "marketing",
        ),
        Pipeline(
            "trust",
            (
                _event("login_failed", "A password was wrong.", "s?reason s?device.kind"),
                _event("chargeback", "A payment was taken back by the bank.", "s!order_id n!amount"),
                _event("consent_changed", "A consent was given or withdrawn.", "s!purpose b!given"),
            ),
            "Trust",
            "What makes trust, and what costs it.",
            "trust",
        ),
        Pipeline(
            "live",
            (
                _event("heartbeat", "Somebody is still there.", "s!session_id s?url"),
                _event("cart_idle", "A cart has not changed for a while.", "n!idle_seconds n?cart.total"),
                _event("exit_intent", "Somebody is about to leave.", "s?url"),
            ),
            "Live",
            "What is worth an answer while it happens.",
            "realtime",
        ),
    )
}
"""By category. They are `configuring`: nothing comes in before somebody has looked at the fields."""
