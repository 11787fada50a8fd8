"""What a condition lacks: the sentence that says what would turn it."""

from dataclasses import replace

from dsl import typed
from dsl.aggregates import AGGREGATES
from dsl.evaluate import Evaluation
from dsl.numbers import MICROS, write_number
from dsl.typed_text import text_of

_OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
_TURNED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}


def shortfall(node: typed.Node, wanted: bool, evaluation: Evaluation) -> str:
    """What the Boolean `node` needs to become `wanted`, which it is not now.

    `needs events.purchase.count_30d >= 3: 1 more`, `needs profile.plan == "pro": profile.plan is missing`.
    """
    if isinstance(node, typed.Call) and node.function == "is_set" and not wanted:
        return f"needs {text_of(node.arguments[0])} to be missing"
    needed = node if wanted else _negated(node)
    missing = [text_of(part) for part in typed.children(node) or (node,) if evaluation.value(part) is None]
    if missing:
        detail = f"{' and '.join(missing)} {'is' if len(missing) == 1 else 'are'} missing"
    else:
        detail = _distance(needed, evaluation) if isinstance(needed, typed.Compare) else ""
    return f"needs {text_of(needed)}{f': {detail}' if detail else ''}"


def _negated(node: typed.Node) -> typed.Node:
    if isinstance(node, typed.Compare):
        return replace(node, operator=_OPPOSITE[node.operator])
    return typed.Not(node, node.span)


def _distance(node: typed.Compare, evaluation: Evaluation) -> str:
    """How far a number is from what it is compared with: `1 more`, `over 2.5 less`; of other types nothing."""
    left, right, operator = node.left, node.right, node.operator
    if isinstance(left, typed.Constant):
        left, right, operator = right, left, _TURNED[operator]
    number, bound = evaluation.value(left), evaluation.value(right)
    if left.type != "number" or not isinstance(number, int) or not isinstance(bound, int) or operator == "!=":
        return ""
    distance, word = (bound - number, "more") if number <= bound else (number - bound, "less")
    if operator in ("<", ">"):
        word = {"<": "less", ">": "more"}[operator]
        if not _is_whole(left, evaluation):
            return f"over {write_number(distance)} {word}" if distance else f"some {word}"
        distance = distance // MICROS * MICROS + MICROS
    elif _is_whole(left, evaluation) and operator != "==":
        distance = -(-distance // MICROS) * MICROS
    return f"{write_number(distance)} {word}"


def _is_whole(node: typed.Node, evaluation: Evaluation) -> bool:
    """Whether the value goes in whole steps."""
    while isinstance(node, typed.Reference):
        node = evaluation.checked.values[node.key].node
    if isinstance(node, typed.AggregateValue):
        return AGGREGATES[node.aggregate.function].whole
    return isinstance(node, typed.Age)
