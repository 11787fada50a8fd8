"""What events have held: how often and when, as warnings of names and the schema page tell it."""

from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import create_engine, text

from dsl.clock import Zone
from dsl.observed import Seen, Sighting
from warehouse import observed_names
from warehouse.exceptions import RegistryError
from warehouse.observed import sightings
from warehouse.records import LakeFile
from warehouse.registry import Registry
from warehouse.webhook_secrets import OVERLAP_MS

AMOUNT = Sighting("purchase", "amount", "number")


def test_attributes_are_seen_in_json_and_in_columns() -> None:
    """Of an identify, whether its attributes came as JSON or as typed columns; of others, their properties."""
    batch = pl.DataFrame(
        {
            "kind": ["identify", "identify", "track", "track", "identify", "alias"],
            "name": ["identify", "identify", "purchase", "purchase", "identify", "alias"],
            "ts_ms": [50, 40, 30, 20, 10, 5],
            "properties": ['{"plan": "gold"}', None, None, None, '{"plan": "gold"}', None],
            "s_city": [None, "Oslo", None, None, None, None],
            "n_amount": [None, None, 5_000_000, None, None, None],
        },
        schema_overrides={"n_amount": pl.Int64},
    )
    assert {
        Sighting("", "plan", "string"): Seen(2, 10, 50),
        Sighting("", "city", "string"): Seen(1, 40, 40),
        Sighting("purchase", "", ""): Seen(2, 20, 30),
        Sighting("purchase", "amount", "number"): Seen(1, 30, 30),
    } == sightings(batch, Zone("UTC"))


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """A registry with a project."""
    with Registry(f"sqlite:///{tmp_path}/registry.db") as opened:
        opened.create_project("shop")
        yield opened


def landed(registry: Registry, seq: int, seen: dict[Sighting, Seen]) -> None:
    """One more event of the log has landed, and held this."""
    file = LakeFile("shop", f"{seq}.parquet", 0, seq, seq, 1, 1, ())
    registry.add_log("shop", [file], [], seq - 1, seq, seen)


def test_times_add_up_in_any_order(registry: Registry) -> None:
    """Each landing adds its events; first and last are by when things happened, not by when they came."""
    landed(registry, 1, {AMOUNT: Seen(2, 50, 60)})
    landed(registry, 2, {AMOUNT: Seen(1, 10, 10), Sighting("visit", "", ""): Seen(1, 5, 5)})
    landed(registry, 3, {AMOUNT: Seen(1, 55, 99)})
    assert {AMOUNT: Seen(4, 10, 99), Sighting("visit", "", ""): Seen(1, 5, 5)} == registry.seen("shop")
    assert {AMOUNT, Sighting("visit", "", "")} == registry.observed("shop")


def test_a_landing_that_is_refused_counts_nothing(registry: Registry) -> None:
    """What did not come into being was not seen: landing it again counts it once."""
    landed(registry, 1, {AMOUNT: Seen(1, 5, 5)})
    with pytest.raises(RegistryError, match="land again"):
        landed(registry, 1, {AMOUNT: Seen(1, 5, 5)})
    assert {AMOUNT: Seen(1, 5, 5)} == registry.seen("shop")


def test_names_without_end_are_not_all_kept(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit known names count on, and new ones are passed over; so is what is too long for a name."""
    monkeypatch.setattr(observed_names, "MAX_OBSERVED", 3)
    landed(registry, 1, {Sighting("a", "", ""): Seen(1, 1, 1), Sighting("x" * 500, "", ""): Seen(1, 1, 1)})
    landed(registry, 2, {Sighting(name, "", ""): Seen(1, 2, 2) for name in "dcbae"})
    assert [("a", 2), ("b", 1), ("c", 1)] == [(s.event, seen.times) for s, seen in registry.seen("shop").items()]


def test_a_registry_from_before_times_were_counted(tmp_path: Path) -> None:
    """An older registry is opened: what it had seen is there, counted from here on."""
    url = f"sqlite:///{tmp_path}/registry.db"
    with Registry(url) as made:
        made.create_project("shop")
    older = (
        "DROP TABLE observed_names",
        "CREATE TABLE observed_names (project VARCHAR(64), event VARCHAR(400), path VARCHAR(1000), type VARCHAR(16), "
        "PRIMARY KEY (project, event, path, type))",
        "INSERT INTO observed_names VALUES ('shop', 'purchase', 'amount', 'number')",
    )
    with create_engine(url).begin() as connection:
        for statement in older:
            connection.execute(text(statement))
    with Registry(url) as registry:
        assert {AMOUNT: Seen(0, 0, 0)} == registry.seen("shop")
        landed(registry, 1, {AMOUNT: Seen(2, 70, 80)})
        assert {AMOUNT: Seen(2, 70, 80)} == registry.seen("shop")


def test_secrets_of_webhooks_overlap(registry: Registry) -> None:
    """A rotation makes a new secret and keeps the one before for the overlap; no secret shows in `repr`."""
    first = registry.rotate_webhook_secret("shop", "web")
    second = registry.rotate_webhook_secret("shop", "web")
    third = registry.rotate_webhook_secret("shop", "web", overlap_ms=0)
    assert first.previous is None
    assert (first.secret, True, False) == (
        second.previous,
        second.works_before(second.created_at_ms + OVERLAP_MS - 1),
        second.works_before(second.created_at_ms + OVERLAP_MS),
    )
    assert (second.secret, False) == (third.previous, third.works_before(third.created_at_ms))
    assert (third,) == registry.webhook_secrets("shop")
    assert (32, "whsec_") == (len(b64decode(third.secret.removeprefix("whsec_"))), third.secret[:6])
    assert third.secret not in repr(third)
    assert second.secret not in repr(third)


def test_secrets_belong_to_their_project(registry: Registry) -> None:
    """Another project has none of them, and they go with their project."""
    registry.create_project("other")
    registry.rotate_webhook_secret("shop", "web")
    assert () == registry.webhook_secrets("other")
    registry.delete_project("shop")
    registry.create_project("shop")
    assert () == registry.webhook_secrets("shop")
