"""The page of the language: every block holds, and every table is complete."""

import re

import pytest

from dsl import check, cursor, parser
from dsl.aggregates import AGES, AGGREGATES, SEEN_AGES
from dsl.check import CheckedCatalog, check_catalog, check_expression
from dsl.diagnostics import DefinitionError
from dsl.documents.definitions import load_directory
from dsl.evaluate import evaluate
from dsl.explain import show_value
from dsl.numbers import LARGEST, write_number
from dsl.parser import PRECEDENCE
from dsl.patterns import MAX_PATTERN_LENGTH
from dsl.state import State
from dsl.windows import hop_ms, read_window
from tests.docs.blocks import ROOT, Block, blocks, lines, of_language, write

PAGE = "docs/reference/language.md"


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> CheckedCatalog:
    """The definitions that the page shows, checked whole."""
    folder = tmp_path_factory.mktemp("language")
    for block in of_language(PAGE, "yaml"):
        write(block, folder)
    loaded = load_directory(folder)
    return check_catalog(loaded.catalog, loaded.sources)


def shown(language: str) -> list[str]:
    """Every line of the page's blocks of one language."""
    return [line for block in of_language(PAGE, language) for line in lines(block)]


# -- blocks ------------------------------------------------------------------------------------------------------------


def test_every_block_is_tested() -> None:
    """The page holds no block of which nothing is proved."""
    known = {"sh", "text", "yaml", "expression", "flag", "error", "values", "becomes", "ebnf"}
    assert known == {block.language for block in blocks(PAGE)}


@pytest.mark.parametrize("text", shown("expression"))
def test_expression_holds(text: str, checked: CheckedCatalog) -> None:
    """An expression of the page is right, and its canonical text too."""
    canonical = check_expression(text, checked).text
    assert canonical == check_expression(canonical, checked).text


@pytest.mark.parametrize("text", shown("flag"))
def test_rule_of_a_flag_holds(text: str, checked: CheckedCatalog) -> None:
    """A condition that the page gives to a flag is right there, and nowhere else."""
    assert "boolean" == check_expression(text, checked, "flag").type
    with pytest.raises(DefinitionError):
        check_expression(text, checked)


@pytest.mark.parametrize("block", of_language(PAGE, "error"), ids=lambda block: block.text)
def test_error_has_its_code(block: Block, checked: CheckedCatalog) -> None:
    """An expression that the page calls wrong is wrong in this way and in no other."""
    with pytest.raises(DefinitionError) as caught:
        check_expression(block.text, checked)
    assert [block.info] == [diagnostic.code for diagnostic in caught.value.diagnostics]


@pytest.mark.parametrize("line", shown("values"))
def test_value_is_as_shown(line: str, checked: CheckedCatalog) -> None:
    """An expression has the value that stands behind it, for a profile of which nothing is known."""
    expression, value = (part.strip() for part in line.split("//"))
    found = check_expression(expression, checked)
    assert value == show_value(evaluate(found.node, State("p1", 0, 0), checked), found.type)


@pytest.mark.parametrize("line", shown("becomes"))
def test_definition_becomes_an_expression(line: str, checked: CheckedCatalog) -> None:
    """A feature's trait, and a segment of rules, is the expression that the page says."""
    key, expression = line.split(" = ", 1)
    assert expression == checked.values[key].text


# -- tables ------------------------------------------------------------------------------------------------------------


def rows(heading: str) -> list[list[str]]:
    """The rows of the tables under a heading, without those that name the columns."""
    page = (ROOT / PAGE).read_text(encoding="utf-8")
    section = re.split(rf"^#+ {heading}$", page, flags=re.MULTILINE)[1].split("\n## ")[0]
    bare = [line.replace("\\|", "\0").strip("| ") for line in section.splitlines() if line.startswith("|")]
    cells = [[cell.strip().replace("\0", "|") for cell in line.split("|")] for line in bare]
    named = {number - 1 for number, row in enumerate(cells) if set("".join(row)) == {"-"}}
    return [row for number, row in enumerate(cells) if number not in named and number - 1 not in named]


def code(text: str) -> list[str]:
    """What stands in backticks."""
    return re.findall(r"`([^`]+)`", text)


def words(rows_of: list[list[str]]) -> set[str]:
    """Every word in backticks in the first column."""
    return {word for row in rows_of for piece in code(row[0]) for word in re.findall(r"\w+", piece)}


def test_every_aggregate_is_on_the_page() -> None:
    """The tables of aggregates and of ages name all of them, and their values of nothing."""
    assert set() == set(AGGREGATES) - words(rows("Aggregates"))
    assert set() == {*AGES, *SEEN_AGES} - words(rows("Ages"))
    of_nothing = {"0": 0, "missing": None, "the empty list": ()}
    for row in rows("Aggregates"):
        names = [name for name in words([row]) if name in AGGREGATES]
        assert [of_nothing[row[2]]] * len(names) == [AGGREGATES[name].of_nothing for name in names]


def test_operators_are_in_their_order() -> None:
    """The table of operators holds every one, from the tightest to the loosest."""
    synonyms = {"and": "&&", "or": "||", "-x": "", "!x": "", "not x": ""}
    listed = [synonyms.get(sign, sign) for row in rows("Operators") for sign in code(row[0])]
    tightness = [PRECEDENCE[sign] for sign in listed if sign]
    assert sorted(tightness, reverse=True) == tightness
    assert set(PRECEDENCE) == set(listed) - {""}


def test_hops_are_as_computed() -> None:
    """The table of windows says the hop of each."""
    for window, hop in (map(code, row) for row in rows("Windows")):
        found, step = read_window(window[0]), read_window(hop[0])
        assert found is not None
        assert step is not None
        assert step.width_ms == hop_ms(found.width_ms)


def test_limits_are_those_of_the_code() -> None:
    """The table of limits says what the code enforces."""
    gap = AGGREGATES["longest_gap_minutes"].longest_ms
    limits = [
        f"{parser.MAX_LENGTH:,}",
        f"{cursor.MAX_DEPTH}",
        f"{check.MAX_DEPTH}",
        f"{check.MAX_AGGREGATES:,}",
        f"{MAX_PATTERN_LENGTH:,}",
        f"{(gap or 0) // 3_600_000}",
        write_number(LARGEST),
        "6",
    ]
    assert limits == [row[1].split(" ")[0].rstrip(";") for row in rows("Limits")]
