"""`/v1/decide`: one look into the store, or none where nothing has changed, then pure evaluation."""

import time
from collections.abc import Sequence
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Security
from msgspec.structs import replace
from starlette.responses import Response

from dsl.clock import format_instant
from serving.decide import Answered, Asked, Decision, KeptAnswer, Story, UnknownFlagsError
from serving.http.auth import DOCUMENTED, authorise
from serving.http.bodies import read_bytes
from serving.http.openapi import answers, json_body, query_parameters
from serving.http.own_events import own_events
from serving.http.plane import Plane
from serving.http.problems import Problem, ProblemItem
from serving.http.question import (
    LARGEST_BODY_BYTES,
    QUERY_PARAMETERS,
    DecideRequest,
    parameters_of,
    read_body,
    read_query,
)

_FAILURES = (400, 401, 403, 404, 422, 500, 503)
_BODY_FAILURES = (*_FAILURES, 408, 413)
_PUBLISH_HELP = "no definitions are published yet: `tinycdp apply DIR`, then `tinycdp refresh`"
# An answer is of one instant: caches in between must not keep it.
_HEADERS = {"cache-control": "no-store"}


class DecisionAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """One decision.

    Attributes:
        reason: why this variant, in the words of OpenFeature: `TARGETING_MATCH`, `SPLIT`, `DEFAULT`, `STATIC`,
            `DISABLED`; `STALE` and `ERROR` where the store was away; `WARMING` while the flag's definitions are new
            and not in use yet.
        reasons: the rule that matched and the values that decided, in short sentences.
        as_of: the instant that the profile's values are of, ISO 8601, on the project's clock.
        as_of_seq: events up to this number of the log are counted.
        snapshot_age_ms: how long ago the newest publication was of; null when nothing was ever published.
        expires_at: the answer does not change by itself before this instant; null: never.
        stale: null, or why the answer may be older than it should be: `no_snapshot` (nothing was published yet),
            `bulk_load` (a load is landing or being published), `percent_rank` (a rule compares the profile with all
            others, as of the last refresh), `store_unavailable`, `profile_too_large`, `catalog_unusable` (the answer
            was made from what there is, or is the flag's default).
        warming: the flag is new, and answers its default until its definitions are in use.
        explanation: every condition of the flag, where `explain` asked for it.
    """

    flag: str
    allow: bool
    variant: str
    payload: Any
    reason: str
    reasons: tuple[str, ...]
    profile_id: str | None
    as_of_seq: int | None
    as_of: str
    snapshot_age_ms: int | None
    expires_at: str | None
    stale: str | None
    warming: bool
    explanation: Story | msgspec.UnsetType | None = msgspec.UNSET


class DecisionsAnswer(msgspec.Struct, frozen=True):
    """Decisions of several flags, all from one state, in the order in which they were asked for."""

    decisions: list[DecisionAnswer]


DESCRIBED = (DecisionAnswer, DecisionsAnswer, DecideRequest)
"""Types of the OpenAPI page."""
router = APIRouter(prefix="/v1/decide", tags=["decide"], dependencies=[Security(scheme) for scheme in DOCUMENTED])


@router.get(
    "",
    responses=answers(DecisionAnswer, DecisionsAnswer, failures=_FAILURES),
    openapi_extra=query_parameters(QUERY_PARAMETERS),
)
async def decide_by_query(request: Request) -> Response:
    """Ask one flag, several, or all about one profile; of several identifiers the strongest counts."""
    await authorise(request, "read")
    query = request.scope["query_string"]
    return await _answer(request, read_query(parameters_of(query)), query)


@router.post(
    "",
    responses=answers(DecisionAnswer, DecisionsAnswer, failures=_BODY_FAILURES),
    openapi_extra=json_body(DecideRequest),
)
async def decide_by_body(request: Request) -> Response:
    """Ask one flag, several, or all at once from one state, with what the request itself brings along."""
    await authorise(request, "read")
    body = await read_bytes(request, LARGEST_BODY_BYTES)
    return await _answer(request, read_body(body), body)


async def _answer(request: Request, question: DecideRequest, asked_as: bytes) -> Response:
    """The answer as bytes; one that was given before and still holds is given again.

    Args:
        asked_as: the question as it was sent: the same bytes ask the same.
    """
    who, decider = question.who(), Plane.of(request).decider
    kept = decider.kept(who)
    if kept is not None and (given := kept.answers.get(asked_as)) is not None and time.monotonic() < given.until_s:
        decider.counts.kept += 1
        return Response(given.body, media_type="application/json", headers=_HEADERS)
    asked = Asked(
        who,
        question.flag_keys(),
        question.context,
        await own_events(request, question, asked_as),
        question.exposures and not question.explain,
    )
    began_s = time.monotonic()
    try:
        answered = await decider.ask(asked)
    except UnknownFlagsError as error:
        raise flag_not_found(error) from error
    expiries = [answered.expires_ms(decision) for decision in answered.decisions]
    found = [decision_answer(answered, *each) for each in zip(answered.decisions, expiries, strict=True)]
    if question.explain:
        told = zip(found, answered.decisions, strict=True)
        found = [replace(each, explanation=answered.story(decision)) for each, decision in told]
    is_one = question.flags is None and asked.flags is not None
    body = msgspec.json.encode(found[0] if is_one else DecisionsAnswer(found))
    if not asked.events:
        _keep(answered, asked_as, body, expiries, decider.limits.keep_s, began_s)
    return Response(body, media_type="application/json", headers=_HEADERS)


def _keep(
    answered: Answered, asked_as: bytes, body: bytes, expiries: Sequence[int | None], keep_s: float, began_s: float
) -> None:
    if answered.kept is None or answered.is_makeshift or keep_s <= 0:
        return
    good_ms = min((expiry for expiry in expiries if expiry is not None), default=None)
    good_s = keep_s if good_ms is None else min(keep_s, (good_ms - answered.now_ms) / 1_000)
    # Counted from before the clock was read: an exposure may have taken its time since.
    answered.kept.remember(asked_as, KeptAnswer(body, began_s + good_s))


def decision_answer(answered: Answered, decision: Decision, expiry_ms: int | None) -> DecisionAnswer:
    """A decision as it is sent.

    Args:
        expiry_ms: `Answered.expires_ms` of it.
    """
    state = answered.state
    return DecisionAnswer(
        flag=decision.flag,
        allow=decision.allow,
        variant=decision.variant,
        payload=decision.payload,
        reason=decision.reason,
        reasons=decision.reasons,
        profile_id=None if state is None else state.profile_id,
        as_of_seq=None if state is None else state.as_of_seq,
        as_of=format_instant(answered.now_ms if state is None else state.as_of_ms),
        snapshot_age_ms=answered.snapshot_age_ms,
        expires_at=None if expiry_ms is None else format_instant(expiry_ms),
        stale=answered.stale_of(decision),
        warming=decision.reason == "WARMING",
    )


def flag_not_found(error: UnknownFlagsError) -> Problem:
    """The failure that names each unknown flag, with the nearest one that there is."""
    otherwise = "`tinycdp apply DIR` defines flags" if error.is_published else _PUBLISH_HELP
    items = (
        ProblemItem(
            "flag_not_found",
            str(each),
            "flag",
            f"the nearest flag is `{each.nearest}`" if each.nearest else otherwise,
        )
        for each in error.flags
    )
    return Problem("flag_not_found", str(error.flags[0]), tuple(items))
