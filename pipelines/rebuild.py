"""Rebuilding: what a refresh then does from the beginning."""

import contextlib

import redis

from dsl.event import EXPOSURE
from serving.online.append import RULES, AppendRules
from serving.online.repair import forget_publications, remember_ids, renumber
from warehouse.landed import landed_since, landed_system
from warehouse.records import Project
from warehouse.registry import Registry
from warehouse.settings import Home


def forget_online(
    client: redis.Redis, home: Home, registry: Registry, project: Project, rules: AppendRules = RULES
) -> int:
    """Bring a store that was lost to where its next publication completes it; events that got a new number.

    Ids of the last days are remembered, those of exposures for ever, records that the lost counter gave numbers of the
    lake get new ones, and the next publication writes every source.
    """
    now_ms, landed_seq = project.clock.now_ms(), registry.landed_seq(project.key)
    moved = renumber(client, project.key, landed_seq, now_ms)
    recent = landed_since(home, registry, project, now_ms - rules.keep_ms)
    remember_ids(client, project.key, recent, now_ms, rules)
    remember_ids(client, project.key, landed_system(home, registry, project, EXPOSURE), now_ms, rules)
    forget_publications(client, project.key)
    return moved


def forget_tables(home: Home) -> None:
    """Every table of all projects goes; the lake and the registry stay, analysts keep the published copy meanwhile."""
    for path in (home.warehouse, home.warehouse.with_name(f"{home.warehouse.name}.wal")):
        with contextlib.suppress(FileNotFoundError):
            path.unlink()
