"""`tinycdp demo`: the whole job on a year of a grocery shop, from its events to decisions over HTTP."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.resources import files
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any

from dsl.failure import WrongUse
from tinycdp.answers import segment_sizes, with_percent
from tinycdp.definitions import load_checked
from tinycdp.demo_home import DemoHome, ensure_keys
from tinycdp.http_client import get_json, post_json
from tinycdp.output import Output
from tinycdp.running import check_ports, refresh_with_progress, running, supervise
from tinycdp.supervisor import free_port
from tinycdp.workspace import Workspace
from warehouse.settings import Settings

if TYPE_CHECKING:
    import redis

    from warehouse.records import Project
    from warehouse.registry import Registry

HOST, PORT, DAGSTER_PORT = "127.0.0.1", 8000, 3000
CHECKOUT_AMOUNT = 120
"""Dollars in the basket of the households that ask for the checkout offer."""


@dataclass(slots=True)
class _Story:
    """What the demo found out, for the tables at its end and for `--json`."""

    skipped: list[str] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)
    decisions: list[dict[str, Any]] = field(default_factory=list)
    refresh: dict[str, Any] = field(default_factory=dict)


def run_demo(settings: Settings, output: Output, *, share: float, seed: int, reset: bool, keep: bool) -> None:
    """Runs every step; what is done already is skipped and said.

    Raises:
        WrongUse: the home holds another sample, or something that is not the demo.
    """
    if not 0 < share <= 1:
        raise WrongUse("--sample takes a share above 0 and up to 1")
    if keep:
        check_ports(HOST, PORT, DAGSTER_PORT)
    workspace, home = Workspace(settings), DemoHome(settings)
    if reset:
        home.remove()
        output.say(f"removed the demo's data in {settings.home.path}")
    home.claim(share, seed)
    story = _Story()
    with _store_for_a_while(workspace, keep) as client, workspace.registry() as registry:
        _land(workspace, registry, client, output, story, share, seed)
        _apply(workspace, registry, output, story)
        keys = ensure_keys(home, workspace, registry, client, story.skipped)
        story.refresh = refresh_with_progress(settings, output)
        _look(workspace, story)

        def finish(address: str) -> None:
            story.decisions = list(_decisions(workspace, address, keys["read"]))
            _show(workspace, output, story, keys)

        if keep:
            supervise(settings, output, HOST, PORT, DAGSTER_PORT, then=finish)
        else:
            with running(settings, HOST, free_port()) as address:
                finish(address)


@contextmanager
def _store_for_a_while(workspace: Workspace, keep: bool) -> "Iterator[redis.Redis]":
    """The online store; an embedded server that this starts is stopped at the end, whatever happens."""
    from serving.online import embedded

    folder = workspace.settings.home.valkey
    ours = workspace.settings.redis_url is None and not embedded.is_running(folder)
    try:
        with workspace.store() as client:
            yield client
    finally:
        if ours:
            embedded.stop(folder)


def _land(
    workspace: Workspace, registry: "Registry", client: "redis.Redis", output: Output, story: _Story, share: float,
    seed: int,
) -> None:  # fmt: skip
    from examples.shop.journey import END_OF_DATA_MS, TIMEZONE, read_events
    from serving.online.store import reserve_seq
    from warehouse.landing import land

    project = workspace.ensure_project(registry, TIMEZONE, END_OF_DATA_MS)
    with output.progress() as progress:
        reading = progress.add_task("reading the shop's tables", total=1)
        journey = read_events(share, seed)
        progress.update(reading, completed=1)
        writing = progress.add_task("landing events", total=journey.events.height)
        landing = land(
            journey.events,
            project=project,
            home=workspace.settings.home,
            registry=registry,
            reserve=lambda count: reserve_seq(client, project.key, count, registry.max_seq(project.key)),
            received_at_ms=project.clock.now_ms(),
            progress=lambda done, _: progress.update(writing, completed=done),
        )
        progress.update(writing, completed=journey.events.height)
    if landing.duplicates:
        story.skipped.append(f"{landing.duplicates:,} events that had landed before")
    output.say(f"landed {landing.landed:,} events of {journey.households:,} households; clock at {_now(project)}")


def _apply(workspace: Workspace, registry: "Registry", output: Output, story: _Story) -> None:
    loaded, checked = load_checked(_shop_folder())
    version = workspace.apply(registry, loaded.catalog)
    if not version.created:
        story.skipped.append(f"catalog version {version.number}, which holds the same definitions")
    catalog = loaded.catalog
    output.say(
        f"catalog version {version.number}: {len(catalog.traits)} traits, {len(catalog.segments)} segments, "
        f"{len(catalog.flags)} flags from {len(checked.aggregates)} aggregates"
    )


def _look(workspace: Workspace, story: _Story) -> None:
    with workspace.analytics() as connection:
        cursor = connection.execute(_shop_sql("figures.sql"))
        names = [column[0] for column in cursor.description]
        row = cursor.fetchall()[0]
    story.figures = {
        name: value if isinstance(value, int) else float(value or 0) for name, value in zip(names, row, strict=True)
    }


def _decisions(workspace: Workspace, address: str, key: str) -> Iterator[dict[str, Any]]:
    """Every flag for a few households, over HTTP."""
    _, checked = load_checked(_shop_folder())
    with workspace.analytics() as connection:
        people = connection.execute(_shop_sql("people.sql")).fetchall()
    for known_for, user_id in people:
        for flag in checked.flags.values():
            if any("context." in rule.text for rule in flag.rules):
                body = {"userId": user_id, "flag": flag.flag.key, "context": {"amount": CHECKOUT_AMOUNT}}
                answer = post_json(address, "/v1/decide", key, body)
            else:
                answer = get_json(address, "/v1/decide", key, {"userId": user_id, "flag": flag.flag.key})
            yield {"userId": user_id, "knownFor": known_for, **answer}


def _show(workspace: Workspace, output: Output, story: _Story, keys: dict[str, str]) -> None:
    settings, sizes = workspace.settings, segment_sizes(workspace)
    exports = [str(path) for path in sorted(settings.home.exports.glob("*.*")) if "manifest" not in path.name]
    output.result(
        {
            "home": str(settings.home.path),
            **story.figures,
            "segments": {segment: members for segment, members, *_ in sizes},
            "decisions": story.decisions,
            "keys": keys,
            "exports": exports,
            "skipped": story.skipped,
            "refresh": story.refresh,
        }
    )
    names = [(name.replace("_", " "), _figure(value)) for name, value in story.figures.items()]
    output.table("the shop", ("figure", "value>"), names)
    output.table("segments", ("segment", "members>", "share>", "entered>", "exited>"), with_percent(sizes))
    output.table("decisions over HTTP", ("household", "flag", "allow", "variant", "reasons"), _answers(story))
    output.lines("what is where")
    places = [
        ("events", settings.home.lake, "Parquet, by day"),
        ("tables", settings.home.analytics, "DuckDB, read-only, at any time"),
        *(("export", path, "its manifest lies beside it") for path in exports),
        ("runs", settings.home.dagster, "`tinycdp up` shows them in Dagster's UI"),
        ("online store", settings.redis_url or settings.home.valkey, "Valkey, append-only file on"),
    ]
    for what, where, note in places:
        output.lines(f"  {what:<13} {where}  ({note})")
    output.lines("")
    output.table("keys of this demo", ("kind", "key"), list(keys.items()))
    for reason in story.skipped:
        output.say(f"skipped: {reason}")
    output.lines(_next_commands(settings, story))


def _answers(story: _Story) -> Iterator[tuple[object, ...]]:
    """Rows of the table of decisions; the household stands in its first row only."""
    before = None
    for decision in story.decisions:
        household = f"{decision['userId']} ({decision['knownFor']})" if decision["userId"] != before else ""
        before = decision["userId"]
        clauses = [reason for reason in decision["reasons"] if " matched: " not in reason] or decision["reasons"]
        yield household, decision["flag"], decision["allow"], decision["variant"], "\n".join(clauses)


def _next_commands(settings: Settings, story: _Story) -> str:
    household = story.decisions[0]["userId"] if story.decisions else "1"
    home = "" if settings.home.path == Path("var").absolute() else f"TINYCDP_HOME={settings.home.path} "
    command = f"{home}{_own_command()}"
    return "\n".join(
        (
            "try next:",
            f"  {command} decide free_delivery --profile {household}",
            f"  {command} sql 'events.purchase.sum_30d(amount) >= 200'",
            f"  {command} up        # the API on :{PORT}, Dagster on :{DAGSTER_PORT}",
        )
    )


def _own_command() -> str:
    """What to type for this program: its name where that is found, else its path."""
    if which("tinycdp"):
        return "tinycdp"
    script = Path(sys.executable).parent / "tinycdp"
    return os.path.relpath(script) if script.exists() else f"{sys.executable} -m tinycdp"


def _figure(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:,.2f}"


def _now(project: "Project") -> str:
    from dsl.clock import format_instant

    return format_instant(project.clock.now_ms())


def _shop_folder() -> Path:
    return Path(str(files("examples.shop")))


def _shop_sql(name: str) -> str:
    return (_shop_folder() / name).read_text()
