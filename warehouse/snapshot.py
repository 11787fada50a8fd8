"""The state of every profile, read from the tables of one refresh for publication."""

from collections.abc import Iterator, Sequence

from dsl.check import AggregateUse, CheckedCatalog
from dsl.numbers import read_json
from dsl.state import State, Value
from warehouse.columns import quoted
from warehouse.database import Connection
from warehouse.refresh import Refresh

_CHUNK = 2_000


def read_states(
    connection: Connection, checked: CheckedCatalog, refresh: Refresh
) -> Iterator[tuple[State, tuple[str, ...]]]:
    """State and identifiers of every profile, in the order of profile ids; read in chunks while it is consumed.

    The connection must not run anything else meanwhile.
    """
    uses, ranks = tuple(checked.aggregates.values()), tuple(checked.ranks.values())
    columns = [f"aggregates.{quoted(use.column)}" for use in uses] + [f"ranks.{quoted(rank.column)}" for rank in ranks]
    found = connection.execute(
        f"SELECT {', '.join(['profile_id', 'identifiers', 'attributes', *columns])} FROM profiles "
        "JOIN aggregates USING (profile_id) JOIN ranks USING (profile_id) ORDER BY profile_id"
    )
    while rows := found.fetchmany(_CHUNK):
        for profile_id, identifiers, attributes, *values in rows:
            counted = _aggregate_values(uses, values[: len(uses)])
            ranked = zip((rank.text for rank in ranks), values[len(uses) :], strict=True)
            counted |= {text: value for text, value in ranked if value is not None}
            yield State(profile_id, refresh.t_ms, refresh.cut, _attributes(attributes), counted), tuple(identifiers)


def _attributes(text: str) -> dict[str, object]:
    attributes = read_json(text)
    return attributes if isinstance(attributes, dict) else {}


def _aggregate_values(
    uses: Sequence[AggregateUse], values: Sequence[int | str | bool | list[str] | None]
) -> dict[str, Value]:
    """Values by their key; those of nothing are left out. A sum out of range is missing, and has to be said."""
    stated = ((use, use.state_value(value)) for use, value in zip(uses, values, strict=True))
    return {use.key: value for use, value in stated if value != use.of_nothing}
