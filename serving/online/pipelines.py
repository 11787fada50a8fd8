"""What the store holds of pipelines beside their definitions: secrets of webhooks, violations of schemas counted."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, cast

import msgspec
import redis
import redis.asyncio

from serving.online.connection import store_errors
from serving.online.keys import Keys

Violated = tuple[str, str, str]
"""Event, path (its steps joined by dots; empty for the event as a whole) and kind (`dsl.conformance.ViolationKind`)."""

MOST_VIOLATIONS: Final = 5_000
"""Kept of one project: where names are made up as events are sent, further ones are counted together."""
OTHERS: Final[Violated] = ("", "", "other")
_LONGEST: Final = 200

# KEYS: counts, when last. ARGV: now, how many are kept, name of the others, then name and times of each.
_COUNT: Final = """
local held = redis.call('HLEN', KEYS[1])
for i = 4, #ARGV, 2 do
  local name = ARGV[i]
  if held >= tonumber(ARGV[2]) and redis.call('HEXISTS', KEYS[1], name) == 0 then name = ARGV[3] end
  if redis.call('HINCRBY', KEYS[1], name, ARGV[i + 1]) == tonumber(ARGV[i + 1]) then held = held + 1 end
  redis.call('HSET', KEYS[2], name, ARGV[1])
end
"""
_encoder = msgspec.json.Encoder()
_terms = msgspec.json.Decoder(list[tuple[str, int | None]])
_violated = msgspec.json.Decoder(tuple[str, str, str])


class Violations(NamedTuple):
    """How often, and when last (wall time, epoch milliseconds)."""

    times: int
    last_ms: int


def publish_webhook_secrets(
    client: redis.Redis, project: str, secrets: Mapping[str, Sequence[tuple[str, int | None]]]
) -> None:
    """Replace the secrets of all pipelines.

    Args:
        secrets: by pipeline, each with the instant (wall time, epoch milliseconds) at which it ends; None is never.
    """
    keys = Keys(project)
    with store_errors(), client.pipeline(transaction=True) as pipeline:
        pipeline.delete(keys.webhooks)
        if secrets:
            pipeline.hset(keys.webhooks, mapping={name: _encoder.encode(its) for name, its in secrets.items()})
        pipeline.execute()


async def read_webhook_secrets(
    client: redis.asyncio.Redis, project: str, pipeline: str, now_ms: int | None = None
) -> tuple[str, ...]:
    """The secrets of a pipeline that work at an instant of wall time (now), the newest first; none when it has none."""
    with store_errors():
        found = await client.hget(Keys(project).webhooks, pipeline)
    at_ms = _wall_ms() if now_ms is None else now_ms
    terms = _terms.decode(found) if found else ()
    return tuple(secret for secret, until_ms in terms if until_ms is None or at_ms < until_ms)


async def count_violations(
    client: redis.asyncio.Redis, project: str, counts: Mapping[Violated, int], now_ms: int | None = None
) -> None:
    """Add violations, those of one batch in one round trip.

    Args:
        counts: how often each was found; long names are cut off.
        now_ms: wall time.
    """
    if not counts:
        return
    keys, run = Keys(project), cast(Any, client)
    arguments: list[str | int | bytes] = [_wall_ms() if now_ms is None else now_ms, MOST_VIOLATIONS, _name(OTHERS)]
    for violated, times in counts.items():
        arguments += [_name(violated), times]
    with store_errors():
        await run.register_script(_COUNT)(keys=[keys.violations, keys.violations_last], args=arguments)


def read_violations(client: redis.Redis, project: str) -> dict[Violated, Violations]:
    """Every violation that was counted, by name; `OTHERS` are those beyond the limit."""
    keys = Keys(project)
    with store_errors(), client.pipeline(transaction=True) as pipeline:
        pipeline.hgetall(keys.violations)
        pipeline.hgetall(keys.violations_last)
        counts, last = pipeline.execute()
    return {
        _violated.decode(name): Violations(int(times), int(last.get(name, 0))) for name, times in sorted(counts.items())
    }


def _name(violated: Violated) -> bytes:
    event, path, kind = violated
    return _encoder.encode((event[:_LONGEST], path[:_LONGEST], kind))


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
