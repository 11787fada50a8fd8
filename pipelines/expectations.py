"""The suite of Great Expectations over `profiles`. Importing this module takes seconds: only its check does."""

from dataclasses import dataclass

import great_expectations as gx
from great_expectations.data_context.types.base import ProgressBarsConfig
from great_expectations.expectations.core.expect_column_pair_values_a_to_be_greater_than_b import (
    ExpectColumnPairValuesAToBeGreaterThanB,
)
from great_expectations.expectations.core.expect_column_values_to_be_between import ExpectColumnValuesToBeBetween
from great_expectations.expectations.core.expect_column_values_to_be_unique import ExpectColumnValuesToBeUnique
from great_expectations.expectations.core.expect_column_values_to_not_be_null import ExpectColumnValuesToNotBeNull

from warehouse.database import Connection

_FRAME = "SELECT profile_id, first_seen_ms, last_seen_ms, events FROM profiles"


@dataclass(frozen=True, slots=True)
class Validation:
    """What came of a suite; `failed` names the expectations that do not hold."""

    passed: bool
    failed: tuple[str, ...]


def validate_profiles(connection: Connection) -> Validation:
    """Validates `profiles` in an ephemeral context: no network, no files, nothing reported anywhere."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    asset = context.data_sources.add_pandas("warehouse").add_dataframe_asset("profiles")
    whole = asset.add_batch_definition_whole_dataframe("all")
    batch = whole.get_batch({"dataframe": connection.sql(_FRAME).df()})
    result = batch.validate(_suite())
    failed = [r.expectation_config.type for r in result.results if not r.success and r.expectation_config]
    return Validation(bool(result.success), tuple(failed))


def _suite() -> gx.ExpectationSuite:
    return gx.ExpectationSuite(
        name="profiles",
        expectations=[
            ExpectColumnValuesToNotBeNull(column="profile_id"),
            ExpectColumnValuesToBeUnique(column="profile_id"),
            ExpectColumnPairValuesAToBeGreaterThanB(column_A="last_seen_ms", column_B="first_seen_ms", or_equal=True),
            ExpectColumnValuesToBeBetween(column="events", min_value=1),
        ],
    )
