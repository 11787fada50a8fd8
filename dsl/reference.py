"""The reference page of functions and aggregates, written from their tables."""

from dsl.aggregates import AGES, AGGREGATES, SEEN_AGES, AggregateFunction
from dsl.functions import FUNCTIONS, REFERENCES
from dsl.numbers import write_number


def functions_page() -> str:
    """`docs/reference/functions.md` as Markdown; a test holds the page equal to it."""
    return "\n".join(
        (
            "# Functions and aggregates",
            "",
            "Written from the tables in `dsl/functions.py` and `dsl/aggregates.py`.",
            "",
            "## Functions",
            "",
            "| function | gives | example |",
            "|---|---|---|",
            *(
                f"| `{_cell(function.signature)}` | {_cell(function.summary)} | "
                f"`{_cell(function.example[0])}` is `{_cell(function.example[1])}` |"
                for function in FUNCTIONS.values()
            ),
            "",
            "An argument that is missing makes the result missing, except in `coalesce`, `if` and `is_set`. "
            + " and ".join(f'`{name}("key")`' for name in REFERENCES)
            + " read another definition.",
            "",
            "## Aggregates",
            "",
            "`events.<name>[filter].<aggregate>_<window>(property)`; without a window over the whole life.",
            "",
            "| aggregate | gives | of nothing | window |",
            "|---|---|---|---|",
            *(_aggregate_row(aggregate) for aggregate in AGGREGATES.values()),
            "",
            "Ages in whole units, rounded down: "
            + ", ".join(f"`{name}`" for name in AGES)
            + "; over every event from outside, of any kind: "
            + ", ".join(f"`{name}`" for name in SEEN_AGES)
            + ".",
            "",
        )
    )


def _aggregate_row(aggregate: AggregateFunction) -> str:
    takes = {None: "", "unknown": "(property)", "number": "(number)"}.get(aggregate.argument, "(property)")
    takes = takes.replace(")", ", q)") if aggregate.quantile else takes
    nothing = "missing" if aggregate.of_nothing is None else "[]"
    if isinstance(aggregate.of_nothing, int):
        nothing = write_number(aggregate.of_nothing)
    window = "calendar days: `_14d`, `_2w`" if aggregate.window == "calendar" else "duration: `_90s` to `_2w`"
    if aggregate.longest_ms is not None:
        window += ", needed, at most `_24h`"
    return f"| `{aggregate.name}{takes}` | {aggregate.summary} | {nothing} | {window} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
