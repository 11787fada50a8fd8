"""However deep or long an expression is, every engine answers, or the checker says that it is too deep."""

from collections.abc import Callable

import pytest

from dsl.catalog import Catalog, Segment
from dsl.check import check_catalog, check_expression
from dsl.diagnostics import DefinitionError
from dsl.explain import reasons
from dsl.parser import parse
from dsl.printer import print_tree
from dsl.source import Source
from tests.differential.engines import Engines
from tests.dsl.one_profile import T_MS, answer, event, world


def nested(times: int, around: Callable[[str], str], text: str) -> str:
    """`text` wrapped that many times."""
    for _ in range(times):
        text = around(text)
    return text


# Each shape as a condition of at most the given depth, over a property or attribute `x`.
SHAPES: dict[str, Callable[[int], str]] = {
    "abs": lambda depth: nested(depth - 2, lambda x: f"abs({x})", "x") + " > 1",
    "coalesce": lambda depth: nested(depth - 2, lambda x: f"coalesce({x}, 1)", "x") + " > 1",
    "condition": lambda depth: nested(depth // 2 - 2, lambda x: f"if({x} > 1, 1, 2)", "x") + " > 1",
    "choice": lambda depth: nested(depth - 2, lambda x: f"if(x > 1, {x}, 2)", "x + 1") + " > 1",
    "lower": lambda depth: nested(depth - 2, lambda x: f"lower({x})", "x") + ' == "x"',
    "not": lambda depth: nested(depth - 2, lambda x: f"!({x})", "x > 1"),
    "minus": lambda depth: nested(depth - 2, lambda x: f"-({x})", "x") + " > 1",
    "sum": lambda depth: " + ".join(["x"] * (depth - 1)) + " > 1",
    "product": lambda depth: " * ".join(["x"] * (depth - 1)) + " > 1",
    "quotient": lambda depth: " / ".join(["x"] * (depth - 1)) + " > 1",
    "quotient to the right": lambda depth: nested(depth - 3, lambda x: f"1 / ({x})", "x") + " > 1",
    "remainder": lambda depth: nested(depth // 2 - 2, lambda x: f"({x} + 3) % 5", "x") + " > 1",
    "min": lambda depth: nested(depth - 2, lambda x: f"min({x}, 1)", "x") + " > 1",
    "equal": lambda depth: nested(depth - 2, lambda x: f"({x}) == (x > 1)", "x > 1"),
    "in": lambda depth: nested(depth - 2, lambda x: f"({x}) in [true]", "x > 1"),
    "item": lambda depth: nested(depth // 2 - 1, lambda x: f"true in [{x}]", "x > 1"),
    "and or": lambda depth: nested(depth // 2 - 1, lambda x: f"(x > 1 && (x > 2 || {x}))", "x > 1"),
    "is_set": lambda depth: nested(depth - 2, lambda x: f"is_set({x})", "x == 1"),
    "or": lambda depth: " || ".join(f"x == {number}" for number in range(3 * depth)),
    "and": lambda depth: " && ".join(f"x != {number}" for number in range(3 * depth)),
}
every_shape = pytest.mark.parametrize("shape", SHAPES)


def of_profile(text: str) -> str:
    """The expression over the attribute."""
    return "".join(f"profile.{letter}" if letter == "x" else letter for letter in text.replace('"x"', '"y"'))


@every_shape
@pytest.mark.parametrize("depth", [15, 97])
def test_expression(shape: str, depth: int) -> None:
    """Evaluator, SQL, reasons and printer follow the deepest expressions, and agree."""
    text = of_profile(SHAPES[shape](depth))
    known = world(attributes={"x": 3_000_000})
    truth = answer(text, known)
    engines = Engines(known, Catalog(segments=(Segment("s", text),)))
    (state,) = engines.states().values()
    assert reasons(engines.checked.values["s"].node, state, engines.checked)
    assert {"p": {"s": truth}} == engines.tables()
    printed = print_tree(parse(Source(text)))
    assert printed == print_tree(parse(Source(printed)))


@every_shape
@pytest.mark.parametrize("depth", [15, 94])
def test_filter(shape: str, depth: int) -> None:
    """Filters too: however deep, they select the same events as the condition asked of a profile."""
    text = SHAPES[shape](depth)
    truth = answer(of_profile(text), world(attributes={"x": 3_000_000}))
    known = world(event(T_MS - 1, x=3_000_000), event(T_MS - 2, y=1))
    assert (1_000_000 if truth is True else 0) == answer(f"events.purchase[is_set(x) && ({text})].count", known)


@every_shape
def test_too_deep(shape: str) -> None:
    """What is deeper is refused as such; chains of `&&` and `||` stay shallow."""
    text = of_profile(SHAPES[shape](210))
    empty = check_catalog(Catalog())
    if shape in ("or", "and"):
        assert check_expression(text, empty).type == "boolean"
        return
    with pytest.raises(DefinitionError) as caught:
        check_expression(text, empty)
    assert ["too-deep"] == [diagnostic.code for diagnostic in caught.value.diagnostics]


def test_long_chain() -> None:
    """A chain of three hundred segments and one of a thousand comparisons are answered."""
    assert True is answer(" || ".join(f"profile.x == {number}" for number in range(1_000)), world(attributes={"x": 0}))
    segments = [Segment(f"s{number}", f"profile.x == {number}") for number in range(300)]
    chain = " || ".join(f's{number} || segment("s{number}")' for number in range(300))
    engines = Engines(world(attributes={"x": 299_000_000}), Catalog(segments=(*segments, Segment("any", chain))))
    assert engines.tables() == engines.evaluated()
    assert True is engines.evaluated()["p"]["any"]
