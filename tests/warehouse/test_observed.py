"""What a batch has held, as warnings of names compare with it."""

import polars as pl

from dsl.clock import Zone
from dsl.observed import Sighting
from warehouse.observed import sightings


def test_attributes_are_seen_in_json_and_in_columns() -> None:
    """Of an identify, whether its attributes came as JSON or as typed columns; of others, their properties."""
    batch = pl.DataFrame(
        {
            "kind": ["identify", "identify", "track"],
            "name": ["identify", "identify", "purchase"],
            "properties": ['{"plan": "gold"}', None, None],
            "s_city": [None, "Oslo", None],
            "n_amount": [None, None, 5_000_000],
        },
        schema_overrides={"n_amount": pl.Int64},
    )
    assert {
        Sighting("", "plan", "string"),
        Sighting("", "city", "string"),
        Sighting("purchase", "", ""),
        Sighting("purchase", "amount", "number"),
    } == sightings(batch, Zone("UTC"))
