"""The page of error codes is complete, and its examples fail as it says."""

import re
from pathlib import Path
from typing import get_args

import pytest

from dsl.check import check_catalog, check_expression
from dsl.diagnostics import Code, DefinitionError
from dsl.documents.definitions import load_directory
from dsl.observed import Observed, Sighting

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/errors.md").read_text(encoding="utf-8")
OBSERVED = Observed.of([Sighting("purchase", "", ""), Sighting("", "age", "string")])
"""What the examples of warnings are compared with."""
WITHOUT_EXAMPLE = {"too-long", "too-deep", "too-many-aggregates", "bug"}
"""Examples of these would fill the page, or must not exist."""


def sections() -> dict[str, str]:
    """The text under each heading, by heading."""
    parts = re.split(r"^## (.+)$", PAGE, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def examples(kind: str) -> list[tuple[str, str]]:
    """Code and text of every block of a kind.

    `error` is an expression, `yaml error` a definitions file, `yaml` one that is only warned of.
    """
    found = []
    for code, text in sections().items():
        found += [(code, block) for block in re.findall(rf"^```{kind}\n(.*?)\n```$", text, re.DOTALL | re.MULTILINE)]
    return found


def codes(error: DefinitionError) -> set[str]:
    """The codes of all that was found."""
    return {diagnostic.code for diagnostic in error.diagnostics}


def test_headings_are_the_codes() -> None:
    """Every code has a heading, in the order of the list, and nothing else has one."""
    assert list(get_args(Code)) == list(sections())


def test_every_code_has_an_example() -> None:
    """Every code shows what gives it, but for those that cannot be shown."""
    shown = {code for kind in ("error", "yaml error", "yaml") for code, _ in examples(kind)}
    assert set(get_args(Code)) - WITHOUT_EXAMPLE == shown


@pytest.mark.parametrize(("code", "expression"), examples("error"))
def test_expression_gives_its_code(code: str, expression: str) -> None:
    """An expression on the page, checked against the demo's definitions, gives the code it stands under."""
    checked = check_catalog(load_directory(ROOT / "examples/shop").catalog)
    with pytest.raises(DefinitionError) as caught:
        check_expression(expression, checked)
    assert code in codes(caught.value)


@pytest.mark.parametrize(("code", "document"), examples("yaml error"))
def test_definitions_give_their_code(code: str, document: str, tmp_path: Path) -> None:
    """A definitions file on the page gives the code it stands under."""
    (tmp_path / "definitions.yaml").write_text(document, encoding="utf-8")
    with pytest.raises(DefinitionError) as caught:
        check_catalog(load_directory(tmp_path).catalog)
    assert code in codes(caught.value)


@pytest.mark.parametrize(("code", "document"), examples("yaml"))
def test_definitions_are_warned_of(code: str, document: str, tmp_path: Path) -> None:
    """A definitions file that is only questionable passes, and gives the warning that it stands under."""
    (tmp_path / "definitions.yaml").write_text(document, encoding="utf-8")
    warnings = check_catalog(load_directory(tmp_path).catalog, observed=OBSERVED).warnings
    assert [(code, "warning")] == [(warning.code, warning.severity) for warning in warnings]
