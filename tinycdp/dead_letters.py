"""`tinycdp dead-letters`: events that were not accepted; see why, correct them, take them in again."""

import asyncio
from collections import Counter
from typing import Annotated, Any

import typer

from dsl.failure import WrongUse
from tinycdp.output import Output
from tinycdp.workspace import Workspace
from warehouse.settings import Settings

app = typer.Typer(no_args_is_help=True, help="Events that were not accepted: list, show, replay, discard.")
AsJson = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, nothing else there.")]
Reason = Annotated[str | None, typer.Option(help="Only letters of this reason, such as `no_identifier`.")]


@app.command("list")
def list_letters(
    reason: Reason = None,
    status: Annotated[str, typer.Option(help="`open`, `replayed`, `discarded` or `all`.")] = "open",
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    as_json: AsJson = False,
) -> None:
    """Letters, the oldest first, and how many there are of each reason.

    Examples: `tinycdp dead-letters list` · `tinycdp dead-letters list --reason too_late --json`
    """
    from serving.http.dead_letters import Letter

    if status not in ("open", "replayed", "discarded", "all"):
        raise WrongUse(f"--status is `{status}`: it is one of open, replayed, discarded, all")
    output, settings = Output(as_json), Settings.read()
    with Workspace(settings).registry() as registry:
        wanted = None if status == "all" else status
        found = registry.dead_letters(settings.project, status=wanted, reason=reason, limit=limit)
        counts = registry.count_dead_letters(settings.project)
    letters = [Letter.of(each) for each in found]
    output.result(
        {
            "letters": [_document(each) for each in letters],
            "counts": [{"status": key[0], "reason": key[1], "letters": n} for key, n in sorted(counts.items())],
        }
    )
    columns = ("id>", "received", "reason", "route", "event id", "times>", "what is wrong")
    rows = ((x.id, x.received_at, x.reason, x.route, x.event_id, x.times, x.detail) for x in letters)
    output.table(f"dead letters, {status}", columns, rows)
    by_reason = Counter({key[1]: n for key, n in counts.items() if key[0] == "open"})
    told = ", ".join(f"{n:,} {name}" for name, n in by_reason.most_common()) or "none"
    output.lines(f"open: {told}. `tinycdp dead-letters show ID` shows the event, `replay` takes it in again")


@app.command()
def show(letter: Annotated[int, typer.Argument(metavar="ID")], as_json: AsJson = False) -> None:
    """One letter with its event as it was sent.

    Example: `tinycdp dead-letters show 7`
    """
    from serving.http.dead_letters import Letter

    output, settings = Output(as_json), Settings.read()
    with Workspace(settings).registry() as registry:
        found = Letter.of(registry.dead_letter(settings.project, letter))
    output.result(_document(found))
    output.lines(f"{found.id}  {found.reason} at {found.path}: {found.detail}")
    output.lines(f"{found.route}, received {found.received_at}, {found.times} times, {found.status}")
    output.lines(found.raw)


@app.command()
def replay(
    ids: Annotated[list[int] | None, typer.Argument(metavar="[ID]...", help="Letters; or all of a --reason.")] = None,
    reason: Reason = None,
    patch: Annotated[str, typer.Option(help="JSON merge patch for each event: null takes a field away.")] = "{}",
    as_json: AsJson = False,
) -> None:
    """Take letters in again, corrected, under their own event ids: nothing counts twice. Exit code 1 if one stays dead.

    Examples: `tinycdp dead-letters replay 7 --patch '{"userId": "ann"}'` · `tinycdp dead-letters replay --reason
    schema_violation`
    """
    from serving.http.dead_letters import replay_answer

    if not ids and reason is None:
        raise WrongUse("name letters by their ids, or all open ones of a --reason")
    output, settings = Output(as_json), Settings.read()
    found = asyncio.run(_replay(settings, ids or [], reason, _patch(patch)))
    answer = replay_answer(found)
    output.result(_document(answer))
    for each in answer.rejected:
        output.say(f"{each.id} stays: {each.code} at {each.path}: {each.message}")
    output.lines(f"{answer.replayed:,} replayed, {len(answer.rejected):,} stay")
    if answer.rejected:
        raise typer.Exit(1)


@app.command()
def discard(ids: Annotated[list[int], typer.Argument(metavar="ID...")], as_json: AsJson = False) -> None:
    """Give letters up; they stay to be seen with `list --status discarded`.

    Example: `tinycdp dead-letters discard 7 8`
    """
    output, settings = Output(as_json), Settings.read()
    with Workspace(settings).registry() as registry:
        closed = registry.close_dead_letters(settings.project, ids, "discarded")
    output.result({"discarded": closed})
    output.lines(f"{closed:,} discarded")


async def _replay(settings: Settings, ids: list[int], reason: str | None, patch: dict[str, Any]) -> Any:
    from serving.http.ingest_plane import IngestPlane
    from serving.http.metrics import Metrics
    from serving.online import AppendRules, KnownProject, OnlineAppender, connect_async, embedded_url

    workspace = Workspace(settings)
    with workspace.registry() as registry, workspace.store() as store:
        workspace.ensure_project(registry)
        workspace.publish_keys(registry, store)
    client = connect_async(settings.redis_url or embedded_url(settings.home.valkey))
    try:
        known = KnownProject(client, settings.project)
        appends = OnlineAppender(client, settings.project, AppendRules(settings.dedup_ttl_ms, settings.max_log))
        return await IngestPlane(client, settings, Metrics(), known, appends).replay(ids, reason, patch)
    finally:
        await client.aclose()


def _patch(text: str) -> dict[str, Any]:
    from dsl.sent_json import UnreadableJson, read_sent

    try:
        found = read_sent(text.encode())
    except UnreadableJson as error:
        raise WrongUse("--patch is no JSON") from error
    if not isinstance(found, dict):
        raise WrongUse('--patch is a JSON object, such as `{"userId": "ann"}`')
    return found


def _document(value: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(value)
