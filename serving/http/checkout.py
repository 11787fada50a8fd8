"""`POST /v1/checkout/decide`: an offer at the checkout, what is known of the buyer crossed with what is in the basket.

The rule is that of an ordinary flag. What is special here is how the answer is told: which of the flag's conditions
look at what is known, which at the request, and which of them hold.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request, Security
from starlette.responses import Response

from dsl import typed
from dsl.check_flags import CheckedFlag
from dsl.evaluate import Evaluation
from dsl.explain import reasons
from dsl.typed_text import text_of
from serving.decide import Answered, Asked, UnknownFlagsError
from serving.http.auth import DOCUMENTED, authorise
from serving.http.bodies import json_answer, read_bytes
from serving.http.decisions import DecisionAnswer, decision_answer, flag_not_found
from serving.http.openapi import answers, json_body
from serving.http.plane import Plane
from serving.http.problems import Problem, ProblemItem
from serving.http.question import LARGEST_BODY_BYTES, DecideRequest, as_question, read_exactly

OFFER: Final = "checkout_offer"
_FAILURES: Final = (400, 401, 403, 404, 408, 413, 422, 500, 503)
_OTHER_NAMES: Final[Mapping[str, str]] = {
    "user_id": "userId",
    "external_id": "externalId",
    "device_id": "deviceId",
    "anonymous_id": "anonymousId",
    "profile_id": "profileId",
}
"""mini-cdp's names, and ours."""
_NO_CONTEXT: Final = frozenset({*_OTHER_NAMES.values(), "email", "flag"})
_HELP: Final = (
    "define it: a flag with the variants `premium`, `loyalty`, `acquisition` and `control`, as `checkout_offer` in"
    " examples/shop/flags.yaml; then `tinycdp apply DIR`"
)


class CheckoutRequest(msgspec.Struct, frozen=True, rename="camel"):
    """A checkout as it happens; identifiers may be written as mini-cdp writes them (`user_id`).

    Whatever else stands in the body is part of the basket too: conditions read it as `context.…`.

    Attributes:
        flag: decides; `checkout_offer` without it.
    """

    user_id: str | int | None = None
    email: str | None = None
    anonymous_id: str | int | None = None
    amount: float | None = None
    category: str | None = None
    flag: str = OFFER


class Signal(msgspec.Struct, frozen=True):
    """A condition of the flag.

    Attributes:
        because: the values that decided.
    """

    condition: str
    holds: bool
    because: tuple[str, ...]


class Side(msgspec.Struct, frozen=True):
    """The conditions of a flag that look one way.

    Attributes:
        qualifies: all of them hold; null where there are none, or nothing could be asked.
    """

    qualifies: bool | None
    signals: list[Signal]


class CheckoutAnswer(DecisionAnswer, frozen=True, rename="camel", kw_only=True):
    """A decision with both of its sides; the offer is `variant`.

    Attributes:
        warehouse: what is known of the buyer: segments, traits, attributes.
        live: what the request brought along.
    """

    warehouse: Side
    live: Side


DESCRIBED: Final = (CheckoutRequest, CheckoutAnswer)
"""Types of the OpenAPI page."""
router = APIRouter(prefix="/v1/checkout", tags=["decide"], dependencies=[Security(scheme) for scheme in DOCUMENTED])


@router.post("/decide", responses=answers(CheckoutAnswer, failures=_FAILURES), openapi_extra=json_body(CheckoutRequest))
async def decide_checkout(request: Request) -> Response:
    """Ask the offer for a checkout, with both sides of the decision."""
    await authorise(request, "read")
    question = _question(await read_bytes(request, LARGEST_BODY_BYTES))
    asked = Asked(question.who(), (question.flag or OFFER,), question.context)
    try:
        answered = await Plane.of(request).decider.ask(asked)
    except UnknownFlagsError as error:
        raise _undefined(error) from error
    (decision,) = answered.decisions
    told = decision_answer(answered, decision, answered.expires_ms(decision))
    warehouse, live = _sides(answered, decision.flag, question.context)
    members: dict[str, Any] = msgspec.structs.asdict(told)
    return json_answer(CheckoutAnswer(**members, warehouse=warehouse, live=live), headers={"cache-control": "no-store"})


def _question(body: bytes) -> DecideRequest:
    said = read_exactly(body)
    if not isinstance(said, dict):
        return as_question(said)
    named = {_OTHER_NAMES.get(name, name): value for name, value in said.items()}
    basket = {name: value for name, value in named.items() if name not in _NO_CONTEXT}
    amount = basket.get("amount")
    if isinstance(amount, bool) or not isinstance(amount, int | None):
        detail = "`amount` is no number: conditions would not see it"
        raise Problem("invalid_request", detail, (ProblemItem("invalid_request", detail, "$.amount"),))
    return as_question({name: value for name, value in named.items() if name in _NO_CONTEXT} | {"context": basket})


def _sides(answered: Answered, flag: str, context: Mapping[str, object]) -> tuple[Side, Side]:
    """What is known, and what the request brought along."""
    checked = answered.checked.flags.get(flag)
    if answered.state is None or checked is None:
        return Side(None, []), Side(None, [])
    evaluation = Evaluation(answered.checked, answered.state, context)
    live = [node for node in _conditions(checked) if _reads_context(node)]
    known = [node for node in _conditions(checked) if not _reads_context(node)]
    return _side(known, evaluation), _side(live, evaluation)


def _side(nodes: Iterable[typed.Node], evaluation: Evaluation) -> Side:
    about = (evaluation.state, evaluation.checked, evaluation.context)
    signals = [Signal(text_of(node), evaluation.truth(node), reasons(node, *about)) for node in nodes]
    return Side(all(signal.holds for signal in signals) if signals else None, signals)


def _conditions(checked: CheckedFlag) -> Iterator[typed.Node]:
    """What the rules of a flag ask, each once: of `a && b` each side."""
    parts = (part for rule in checked.rules if rule.text for part in _parts(rule.when))
    yield from {text_of(part): part for part in parts}.values()


def _parts(node: typed.Node) -> Iterator[typed.Node]:
    if isinstance(node, typed.Logic) and node.operator == "&&":
        yield from _parts(node.left)
        yield from _parts(node.right)
    else:
        yield node


def _reads_context(node: typed.Node) -> bool:
    """Whether a condition looks at the request; a filter of events looks at the context of an event."""
    is_context = isinstance(node, typed.Field) and node.root == "context"
    return is_context or any(map(_reads_context, typed.children(node)))


def _undefined(error: UnknownFlagsError) -> Problem:
    problem = flag_not_found(error)
    return Problem(
        problem.code, problem.detail, (*problem.errors, ProblemItem(problem.code, problem.detail, "flag", _HELP))
    )
