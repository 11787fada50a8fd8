"""The command line: every command of TinyCDP. Imports stay inside the commands, so that `--help` is instant."""

import json
import os
import signal
import sys
from types import FrameType
from typing import Annotated, NoReturn

import typer

from dsl.diagnostics import DefinitionError
from dsl.failure import Failure, WrongUse
from tinycdp import dead_letters, identity, pipelines
from tinycdp.output import Output
from warehouse.settings import Settings

app = typer.Typer(
    name="tinycdp",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Customer audiences you own: events in, traits and segments from expressions, decisions, exports, SQL out.",
)
keys_app = typer.Typer(no_args_is_help=True, help="API keys: create, list, revoke.")
app.add_typer(keys_app, name="keys")
app.add_typer(dead_letters.app, name="dead-letters")
app.add_typer(identity.app, name="identity")
app.add_typer(pipelines.app, name="pipelines")

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else there.")]
Host = Annotated[str, typer.Option(help="Address to listen on.")]


@app.command()
def demo(
    sample: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of households, 0 to 1.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Another seed, another sample.")] = 0,
    reset: Annotated[bool, typer.Option("--reset", help="Begin again: delete this home's data first.")] = False,
    keep: Annotated[bool, typer.Option("--keep", help="Stay up with the API on :8000 and Dagster on :3000.")] = False,
    as_json: AsJson = False,
) -> None:
    """The whole job on real data: a year of a grocery shop, from events to decisions over HTTP.

    Examples: `tinycdp demo` · `tinycdp demo --sample 0.1 --seed 7` · `tinycdp demo --reset --keep`
    """
    from tinycdp.demo import run_demo

    run_demo(Settings.read(), Output(as_json), share=sample, seed=seed, reset=reset, keep=keep)


@app.command()
def up(
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of the API.")] = 8000,
    dagster_port: Annotated[int, typer.Option(help="Port of the Dagster UI.")] = 3000,
) -> None:
    """Keep the API, the worker and the Dagster UI running; a process that dies is started again, ctrl-C stops all.

    Example: `tinycdp up --port 8000 --dagster-port 3000`
    """
    from tinycdp.running import run_up

    run_up(Settings.read(), Output(), host, port, dagster_port)


@app.command()
def down(as_json: AsJson = False) -> None:
    """Stop the embedded Valkey of this home.

    Example: `tinycdp down`
    """
    from tinycdp.running import run_down

    run_down(Settings.read(), Output(as_json))


@app.command()
def serve(
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.")] = 8000,
    planes: Annotated[str | None, typer.Option(help="Parts to serve, of `decide,ingest,admin`; all of them.")] = None,
) -> None:
    """Run the HTTP API in the foreground.

    Examples: `tinycdp serve --port 8000` · `tinycdp serve --planes decide`
    """
    from tinycdp.running import run_serve

    if planes is not None:
        os.environ["TINYCDP_PLANES"] = planes  # the server's own processes read it there
    run_serve(Settings.read(), host, port)


@app.command()
def worker() -> None:
    """Land what is appended, announce it, fold busy sources; in the foreground until it is stopped.

    Example: `tinycdp worker`
    """
    from tinycdp.upkeep import run_worker

    run_worker(Settings.read())


@app.command()
def health(as_json: AsJson = False) -> None:
    """What runs and what is there: store, registry, tables, snapshot. Exit code 1 when something is missing.

    Example: `tinycdp health --json`
    """
    from tinycdp.running import run_health

    run_health(Settings.read(), Output(as_json))


@app.command()
def load(
    files: Annotated[list[str], typer.Argument(help="Parquet, CSV or NDJSON; text may be .gz or .zst.")],
    mapping: Annotated[str, typer.Option(help="YAML: which column is what (docs/reference/load.md).")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be understood; land nothing.")] = False,
    no_refresh: Annotated[bool, typer.Option("--no-refresh", help="Land only; `tinycdp refresh` counts it.")] = False,
    timezone: Annotated[str, typer.Option(help="Calendar of the project, if this makes it.")] = "UTC",
    max_dead_letters: Annotated[int | None, typer.Option(min=0, help="More stop the load: 10000 by default.")] = None,
    as_json: AsJson = False,
) -> None:
    """Load files of events, each event once, then refresh and publish; a load that was stopped goes on where it was.

    Examples: `tinycdp load orders.parquet --mapping orders.yaml` · `tinycdp load *.csv.gz --mapping m.yaml --dry-run`
    """
    from tinycdp.load import LoadChoices, run_load

    choices = LoadChoices(files, mapping, dry_run, not no_refresh, timezone, max_dead_letters)
    run_load(Settings.read(), Output(as_json), choices)


@app.command()
def refresh(
    assets: Annotated[
        list[str] | None, typer.Argument(help="Assets such as `segments/vip`; everything without any.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compute traits and segments, publish them, write the exports: one Dagster run.

    Examples: `tinycdp refresh` · `tinycdp refresh traits/total_spent segments/vip`
    """
    from tinycdp.running import run_refresh

    run_refresh(Settings.read(), Output(as_json), assets or [])


@app.command()
def rebuild(
    online: Annotated[bool, typer.Option("--online", help="Only the online store, as after its loss.")] = False,
    as_json: AsJson = False,
) -> None:
    """Compute everything again: the tables from the lake and the online store from them.

    Examples: `tinycdp rebuild --online` · `tinycdp rebuild`
    """
    from tinycdp.upkeep import run_rebuild

    run_rebuild(Settings.read(), Output(as_json), online=online)


@app.command()
def parity(
    profiles: Annotated[int, typer.Option(min=1, help="How many to compare, drawn from both sides.")] = 200,
    seed: Annotated[int, typer.Option(help="Another seed, other profiles.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Ask the online store, count the same from the events, at the same instant and `seq`: nothing may differ.

    Exit code 1 when something does. Examples: `tinycdp parity` · `tinycdp parity --profiles 2000 --json`
    """
    from tinycdp.upkeep import run_parity

    run_parity(Settings.read(), Output(as_json), profiles, seed)


@app.command()
def check(
    paths: Annotated[list[str], typer.Argument(help="A folder of definitions, or YAML files of one.")],
    as_json: AsJson = False,
) -> None:
    """Check definitions and change nothing. Exit code 1 when something is wrong.

    Example: `tinycdp check examples/shop`
    """
    from tinycdp.definitions import run_check

    run_check(Settings.read(), Output(as_json), paths)


@app.command()
def apply(
    folder: Annotated[str, typer.Argument(help="Folder of YAML definitions.")],
    timezone: Annotated[str, typer.Option(help="Calendar of the project, if this makes it.")] = "UTC",
    as_json: AsJson = False,
) -> None:
    """Make the definitions in a folder the project's current catalog version.

    Example: `tinycdp apply examples/shop`
    """
    from tinycdp.definitions import run_apply

    run_apply(Settings.read(), Output(as_json), folder, timezone)


@app.command()
def sql(
    expression: Annotated[str, typer.Argument(help="An expression, or the key of a trait or segment.")],
    as_of: Annotated[str | None, typer.Option(help="Instant of the question, ISO 8601; now without it.")] = None,
    as_json: AsJson = False,
) -> None:
    """The SQL of an expression, ready to run in `analytics.duckdb`.

    Example: `tinycdp sql 'events.purchase.sum_30d(amount) >= 200'`
    """
    from tinycdp.definitions import run_sql

    run_sql(Settings.read(), Output(as_json), expression, as_of)


@app.command("eval")
def evaluate(
    expression: Annotated[str, typer.Argument(help="An expression, or the key of a trait or segment.")],
    profile: Annotated[str, typer.Option(help="`user:208`, a bare user id, or a profile id.")],
    as_of: Annotated[str | None, typer.Option(help="Instant of the question, ISO 8601; now without it.")] = None,
    as_json: AsJson = False,
) -> None:
    """The value of an expression for one profile, counted from its events, on any day.

    Example: `tinycdp eval 'events.purchase.sum_30d(amount)' --profile 208 --as-of 2017-07-01`
    """
    from tinycdp.expressions import run_eval

    run_eval(Settings.read(), Output(as_json), expression, profile, as_of)


@app.command()
def explain(
    expression: Annotated[str, typer.Argument(help="The key of a trait or segment, or an expression.")],
    profile: Annotated[str, typer.Option(help="`user:208`, a bare user id, or a profile id.")],
    as_of: Annotated[str | None, typer.Option(help="Instant of the question, ISO 8601; now without it.")] = None,
    as_json: AsJson = False,
) -> None:
    """Why an expression has its value for a profile: every part with its value, and what would make it true.

    Example: `tinycdp explain vip --profile 208`
    """
    from tinycdp.expressions import run_explain

    run_explain(Settings.read(), Output(as_json), expression, profile, as_of)


@app.command()
def preview(
    expression: Annotated[str, typer.Argument(help="A condition, or the key of a segment.")],
    as_of: Annotated[str | None, typer.Option(help="Instant of the question, ISO 8601; now without it.")] = None,
    as_json: AsJson = False,
) -> None:
    """How many profiles a condition holds for, a sample, and how that was over the last 90 days.

    Example: `tinycdp preview 'events.purchase.count_30d >= 3'`
    """
    from tinycdp.expressions import run_preview

    run_preview(Settings.read(), Output(as_json), expression, as_of)


@app.command()
def fmt(
    expressions: Annotated[list[str], typer.Argument(help="Expressions.")],
    as_json: AsJson = False,
) -> None:
    """The canonical text of expressions.

    Example: `tinycdp fmt 'not (a and b)'`
    """
    from tinycdp.expressions import run_fmt

    run_fmt(Output(as_json), expressions)


@app.command()
def complete(
    text: Annotated[str, typer.Argument(help="The beginning of an expression.")],
    at: Annotated[int | None, typer.Option(help="Where the cursor is, in characters; at the end without it.")] = None,
    as_json: AsJson = False,
) -> None:
    """What may stand next: names of your events, attributes and definitions, functions, aggregates, windows.

    Example: `tinycdp complete 'events.purchase.su'`
    """
    from tinycdp.expressions import run_complete

    run_complete(Settings.read(), Output(as_json), text, at)


@app.command()
def segments(as_json: AsJson = False) -> None:
    """Sizes of all segments at the last refresh.

    Example: `tinycdp segments`
    """
    from tinycdp.answers import run_segments

    run_segments(Settings.read(), Output(as_json))


@app.command()
def decide(  # noqa: PLR0913  # a question has so many parts
    flag: Annotated[str, typer.Argument(help="Key of the flag; `*` asks all.")] = "",
    *,
    profile: Annotated[str, typer.Option(help="`user:208`, another identifier such as `email:…`, or a profile id.")],
    all_flags: Annotated[bool, typer.Option("--all", help="Ask all flags.")] = False,
    context: Annotated[str, typer.Option(help="What a request would bring along, as a JSON object.")] = "{}",
    events: Annotated[str, typer.Option(help="Events counted in this answer alone, as a JSON list.")] = "[]",
    traits: Annotated[str, typer.Option(help="Attributes for this answer alone, as a JSON object.")] = "{}",
    explain: Annotated[bool, typer.Option("--explain", help="Add every part of every condition.")] = False,
    expose: Annotated[bool, typer.Option("--expose", help="Log which variant chance showed, as the API does.")] = False,
    as_json: AsJson = False,
) -> None:
    """Ask a flag for a profile: the answer of `POST /v1/decide`, whose document `--json` prints.

    Examples: `tinycdp decide checkout_offer --profile 208 --context '{"amount": 120}'` ·
    `tinycdp decide checkout_offer --profile 208 --events '[{"event": "purchase", "properties": {"amount": 80}}]'` ·
    `tinycdp decide --all --profile email:ann@example.com --json`
    """
    from tinycdp.decide import ALL_FLAGS, Question, run_decide

    if bool(flag) == all_flags and flag != ALL_FLAGS:
        raise WrongUse("name one flag, or ask all with --all")
    question = Question(flag or ALL_FLAGS, profile, context, events, traits, explain, expose)
    run_decide(Settings.read(), Output(as_json), question)


@app.command()
def export(
    segment: Annotated[str, typer.Argument(help="Key of the segment.")],
    to: Annotated[str, typer.Option(help="A .csv or .parquet file; in the exports folder without it.")] = "",
    as_json: AsJson = False,
) -> None:
    """Write a segment's members with their traits to a file, and its manifest beside it.

    Example: `tinycdp export high_value --to high_value.csv`
    """
    from tinycdp.answers import run_export

    run_export(Settings.read(), Output(as_json), segment, to)


@app.command()
def schema(
    event: Annotated[str | None, typer.Argument(help="Name of an event; all of them without it.")] = None,
    as_json: AsJson = False,
) -> None:
    """What events are declared to hold against what they held: types, how often, when, and what was violated.

    Examples: `tinycdp schema` · `tinycdp schema purchase --json`
    """
    from tinycdp.schema import run_schema

    run_schema(Settings.read(), Output(as_json), event)


@keys_app.command("create")
def keys_create(
    kind: Annotated[str, typer.Option(help="write, read or admin.")],
    label: Annotated[str, typer.Option(help="What the key is for.")] = "",
    as_json: AsJson = False,
) -> None:
    """Make a key; it is shown this once.

    Example: `tinycdp keys create --kind read --label website`
    """
    from tinycdp.api_keys import run_create

    run_create(Settings.read(), Output(as_json), kind, label)


@keys_app.command("list")
def keys_list(as_json: AsJson = False) -> None:
    """List the project's keys, without their text.

    Example: `tinycdp keys list`
    """
    from tinycdp.api_keys import run_list

    run_list(Settings.read(), Output(as_json))


@keys_app.command("revoke")
def keys_revoke(
    key_id: Annotated[int, typer.Argument(help="Number of the key in `tinycdp keys list`.")], as_json: AsJson = False
) -> None:
    """End a key at once.

    Example: `tinycdp keys revoke 2`
    """
    from tinycdp.api_keys import run_revoke

    run_revoke(Settings.read(), Output(as_json), key_id)


def main() -> NoReturn:
    """Runs the command line; what people can mend is one sentence on stderr, without a traceback."""
    # As an exception it passes through every `finally`: what a command started does not outlive it.
    signal.signal(signal.SIGTERM, _terminated)
    try:
        app()
    except DefinitionError as error:
        _report_definitions(error)
        sys.exit(1)
    except Failure as error:
        _report(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _report("stopped")
        sys.exit(130)
    except BrokenPipeError:
        # The reader of our output has gone (`| head`); there is nobody left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    sys.exit(0)


def _terminated(_number: int, _frame: FrameType | None) -> NoReturn:
    sys.exit(143)


def _report(message: str) -> None:
    if "--json" in sys.argv:
        sys.stdout.write(json.dumps({"error": {"message": message}}, ensure_ascii=False) + "\n")
    sys.stderr.write(f"tinycdp: {message}\n")


def _report_definitions(error: DefinitionError) -> None:
    from dsl.render import draw_all, to_json

    if "--json" in sys.argv:
        diagnostics = [to_json(diagnostic) for diagnostic in error.diagnostics]
        sys.stdout.write(json.dumps({"ok": False, "diagnostics": diagnostics}, ensure_ascii=False, indent=2) + "\n")
    sys.stderr.write(draw_all(error.diagnostics) + "\n")
