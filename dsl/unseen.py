"""Warnings of names that no event has had, and of values that were of other types."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from dsl import typed
from dsl.nearest import nearest_help
from dsl.observed import Types
from dsl.source import Span
from dsl.types import ARTICLE

if TYPE_CHECKING:
    from dsl.infer import Inference


def warn_unseen_event(inference: "Inference", name: str, span: Span) -> None:
    """Warns of an event that never happened."""
    observed = inference.names.observed
    if observed is not None and observed.events and name not in observed.events:
        help_lines = nearest_help(name, observed.events, "event", "events.")
        inference.warn("not-seen", f"no event was ever called `{name}`", span, "not seen so far", help_lines)


def warn_unseen(inference: "Inference", field: typed.Field, span: Span) -> None:
    """Warns of an attribute or property that no event has had."""
    seen, name = _seen(inference, field), ".".join(field.steps)
    # What is below a path was seen as well, though it has no value of its own: `is_set(cart)`.
    if not seen or name in seen or any(path.startswith(f"{name}.") for path in seen):
        return
    what, lead = ("attribute", "profile.") if field.root == "attribute" else ("property", "")
    of_event = f" of `{inference.event_name}`" if field.root == "property" and inference.event_name else ""
    help_lines = nearest_help(name, seen, what, lead, lambda known: _words(seen[known]))
    inference.warn("not-seen", f"no {what}{of_event} was ever called `{name}`", span, "not seen so far", help_lines)


def warn_otherwise(inference: "Inference", field: typed.Field) -> None:
    """Warns of an attribute or property that is read as a type that no event has had; refuses to read an object."""
    name = ".".join(field.steps)
    if field.root == "property" and inference.event is not None and inference.event.types.get(name) == "object":
        help_lines = (f"name a property of it: `{name}.…`", f"or ask whether it is there: `is_set({name})`")
        message = f"`{name}` is an object, which has no value of its own"
        inference.error("wrong-type", message, field.span, "", help_lines)
    types = _seen(inference, field).get(name)
    if types and field.type not in (*types, "unknown"):
        message = f"`{name}` is read as {ARTICLE[field.type]}"
        inference.warn("seen-otherwise", message, field.span, f"only seen as {_words(types)}")


def _words(types: Types) -> str:
    """Types as a person says them: a text that is an instant is both."""
    return " or ".join(sorted(types - {"timestamp"}))


def _seen(inference: "Inference", field: typed.Field) -> Mapping[str, Types]:
    """What was seen of the attributes, or of the properties of the event; empty where nothing is known."""
    observed = inference.names.observed
    if observed is None or field.root == "context":
        return {}
    return observed.attributes if field.root == "attribute" else observed.properties(inference.event_name)
