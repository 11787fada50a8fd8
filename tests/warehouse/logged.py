"""A log that is written by hand and lands at once, without an online store."""

from dataclasses import dataclass

from dsl.event_record import EventRecord, write_record
from dsl.identity_records import Erasure, Linked, SettingsChange, Unmerge
from dsl.identity_text import pack_identity, pack_settings
from tests.warehouse.small_shop import DAY_MS, NOW_MS, SmallShop
from warehouse.log_landing import LoggedEvents, land_stretch
from warehouse.records import IdentityRecord

Logged = Linked | SettingsChange | Unmerge | Erasure


@dataclass(frozen=True, slots=True)
class Purchase:
    """An event of which more is said than who it is about."""

    linked: Linked
    amount: int


def land_log_of(shop: SmallShop, *entries: Logged | Purchase) -> int:
    """Land what follows the newest cut; the numbers of the entries have no gap. The new cut."""
    after, events = shop.registry.landed_seq(shop.project.key), LoggedEvents()
    for each in entries:
        _add(events, each)
    records = [_record(each) for each in entries if isinstance(each, SettingsChange | Unmerge | Erasure)]
    cut = after + len(entries)
    assert list(range(after + 1, cut + 1)) == sorted([*events.seq, *(r.seq for r in records)])
    land_stretch(shop.home, shop.registry, shop.project, after, cut, events.frame(), records)
    return cut


def _add(events: LoggedEvents, entry: Logged | Purchase) -> None:
    linked, properties = entry, "{}"
    if isinstance(entry, Purchase):
        linked, properties = entry.linked, f'{{"amount": {entry.amount}}}'
    if isinstance(linked, Linked):
        ts_ms = NOW_MS - DAY_MS + linked.seq
        record = EventRecord(f"l{linked.seq}", "track", "purchase", ts_ms, NOW_MS, ts_ms // DAY_MS, properties)
        if linked.alias is not None:
            events.aliases[len(events.seq)] = linked.alias
        events.seq.append(linked.seq)
        events.appended_at_ms.append(NOW_MS)
        events.identifiers.append((linked.source_id, *linked.weaker))
        events.records.read(f"[{write_record(record)}]".encode())


def _record(change: SettingsChange | Unmerge | Erasure) -> IdentityRecord:
    if isinstance(change, SettingsChange):
        return IdentityRecord(change.seq, "settings", pack_settings(change.settings), NOW_MS)
    return IdentityRecord(change.seq, type(change).__name__.lower(), pack_identity(change), NOW_MS)
