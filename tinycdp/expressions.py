"""Commands on one expression: its value for a profile, why, how many it holds for, and its canonical text."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from dsl.catalog import Catalog, Trait
from dsl.check import CheckedCatalog, check_catalog
from dsl.clock import format_instant, parse_instant
from dsl.diagnostics import DefinitionError
from dsl.event import Event
from dsl.failure import WrongUse
from dsl.identifiers import profile_id
from dsl.numbers import write_number
from dsl.observed import Observed
from dsl.source import Source
from dsl.state import Value
from dsl.types import Type
from tinycdp.output import Output
from tinycdp.workspace import NothingThere, Workspace
from warehouse.settings import Settings

if TYPE_CHECKING:
    from dsl.typed import BaseAggregate
    from warehouse.as_of import AsOf
    from warehouse.records import Project

ASKED = "expression"
"""Key of the expression that a command asks about: messages name it."""
TREND_DAYS, TREND_POINTS = 90, 7
DAY_MS = 86_400_000


def run_eval(settings: Settings, output: Output, expression: str, profile: str, as_of: str | None) -> None:
    """The value of an expression for one profile, from its raw events."""
    from dsl.evaluate import Evaluation
    from dsl.recount import is_approximate

    with _world(settings, output, expression, as_of) as (world, key, project):
        who, refresh, checked = _profile(profile), world.refresh, world.checked
        events = world.events_of(who)
        _tell_unknown(output, profile, events)
        state = world.state_of(who, events)
        value, value_type = Evaluation(checked, state).definition(key), checked.values[key].type
        approximate = is_approximate(checked.values[key].node, events, checked, state, project.zone)
        document = {
            "value": as_json(value, value_type),
            "type": value_type,
            "asOf": format_instant(refresh.t_ms),
            "asOfSeq": refresh.cut,
            "approx": approximate,
            "warming": False,
        }
    output.result(document)
    output.lines(shown(value, value_type))


def run_explain(settings: Settings, output: Output, expression: str, profile: str, as_of: str | None) -> None:
    """The whole tree of an expression with the value at every node, and what would make a false answer true."""
    from msgspec.json import encode

    from dsl.guide.explain_tree import draw, explain_tree
    from dsl.next_change import next_change
    from dsl.ranked import is_ranked
    from dsl.recount import instants_of

    with _world(settings, output, expression, as_of) as (world, key, project):
        who, refresh, checked = _profile(profile), world.refresh, world.checked
        events, node = world.events_of(who), checked.values[key].node
        _tell_unknown(output, profile, events)
        state = world.state_of(who, events)

        def holdings(base: "BaseAggregate") -> list[int]:
            return instants_of(base, events, checked, state)

        tree = explain_tree(node, state, checked, holdings=holdings)
        change_ms = next_change(node, state, checked, zone=project.zone, holdings=holdings)
    change_at = format_instant(change_ms) if change_ms is not None else None
    moment = {"profileId": who, "asOf": format_instant(refresh.t_ms), "asOfSeq": refresh.cut, "nextChangeAt": change_at}
    output.result({**moment, **json.loads(encode(tree))})
    output.lines(draw(tree))
    output.lines(_until(change_at, ranked=is_ranked(node, checked.values)))


def run_preview(settings: Settings, output: Output, expression: str, as_of: str | None) -> None:
    """How many profiles an expression holds for, a few of them, and how that was over the last 90 days."""
    with _world(settings, output, expression, as_of) as (world, key, project), output.progress() as progress:
        if world.checked.values[key].type != "boolean":
            raise WrongUse(f"`{expression}` is a {world.checked.values[key].type}: a preview takes a condition")
        audience, refresh = world.audience(key), world.refresh
        instants = [refresh.t_ms - n * TREND_DAYS * DAY_MS // (TREND_POINTS - 1) for n in range(TREND_POINTS)]
        trend = [(refresh.t_ms, audience.members)]
        for t_ms in progress.track(instants[1:], description="looking back"):
            trend.insert(0, (t_ms, world.at(t_ms, project.zone).audience(key, sample=0).members))
    share = audience.members / audience.profiles if audience.profiles else 0.0
    output.result(
        {
            "count": audience.members,
            "profiles": audience.profiles,
            "share": round(share, 6),
            "asOf": format_instant(refresh.t_ms),
            "asOfSeq": refresh.cut,
            "sample": list(audience.sample),
            "trend": [{"asOf": format_instant(t_ms), "count": count} for t_ms, count in trend],
        }
    )
    output.lines(
        f"{audience.members:,} of {audience.profiles:,} profiles ({share:.1%}) at {format_instant(refresh.t_ms)}"
    )
    output.lines(f"for example {', '.join(audience.sample)}" if audience.sample else "nobody")
    rows = [
        (format_instant(t_ms)[:10], count, "#" * round(40 * count / max(1, audience.profiles))) for t_ms, count in trend
    ]
    output.table(f"the last {TREND_DAYS} days", ("day", "members>", "share of all profiles"), rows)


def run_fmt(output: Output, expressions: list[str]) -> None:
    """The canonical text of expressions."""
    from dsl.parser import parse
    from dsl.printer import print_tree

    texts = [print_tree(parse(Source(expression))) for expression in expressions]
    output.result({"expressions": texts})
    for text in texts:
        output.lines(text)


def run_complete(settings: Settings, output: Output, text: str, at: int | None) -> None:
    """What may stand next in an expression."""
    from dsl.guide.completion import complete

    cursor = len(text) if at is None else at
    if not 0 <= cursor <= len(text):
        raise WrongUse(f"--at: the cursor is between 0 and {len(text)}, {cursor} is not")
    checked, observed = check_catalog(Catalog()), None
    if settings.home.registry.exists():
        workspace = Workspace(settings)
        with workspace.registry() as registry:
            workspace.ensure_project(registry)
            checked, observed = workspace.checked(registry)[1], workspace.observed()
    found = complete(text, cursor, checked, observed)
    output.result(
        {"completions": [{"text": c.text, "kind": c.kind, "start": c.start, "detail": c.detail} for c in found]}
    )
    output.table("", ("text", "kind", "detail"), [(c.text, c.kind, c.detail) for c in found])


def as_json(value: Value, value_type: Type) -> object:
    """A value for machines: numbers as JSON numbers, whole ones without a point; instants as text."""
    match value:
        case tuple():
            return [as_json(item, "number") for item in value]
        case bool() | str() | None:
            return value
        case int() if value_type == "timestamp":
            return format_instant(value)
    text = write_number(int(value))
    return float(text) if "." in text else int(text)


def shown(value: Value, value_type: Type) -> str:
    """A value for people."""
    from dsl.explain import show_value

    return show_value(value, value_type)


def _until(change_at: str | None, *, ranked: bool) -> str:
    if ranked:
        return "it compares the profile with all others: it stays so until the next refresh at most"
    return f"without a new event it stays so until {change_at}" if change_at else "without a new event it stays so"


def _tell_unknown(output: Output, profile: str, events: Sequence[Event]) -> None:
    """An answer about nobody looks like any other."""
    if not any(event.kind != "system" for event in events):
        output.say(f"nobody is known as `{profile}` at that instant: the answer is that for somebody without any event")


@contextmanager
def _world(
    settings: Settings, output: Output, expression: str, instant: str | None
) -> "Iterator[tuple[AsOf, str, Project]]":
    """The project as of an instant, with the expression (or the definition of that key) checked; and its key."""
    from warehouse.as_of import as_of

    if not settings.home.registry.exists():
        raise NothingThere(f"nothing in {settings.home.path} yet: run `tinycdp demo`, or load events")
    workspace = Workspace(settings)
    with workspace.registry() as registry:
        project = registry.project(settings.project)
        _, checked = workspace.checked(registry)
        if expression in checked.flags and expression not in checked.values:
            raise WrongUse(f"`{expression}` is a flag: `tinycdp decide {expression} --profile ID` asks it")
        checked, key = _with_expression(checked, expression, Observed.of(registry.observed(project.key)))
        warnings = [warning for warning in checked.warnings if warning.source.text == expression]
        if key != expression:
            # What stands on the command line is no trait of anybody's.
            named = f"trait `{key}`"
            warnings = [replace(one, message=one.message.replace(named, "the expression")) for one in warnings]
        output.warn(warnings)
        try:
            t_ms = parse_instant(instant, project.zone) if instant else project.clock.now_ms()
        except ValueError as error:
            raise WrongUse(f"--as-of: {error}") from error
        with as_of(settings.home, registry, project, checked, t_ms) as world:
            yield world, key, project


def _with_expression(checked: CheckedCatalog, expression: str, observed: Observed) -> tuple[CheckedCatalog, str]:
    """The catalog with the expression as one more trait, unless it is the key of a definition."""
    if expression in checked.values:
        return checked, expression
    key = ASKED
    while key in checked.values:
        key += "_"
    catalog: Catalog = replace(checked.catalog, traits=(*checked.catalog.traits, Trait(key, expression)))
    try:
        return check_catalog(catalog, observed=observed), key
    except DefinitionError as error:
        # What nothing fixes the type of is most often meant as a condition.
        if any(d.code != "unknown-type" for d in error.diagnostics):
            raise
        traits = (*checked.catalog.traits, Trait(key, expression, type="boolean"))
        return check_catalog(replace(checked.catalog, traits=traits), observed=observed), key


def _profile(given: str) -> str:
    """The profile id of `user:208`, a bare user id, or a profile id."""
    return given if len(given) == 36 and ":" not in given else profile_id(given if ":" in given else f"user:{given}")
