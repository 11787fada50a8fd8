"""Parity: the same profiles asked of the online store and counted from the lake, at the same `(t, seq)`.

Nothing is shared on the way: on line, bases, chunks and fresh events are folded; here every event of the profile is
read from the lake and counted again. `percent_rank` is of a snapshot, so what builds on it is left out.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

import redis

from dsl.check import CheckedCatalog
from dsl.evaluate import Evaluation
from dsl.event import Event
from dsl.numbers import read_json
from dsl.ranked import is_ranked
from dsl.recount import count_again
from dsl.state import State, Value
from serving.online.fold import Fold
from serving.online.reading import look_up, profile_ids
from serving.online.snapshot import Reading
from serving.worker.landing import land_log
from warehouse.columns import literal
from warehouse.database import Connection, connect
from warehouse.events_view import events_view_sql
from warehouse.identities import build_identities
from warehouse.records import Project
from warehouse.refresh import use_project
from warehouse.registry import Registry
from warehouse.settings import Settings

_SHOWN = 20
_EVENTS = """
SELECT asked.profile_id, event_id, seq, kind, name, source_id, ts_ms, local_day, properties, context
FROM events JOIN identities USING (source_id) JOIN asked USING (profile_id)
WHERE seq <= asked.seq_cut AND ts_ms < asked.t_ms
    AND valid_from_seq <= asked.seq_cut AND (valid_to_seq IS NULL OR valid_to_seq > asked.seq_cut)
ORDER BY asked.profile_id, seq
"""


@dataclass(frozen=True, slots=True)
class Mismatch:
    """One value that the two sides do not agree on, at `(t_ms, seq)`."""

    profile_id: str
    key: str
    online: Value
    counted: Value
    t_ms: int
    seq: int


@dataclass(frozen=True, slots=True)
class Parity:
    """What a comparison found; all but `compared` must be 0.

    Attributes:
        compared: profiles that both sides know.
        values: values that were compared of them.
        mismatches: values that differ.
        missing: profiles of the warehouse that the online store does not know.
        extra: profiles of the online store without an event, not even one that we have logged ourselves.
        shown: the first mismatches.
    """

    compared: int
    values: int
    mismatches: int
    missing: int
    extra: int
    shown: tuple[Mismatch, ...] = ()

    @property
    def agrees(self) -> bool:
        """Whether nothing differs."""
        return self.mismatches == self.missing == self.extra == 0


def compare(
    settings: Settings,
    registry: Registry,
    client: redis.Redis,
    project: Project,
    checked: CheckedCatalog,
    profiles: int,
    seed: int = 0,
) -> Parity:
    """Compare some profiles; half of them are drawn from the tables, half from the online store.

    Args:
        checked: the catalog that decisions use.
        profiles: how many, about; all of them when there are fewer.
        seed: another one, other profiles.
    """
    fold, now_ms = Fold(checked), project.clock.now_ms()
    known = _known_profiles(settings, (profiles + 1) // 2, seed)
    asked = dict.fromkeys([*known, *islice(profile_ids(client, project.key), profiles // 2)])
    readings = {profile_id: look_up(client, project.key, profile_id) for profile_id in asked}
    online = {key: fold.state(reading, now_ms) for key, reading in readings.items()}
    land_log(client, settings.home, registry, project)
    landed, counted = _counted(settings, registry, project, checked, online)
    keys = [key for key, value in checked.values.items() if not is_ranked(value.node, checked.values)]
    mismatches = [
        found
        for profile_id, state in online.items()
        if profile_id in counted and _is_known(readings[profile_id])
        for found in _mismatches(profile_id, Evaluation(checked, state), Evaluation(checked, counted[profile_id]), keys)
    ]
    compared = sum(profile_id in counted and _is_known(readings[profile_id]) for profile_id in online)
    return Parity(
        compared,
        compared * len(keys),
        len(mismatches),
        missing=sum(profile_id in counted and not _is_known(readings[profile_id]) for profile_id in online),
        extra=sum(profile_id not in landed and _is_known(readings[profile_id]) for profile_id in online),
        shown=tuple(mismatches[:_SHOWN]),
    )


def _is_known(reading: Reading) -> bool:
    return any(source.base is not None or source.fresh for source in reading.sources)


def _mismatches(profile_id: str, online: Evaluation, counted: Evaluation, keys: Sequence[str]) -> Iterator[Mismatch]:
    for key in keys:
        ours, theirs = online.definition(key), counted.definition(key)
        if (type(ours), ours) != (type(theirs), theirs):
            yield Mismatch(profile_id, key, ours, theirs, online.state.as_of_ms, online.state.as_of_seq)


def _known_profiles(settings: Settings, count: int, seed: int) -> list[str]:
    """Profiles of the published tables, drawn by a hash."""
    with connect(settings.home.analytics, read_only=True) as connection:
        use_project(connection, settings.project)
        order = f"md5(profile_id || {literal(f':{seed}')})"
        found = connection.execute(f"SELECT profile_id FROM profiles ORDER BY {order} LIMIT {count:d}").fetchall()
    return [profile_id for (profile_id,) in found]


def _counted(
    settings: Settings, registry: Registry, project: Project, checked: CheckedCatalog, asked: Mapping[str, State]
) -> tuple[set[str], dict[str, State]]:
    """Profiles with an event, and the states of those with a known one from outside, at the instant and cut of each."""
    cut, zone = registry.landed_seq(project.key), checked.zone
    with connect() as connection:
        files = registry.files(project.key, cut)
        connection.execute(events_view_sql(files, cut, checked.property_columns, settings.home.lake))
        build_identities(connection, registry.identity_records(project.key), cut)
        events = _events(connection, asked)
    states = {
        profile_id: count_again(profile_id, own, checked, asked[profile_id].as_of_ms, asked[profile_id].as_of_seq, zone)
        for profile_id, own in events.items()
        if any(event.kind != "system" for event in own)
    }
    return set(events), states


def _events(connection: Connection, asked: Mapping[str, State]) -> dict[str, list[Event]]:
    connection.execute("CREATE TEMP TABLE asked (profile_id VARCHAR, t_ms BIGINT, seq_cut BIGINT)")
    rows = [(profile_id, state.as_of_ms, state.as_of_seq) for profile_id, state in asked.items()]
    if rows:
        connection.executemany("INSERT INTO asked VALUES (?, ?, ?)", rows)
    found: dict[str, list[Event]] = {}
    for profile_id, *row in connection.execute(_EVENTS).fetchall():
        event_id, seq, kind, name, source_id, ts_ms, local_day, properties, context = row
        values = _object(properties), _object(context)
        found.setdefault(profile_id, []).append(Event(event_id, seq, kind, name, source_id, ts_ms, local_day, *values))
    return found


def _object(text: str) -> dict[str, object]:
    value = read_json(text)
    return value if isinstance(value, dict) else {}
