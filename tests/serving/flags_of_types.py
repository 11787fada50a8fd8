"""A shop with a flag of every type, for clients that want one: nobody has bought anything yet."""

from dsl.catalog import Catalog, EventSchema, Flag, Rule, Segment, Trait, Variant
from serving.online import publish_catalog
from tests.ingest.conftest import Shop

VIP = 'segment("vip")'
CATALOG = Catalog(
    events=(EventSchema("purchase", {"amount": "number"}),),
    traits=(Trait("purchases_30d", "events.purchase.count_30d"),),
    segments=(Segment("vip", "purchases_30d >= 1"),),
    flags=(
        Flag("free_delivery", (Rule(VIP, "on"),)),
        Flag("big_basket", (Rule("context.amount >= 100.5", "on"),)),
        Flag("colour", (Rule(VIP, "red"),), (Variant("red", True, "red"), Variant("plain", False)), "plain"),
        Flag("seats", (Rule(VIP, "many"),), (Variant("many", True, 500), Variant("none", False)), "none"),
        Flag(
            "discount",
            (Rule(VIP, "large"), Rule("context.amount >= 100", "small")),
            (Variant("large", True, 500), Variant("small", True, 0.25), Variant("none", False)),
            "none",
        ),
        Flag(
            "win_back_offer",
            (Rule(VIP, "large"),),
            (Variant("large", True, {"voucher": 20}), Variant("none", False)),
            "none",
        ),
        Flag("switch", (Rule(VIP, "yes"),), (Variant("yes", False, True), Variant("no", True)), "no"),
        Flag(
            "halves",
            (Rule(None),),
            (Variant("left", True, "l", 1_000_000), Variant("right", True, "r", 1_000_000)),
            "left",
        ),
        Flag("closed", (Rule(None, "on"),), enabled=False),
        Flag("a.b-c_D"),
    ),
)
"""`discount` is a float, since a payload of it has a decimal point; `switch` hands over what it does not allow."""


def publish_flags(shop: Shop, catalog: Catalog = CATALOG, version: int = 1) -> None:
    """Make them what decisions use."""
    publish_catalog(shop.client, shop.project, version, catalog.to_document())


def buy(shop: Shop, user: str) -> None:
    """Somebody buys, and is a `vip` from then on."""
    answer = shop.post("/v1/track", {"userId": user, "event": "purchase", "properties": {"amount": 12.3}})
    assert 200 == answer.status_code
