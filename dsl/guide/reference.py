"""The reference pages of functions and aggregates, and of audience rules, written from their tables."""

from dsl.aggregates import AGES, AGGREGATES, SEEN_AGES, AggregateFunction
from dsl.documents.audience_rules import EXPECTED, RULE_KEYS, RuleKey, read_rules
from dsl.functions import FUNCTIONS, REFERENCES
from dsl.mistakes import as_json
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
    named = [value_type for value_type in aggregate.argument if value_type != "unknown"]
    takes = f"({' or '.join(named) if len(named) < 5 else 'any'}{', q' if aggregate.quantile else ''})" if named else ""
    nothing = "missing" if aggregate.of_nothing is None else "[]"
    if isinstance(aggregate.of_nothing, int):
        nothing = write_number(aggregate.of_nothing)
    window = "calendar days: `_14d`, `_2w`" if aggregate.window == "calendar" else "duration: `_90s` to `_2w`"
    if aggregate.longest_ms is not None:
        window += ", needed, at most `_24h`"
    return f"| `{aggregate.name}{takes}` | {aggregate.summary} | {nothing} | {window} |"


def audience_rules_page() -> str:
    """`docs/reference/audience-rules.md` as Markdown; a test holds the page equal to it."""
    example = {"min_total_spend": 100, "days_since_last_event": 30}
    return "\n".join(
        (
            "# Audience rules",
            "",
            "```yaml",
            "segments:",
            "  - key: high_value",
            f"    rules: {as_json(example)}",
            "```",
            "",
            "is the segment",
            "",
            "```",
            read_rules(example).expression,
            "```",
            "",
            "Rules are mini-cdp's way of saying whom an audience holds: keys and values, all of which have to hold. "
            "They are translated into an expression when they are read, and the expression is what is kept. "
            "Written from the table in `dsl/documents/audience_rules.py`.",
            "",
            "| rule | value | holds for whoever | example | expression |",
            "|---|---|---|---|---|",
            *(_rule_row(key) for key in RULE_KEYS.values()),
            "",
            "Spend is the property `amount` of the event `purchase`. A day is 24 hours: `days_since_last_event: 30` is "
            "less than 30 times 24 hours ago. Things done are track, page and screen events.",
            "",
            "Numbers are decimals with at most six places. A key that is not in the table, and a value of another "
            "type, is an error that says where it stands and what was expected.",
            "",
        )
    )


def _rule_row(key: RuleKey) -> str:
    rules = {key.name: key.example}
    cells = (f"`{key.name}`", EXPECTED[key.takes], key.meaning)
    shown = (f"`{_cell(text)}`" for text in (as_json(rules), read_rules(rules).expression))
    return f"| {' | '.join((*cells, *shown))} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
