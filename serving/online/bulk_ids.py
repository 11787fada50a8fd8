"""Event ids of a bulk load in the online store, so that whoever sends such an event meanwhile is told `duplicate`."""

from collections.abc import Sequence
from itertools import islice

import redis

from dsl.identity_records import IdentitySettings
from dsl.identity_text import unpack_settings
from serving.online.append import RULES, UNKNOWN_DIGEST, AppendRules
from serving.online.connection import store_errors
from serving.online.keys import Keys

_CHUNK = 5_000
_CLAIM_MS = 900_000
"""How long a load that dies keeps its ids: after that they may be sent again."""
_NAMES_PROFILE = 41
_PROFILE = "user:"


def claim_ids(client: redis.Redis, project: str, events: Sequence[tuple[str, int]], landed_seq: int) -> list[str]:
    """Take ids for events that are about to land; those that somebody has sent meanwhile, which are left alone.

    An id of the late lane is taken for granted: the worker looks it up in the lake before it is appended.

    Args:
        events: event id and `seq`.
        landed_seq: the newest cut. An id that has a smaller `seq` and is not in the lake is of a load that died.
    """
    keys, sent, stream = Keys(project), list[str](), iter(events)
    while chunk := list(islice(stream, _CHUNK)):
        with store_errors(), client.pipeline(transaction=False) as pipeline:
            for event_id, seq in chunk:
                pipeline.set(keys.event(event_id), f"{seq}:{UNKNOWN_DIGEST}", px=_CLAIM_MS, nx=True, get=True)
            held = pipeline.execute()
            for (event_id, seq), known in zip(chunk, held, strict=True):
                state = "" if known is None else str(known).partition(":")[0]
                if state.isdigit() and int(state) > landed_seq:
                    sent.append(event_id)
                elif state.isdigit():
                    pipeline.set(keys.event(event_id), f"{seq}:{UNKNOWN_DIGEST}", px=_CLAIM_MS)
            pipeline.execute()
    return sent


def keep_ids(client: redis.Redis, project: str, event_ids: Sequence[str], rules: AppendRules = RULES) -> None:
    """Remember ids that were claimed for as long as ids are remembered: their events have landed."""
    keys, stream = Keys(project), iter(event_ids)
    while chunk := list(islice(stream, _CHUNK)):
        with store_errors(), client.pipeline(transaction=False) as pipeline:
            for event_id in chunk:
                pipeline.pexpire(keys.event(event_id), rules.keep_ms)
            pipeline.execute()


def addressed(client: redis.Redis, project: str, identifiers: Sequence[str]) -> dict[str, str]:
    """Of some identifiers those that somebody is known by, each with the one that it stands for.

    That is itself; `user:<profile id>` stands for the first identifier of that profile, if there is such a profile.
    """
    keys, found, stream = Keys(project), dict[str, str](), iter(identifiers)
    while chunk := list(islice(stream, _CHUNK)):
        with store_errors(), client.pipeline(transaction=False) as pipeline:
            for identifier in chunk:
                pipeline.exists(keys.ident(identifier))
                is_profile = identifier.startswith(_PROFILE) and len(identifier) == _NAMES_PROFILE
                pipeline.hget(keys.profile(identifier.removeprefix(_PROFILE) if is_profile else ""), "first")
            answers = pipeline.execute()
        for identifier, is_known, first in zip(chunk, answers[::2], answers[1::2], strict=True):
            if first is not None:
                found[identifier] = str(first)
            elif is_known:
                found[identifier] = identifier
    return found


def identity_settings(client: redis.Redis, project: str) -> IdentitySettings:
    """The identity settings in force."""
    with store_errors():
        found = client.get(Keys(project).identity)
    return IdentitySettings() if found is None else unpack_settings(str(found))
