"""Commands on who is who: a profile's graph, refused links, merging and keeping apart, the settings of it all."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from dsl.failure import WrongUse
from tinycdp.output import Output
from tinycdp.workspace import NothingThere, Workspace
from warehouse.settings import Settings

if TYPE_CHECKING:
    from rich.tree import Tree

    from serving.admin.identity_documents import (
        ChangeAnswer,
        IdentityAnswer,
        KeptApart,
        LogRecord,
        Move,
        Refused,
        SettingsAnswer,
    )
    from serving.admin.identity_log import Place

app = typer.Typer(no_args_is_help=True, help="Who is who: show, conflicts, merge, unmerge, alias, settings.")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")]
_WHO = "`user:208`, `email:ann@x.no`, …; a bare value is tried as user, external, email, anon, device; or a profile id."
_REASONS = ("users", "emails", "identifiers", "unmerged")
_WHY = {
    "users": "too many users in one profile",
    "emails": "a shared device or anonymous id would join two e-mails",
    "identifiers": "too many identifiers in one profile",
    "unmerged": "an un-merge keeps them apart",
}
_SHOWN = 12
"""Members of a profile whose moves are listed one by one."""


@app.command("show")
def show(who: Annotated[str, typer.Argument(help=_WHO)], as_json: AsJson = False) -> None:
    """A profile: its identifiers, what brought each there, what was refused and why.

    Examples: `tinycdp identity show 208` · `tinycdp identity show email:ann@example.com --json`
    """
    from serving.admin.identity import show as look

    output = Output(as_json)
    with _place() as place:
        found = look(place, who)
    output.result(msgspec.to_builtins(found))
    if not as_json:
        output.tables.print(_tree(found), soft_wrap=True)


@app.command("conflicts")
def conflicts(
    reason: Annotated[str | None, typer.Option(help=f"Only these: {', '.join(_REASONS)}.")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many are listed, the newest first.")] = 100,
    as_json: AsJson = False,
) -> None:
    """Links that were refused, the newest first.

    Example: `tinycdp identity conflicts --reason users --limit 20`
    """
    from serving.admin.identity import conflicts as look

    if reason is not None and reason not in _REASONS:
        raise WrongUse(f"--reason: `{reason}` is none of {', '.join(_REASONS)}")
    output = Output(as_json)
    with _place() as place:
        found = look(place, reason, limit)
    output.result(msgspec.to_builtins(found))
    rows = [(c.record.seq, c.reason, c.stronger, c.weaker, _shown(c.link)) for c in found.conflicts]
    output.table("refused links", ("seq>", "reason", "stronger", "weaker", "the link"), rows)
    output.lines(f"{found.total:,} refused at seq {found.as_of_seq:,}, {len(rows):,} of them shown")


@app.command("merge")
def merge(
    one: Annotated[str, typer.Argument(help=_WHO)],
    other: Annotated[str, typer.Argument(help=_WHO)],
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Make one profile of two, from the next decision on; it may have two users and two e-mails.

    Example: `tinycdp identity merge user:208 email:ann@example.com --dry-run`
    """
    from serving.admin.identity import merge as change

    with _place() as place:
        told = change(place, one, other, dry_run=dry_run)
    _print_change(Output(as_json), told)


@app.command("unmerge")
def unmerge(
    one: Annotated[str, typer.Argument(help=_WHO)],
    other: Annotated[str, typer.Argument(help=_WHO)],
    dry_run: DryRun = False,
    as_json: AsJson = False,
) -> None:
    """Keep two identifiers apart for ever, as if it had always been so.

    Example: `tinycdp identity unmerge user:208 anon:a-17 --dry-run`
    """
    from serving.admin.identity import part

    with _place() as place:
        told = part(place, one, other, dry_run=dry_run)
    _print_change(Output(as_json), told)


@app.command("alias")
def alias(
    previous: Annotated[str, typer.Argument(help="`previousId`: tried as user, external, anon, device.")],
    user: Annotated[str, typer.Argument(help="`userId`.")],
    as_json: AsJson = False,
) -> None:
    """Append the call `alias(previousId, userId)`, as the tracking API does.

    Example: `tinycdp identity alias a-17 208`
    """
    from serving.admin.identity import alias as say

    output = Output(as_json)
    with _place() as place:
        answer = say(place, previous, user)
    refused = [{"reason": each.reason, "stronger": each.stronger, "weaker": each.weaker} for each in answer.refusals]
    output.result({"seq": answer.seq, "code": answer.code, "profileId": answer.profile_id, "refused": refused})
    output.lines(f"{answer.code} at seq {answer.seq}: `user:{user}` is profile {answer.profile_id}")
    for each in answer.refusals:
        output.lines(f"  `{each.weaker}` stays apart: {_WHY[each.reason]}")


@app.command("settings")
def settings(  # one option a setting
    max_user_ids: Annotated[int | None, typer.Option(min=0, help="Users in one profile; 0 is no limit.")] = None,
    max_identifiers: Annotated[int | None, typer.Option(min=2, help="Identifiers in one profile.")] = None,
    block: Annotated[list[str] | None, typer.Option(help="A value that stands for nobody, of any kind.")] = None,
    unblock: Annotated[list[str] | None, typer.Option(help="A value that stands for somebody again.")] = None,
    email_from_traits: Annotated[
        bool | None,
        typer.Option(
            "--email-from-traits/--no-email-from-traits",
            help="Whether `traits.email` of an identify counts as the e-mail when none is given beside it.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What links are judged by; with options, from a record of the log on, judged by something else.

    Examples: `tinycdp identity settings` · `tinycdp identity settings --max-user-ids 2 --block kiosk-1`
    """
    from serving.admin import identity

    given = {
        "max_user_ids_per_profile": max_user_ids,
        "max_identifiers_per_profile": max_identifiers,
        "email_from_traits": email_from_traits,
    }
    changed: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    with _place() as place:
        held = identity.settings(place)
        if block or unblock:
            changed["blocked_values"] = identity.with_blocked(held.blocked_values, block or (), unblock or ())
        told = identity.change_settings(place, changed) if changed else held
    _print_settings(Output(as_json), told)


# -- printing ----------------------------------------------------------------------------------------------------------


@contextmanager
def _place() -> "Iterator[Place]":
    """The project of this home, which has to be there."""
    from serving.admin.identity_log import Place

    read = Settings.read()
    if not read.home.registry.exists():
        raise NothingThere(f"nothing in {read.home.path} yet: run `tinycdp demo`, or load events")
    workspace = Workspace(read)
    with workspace.registry() as registry, workspace.store() as client:
        workspace.ensure_project(registry)
        yield Place(read, registry, client)


def _tree(found: "IdentityAnswer") -> "Tree":
    from rich.markup import escape
    from rich.tree import Tree

    tree = Tree(f"[bold]profile {found.profile_id}[/bold], as of seq {found.as_of_seq:,}")
    tree.add(f"began with {escape(found.first_identifier)} at {escape(_shown(found.since))}")
    for title, lines in (
        ("identifiers", [f"{each.identifier}  since {_shown(each.since)}" for each in found.members]),
        ("ids that lead here", found.retired_ids),
        ("never one profile", [_kept_apart(each) for each in found.unmerges]),
    ):
        if lines:
            _add(tree, f"[bold]{title}[/bold] ({len(lines):,})", lines)
    history = tree.add(f"[bold]history[/bold] ({len(found.history):,})")
    for step in found.history:
        done = (*_moved(step.moved, found.profile_id), *map(_refused, step.refused))
        _add(history, escape(_shown(step.record)), done)
    return tree


def _add(tree: "Tree", title: str, lines: Iterable[str]) -> None:
    from rich.markup import escape

    branch = tree.add(title)
    for line in lines:
        branch.add(escape(line))


def _moved(moves: "Sequence[Move]", here: str) -> Iterator[str]:
    for move in moves[:_SHOWN]:
        before, after = (_profile(each, here) for each in (move.from_profile, move.to_profile))
        yield f"{move.identifier}: {before} -> {after}"
    if len(moves) > _SHOWN:
        yield f"and {len(moves) - _SHOWN:,} more"


def _profile(profile_id: str | None, here: str) -> str:
    if profile_id is None:
        return "nobody"
    return "this profile" if profile_id == here else profile_id


def _refused(refused: "Refused") -> str:
    said = f"refused: {refused.stronger} = {refused.weaker} ({_WHY[refused.reason]})"
    return said if refused.link.seq == refused.record.seq else f"{said}, the link of {_shown(refused.link)}"


def _kept_apart(each: "KeptApart") -> str:
    return f"{each.one} and {each.other}" + (f", since {_shown(each.record)}" if each.record else "")


def _shown(record: "LogRecord") -> str:
    """A record as people read it: `seq 7, identify, 2026-01-02T…, event m-7`."""
    name = record.name if record.name and record.name != record.kind else ""
    what = f"{record.kind} {name}".strip() if record.kind else record.type
    parts = [f"seq {record.seq:,}", what, record.at, f"event {record.event_id}" if record.event_id else None]
    return ", ".join(part for part in parts if part)


def _print_change(output: Output, told: "ChangeAnswer") -> None:
    output.result(msgspec.to_builtins(told))
    rows = [(move.identifier, move.from_profile, move.to_profile or "nobody", move.events) for move in told.moves]
    if rows:
        output.table("identifiers that move", ("identifier", "from", "to", "events>"), rows)
    if told.conflicts:
        links = [(each.stronger, each.weaker, each.reason, _shown(each.link)) for each in told.conflicts]
        output.table("links that become conflicts", ("stronger", "weaker", "reason", "the link"), links)
    output.lines(_said(told))


def _said(told: "ChangeAnswer") -> str:
    both = f"`{told.one}` and `{told.other}`"
    if told.refused is not None:
        return f"{both} cannot be merged: {_WHY[told.refused]}"
    count = f"identifiers: {len(told.moves):,}, their events: {told.events:,}"
    if told.dry_run:
        return (
            f"dry run of {both}: these would move ({count})" if told.moves else f"dry run of {both}: nobody would move"
        )
    if told.recorded_seq is None:
        return f"nothing to do: {both} are {'one profile' if told.action == 'merge' else 'kept apart'} already"
    now = "are one profile" if told.action == "merge" else "are never one profile"
    return f"seq {told.recorded_seq:,}: {both} {now}; {count}"


def _print_settings(output: Output, told: "SettingsAnswer") -> None:
    output.result(msgspec.to_builtins(told))
    rows = [
        ("users in one profile", told.max_user_ids_per_profile or "no limit"),
        ("identifiers in one profile", told.max_identifiers_per_profile),
        ("blocked values of this project", ", ".join(told.blocked_values) or "none"),
        ("traits.email counts as the e-mail", told.email_from_traits),
    ]
    output.table("identity settings", ("setting", "value"), rows)
    if told.recorded_seq is not None:
        output.lines(f"links are judged by these from seq {told.recorded_seq:,} on")
