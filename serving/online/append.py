"""Appending to the log: one round trip and one atomic step for a batch of records.

For each item, in order, `append.lua` checks the event id, gives a `seq`, writes the record into the log and, whole,
among the fresh events of its source, and applies its links (`dsl.identity`). Others see all of it or nothing, also
after a crash; when the call returns it is durable. The same batch again, as after a reply that was lost, changes
nothing: each item is answered with the `seq` that it already has and the code `duplicate` (or `late`, as before).

Choices:

- Whether an event is late is decided by the caller (`AppendRules.is_late`); it waits in the late lane under its
  id until the worker has looked its id up in all that has landed and appends it with `late_entry`, which takes it out
  of the lane in the same step, or drops it with `drop_late`.
- Event ids are kept a day longer than the window, so that clocks need not agree to the second.
- The log holds identifiers as they were understood (blocked ones gone, profile ids and `previousId` resolved), the
  source first: a replay never judges them differently, so no event ever changes its source.
- An event without an identifier that is left gets no `seq` and its id is not kept: it is for the dead letters. One that
  was looked up and is refused stays in the lane until it is one, and then is dropped.
- A batch that would make more wait than `AppendRules.max_log`, or that finds the server out of memory, is refused
  whole, and nothing is written.
"""

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast

import msgspec
import redis
import redis.asyncio

from dsl.identifiers import PROFILE_NAMESPACE
from dsl.identity_records import IdentitySettings, Reason
from dsl.identity_text import pack_settings
from serving.online.connection import store_errors
from serving.online.exceptions import BackPressureError
from serving.online.keys import Keys
from serving.online.line import Line, Script
from serving.online.log import LateEvent

DAY_MS: Final = 86_400_000
DEDUP_WINDOW_MS: Final = 7 * DAY_MS
"""An event that is older takes the late lane: the store no longer remembers its id."""

Code = Literal["accepted", "duplicate", "id_conflict", "late", "no_identifier"]
"""What became of an item.

`accepted` and `duplicate` have a `seq`. `id_conflict` (its id is known with another body) and `no_identifier` are dead
letters. `late` waits in the late lane.
"""

_APPEND = (Path(__file__).parent / "append.lua").read_text(encoding="utf-8")
_TIMEOUT_S: Final = 5.0
"""How long the store may take over one append."""
_LANDING_S, _MEMORY_S = 5, 30
"""Seconds after which a worker has landed something, and after which somebody may have made room."""
# KEYS: late lane, an event id. ARGV: its entry, what is known of the id while it waits, and from here on, and how long.
_DROP = """
if redis.call('GET', KEYS[2]) == ARGV[2] then
  if ARGV[3] == '' then redis.call('DEL', KEYS[2]) else redis.call('SET', KEYS[2], ARGV[3], 'PX', ARGV[4]) end
end
return redis.call('XDEL', KEYS[1], ARGV[1])
"""
UNKNOWN_DIGEST: Final = "*"
"""Of an event id whose body is no longer known: it counts as the same body."""


@dataclass(frozen=True, slots=True)
class AppendRules:
    """How much a log takes in, and how long it knows what it has.

    Attributes:
        dedup_ttl_ms: how long an event's id is known at least; an older event takes the late lane.
        max_log: records that may wait, in the log and in the late lane; 0 is no limit.
    """

    dedup_ttl_ms: int = DEDUP_WINDOW_MS
    max_log: int = 5_000_000

    @property
    def keep_ms(self) -> int:
        """How long an event id is remembered."""
        return self.dedup_ttl_ms + DAY_MS

    def is_late(self, ts_ms: int, now_ms: int) -> bool:
        """Whether an event of this instant takes the late lane.

        >>> AppendRules().is_late(0, 7 * 86_400_000), AppendRules().is_late(0, 7 * 86_400_000 + 1)
        (False, True)
        """
        return ts_ms < now_ms - self.dedup_ttl_ms


RULES: Final = AppendRules()
"""What holds unless somebody says otherwise."""


class Item(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """One record that is to be appended.

    Attributes:
        record: the event as JSON text, without `seq`, source and `appended_at`, which the log adds.
        digest: of what may not change when the event is sent again, by `body_digest`.
        identifiers: as `dsl.identifiers.identifiers` gives them, the strongest first.
        previous: of an `alias` the value `previousId`; None when there is none or it is blocked everywhere.
        is_late: the event is older than the window, and its id has not been looked up yet.
        late_entry: where it waited in the late lane, once its id has been looked up.
    """

    event_id: str
    record: str
    digest: str
    identifiers: tuple[str, ...]
    previous: str | None = None
    is_late: bool = False
    late_entry: str = ""
    type: Literal["event", "settings"] = "event"


class Refusal(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """A link of the event that was refused; a profile is empty when nobody knew the identifier."""

    reason: Reason
    stronger: str
    weaker: str
    stronger_profile: str
    weaker_profile: str


class Answer(msgspec.Struct, frozen=True, gc=False, array_like=True):
    """What became of an item.

    Attributes:
        seq: None when it has none (yet).
        profile_id: the profile of its source now, or the one that it would get; empty without a source.
        source_id: the strongest identifier that is left; empty when there is none.
        refusals: links that were refused; of a duplicate they are told the first time only.
    """

    code: Code
    seq: int | None
    profile_id: str
    source_id: str
    refusals: tuple[Refusal, ...] = ()


def body_digest(body: bytes | str) -> str:
    """128 bits of a body in hex: two that have the same are the same.

    >>> body_digest(b'{"amount": 1}') == body_digest('{"amount": 1}') != body_digest('{"amount": 2}')
    True
    """
    return hashlib.blake2b(body.encode() if isinstance(body, str) else body, digest_size=16).hexdigest()


def settings_item(event_id: str, settings: IdentitySettings) -> Item:
    """The record that puts other identity settings in force from its `seq` on."""
    record = pack_settings(settings)
    return Item(event_id, record, body_digest(record), (), type="settings")


def append(
    client: redis.Redis, project: str, items: Sequence[Item], now_ms: int, rules: AppendRules = RULES
) -> list[Answer]:
    """Append items in this order; an answer for each.

    Args:
        now_ms: the project's clock; `appended_at` is this, or that of the record before if that is later.

    Raises:
        BackPressureError: too much waits already, or the store is out of memory; nothing of the batch was taken in.
    """
    request = _Request.of(project, items, now_ms, rules)
    with store_errors(), _back_pressure():
        return _answers.decode(client.register_script(_APPEND)(keys=request.keys, args=request.arguments))


def drop_late(
    client: redis.Redis, project: str, looked_up: Iterable[tuple[LateEvent, int | None]], rules: AppendRules = RULES
) -> int:
    """Take events out of the late lane that are not to be appended; how many were still there.

    Args:
        looked_up: each with the `seq` of the landed event that it is a duplicate of: from here on it is answered as
            one. None for a dead letter, whose id is let go of: sent again, it is looked up again.
    """
    keys, dropped = Keys(project), 0
    script = client.register_script(_DROP)
    for late, seq in looked_up:
        known = f"late:{late.digest}", "" if seq is None else f"{seq}:{late.digest}"
        arguments: list[str | int] = [late.entry, *known, rules.keep_ms]
        with store_errors():
            dropped += int(script(keys=[keys.late, keys.event(late.event_id)], args=arguments))
    return dropped


async def keep_ids(client: redis.asyncio.Redis, project: str, event_ids: Sequence[str]) -> None:
    """Know the ids of events for ever, not only for the window: of what happens once, whenever it is sent again."""
    keys = Keys(project)
    with store_errors():
        async with client.pipeline(transaction=False) as pipeline:
            for event_id in event_ids:
                cast(Any, pipeline).persist(keys.event(event_id))
            await pipeline.execute()


class OnlineAppender:
    """The same, without blocking: for processes that take in events from many at once."""

    def __init__(self, client: redis.asyncio.Redis, project: str, rules: AppendRules = RULES) -> None:
        self._keys, self._before, self._after = _fixed(project, rules)
        self._script = Script(Line(client, _TIMEOUT_S), _APPEND)

    async def append(self, items: Sequence[Item], now_ms: int) -> list[Answer]:
        """As the function `append`."""
        arguments = [*self._before, now_ms, *self._after, _packer.encode(items)]
        with store_errors(), _back_pressure():
            return _answers.decode(await self._script.run(self._keys, arguments))


@dataclass(frozen=True, slots=True)
class _Request:
    """Keys and arguments of the script."""

    keys: list[str]
    arguments: list[Any]

    @classmethod
    def of(cls, project: str, items: Sequence[Item], now_ms: int, rules: AppendRules = RULES) -> "_Request":
        keys, before, after = _fixed(project, rules)
        return cls(keys, [*before, now_ms, *after, _packer.encode(items)])


def _fixed(project: str, rules: AppendRules) -> tuple[list[str], list[Any], list[Any]]:
    """The keys of the script, and its arguments before and after the present instant, but for the items."""
    keys = Keys(project)
    return (
        [keys.seq, keys.log, keys.late, keys.appended_at, keys.identity, keys.apart, keys.metrics],
        [keys.event(""), keys.ident(""), keys.profile(""), keys.fresh("")],
        [rules.keep_ms, PROFILE_NAMESPACE.bytes, rules.max_log],
    )


@contextmanager
def _back_pressure() -> Iterator[None]:
    """Refusals for want of room, told apart from other failures."""
    try:
        yield
    except redis.ResponseError as error:
        said = str(error)
        if said.startswith("LOGFULL"):
            waiting = said.removeprefix("LOGFULL ").split(" ")[0]
            message = f"{waiting} records wait to be landed, which is the limit: see that `tinycdp worker` runs"
            raise BackPressureError(message, _LANDING_S) from error
        if isinstance(error, redis.exceptions.OutOfMemoryError) or said.startswith("OOM"):
            message = "the online store is out of memory: give it more (`maxmemory`), or let the worker catch up"
            raise BackPressureError(message, _MEMORY_S) from error
        raise


_packer = msgspec.msgpack.Encoder()
_answers = msgspec.json.Decoder(list[Answer], strict=False)  # a `seq` is text there, which has every digit
