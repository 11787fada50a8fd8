"""Repair of an online store that was lost: what is appended anew is there once."""

from typing import Any

import redis

from serving.online import append, read_log
from serving.online.keys import Keys
from serving.online.repair import remember_ids, renumber
from tests.serving.appended import NOW, event


def test_what_is_appended_anew_leaves_nothing_behind(online: redis.Redis, project: str) -> None:
    """An event whose number the lake has already gets a new one; neither log nor fresh events keep the old record."""
    append(online, project, [event("m-1", "user:ann"), event("m-2", "user:ann")], NOW)
    assert 2 == renumber(online, project, 10, NOW)
    assert [(11, "m-1"), (12, "m-2")] == [(entry.seq, entry.event_id) for entry in read_log(online, project, 0)]
    fresh: Any = online.xrange(Keys(project).fresh("user:ann"))
    assert ["11-0", "12-0"] == [entry for entry, _ in fresh]
    answers = append(online, project, [event("m-1", "user:ann")], NOW)
    assert [("duplicate", 11)] == [(each.code, each.seq) for each in answers]


def test_ids_that_landed_are_known_again(online: redis.Redis, project: str) -> None:
    """An id of the lake is a duplicate of its `seq`; one that the store knows keeps what the store says."""
    append(online, project, [event("m-1", "user:ann")], NOW)
    assert 1 == remember_ids(online, project, [("m-1", 7, NOW), ("m-2", 8, NOW), ("m-3", 9, 0)], NOW)
    answers = append(online, project, [event(name, "user:ann") for name in ("m-1", "m-2", "m-3")], NOW)
    assert [("duplicate", 1), ("duplicate", 8), ("accepted", 2)] == [(each.code, each.seq) for each in answers]


def test_what_happens_once_is_known_for_ever(online: redis.Redis, project: str) -> None:
    """An id that is told without an instant never expires."""
    assert 1 == remember_ids(online, project, [("e-1", 7, None)], NOW)
    assert -1 == online.pttl(Keys(project).event("e-1"))
    assert ["duplicate"] == [each.code for each in append(online, project, [event("e-1", "user:ann")], NOW)]
