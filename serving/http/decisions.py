"""`/v1/decide`: one look into the store, then pure evaluation."""

from typing import Any

import msgspec
from fastapi import APIRouter, Depends, Request, Security
from starlette.responses import Response

from dsl.check import CheckedCatalog
from dsl.clock import format_instant
from dsl.state import State
from serving.decide import Decision, UnknownFlagError, decide
from serving.http.auth import DOCUMENTED, require
from serving.http.openapi import answers, json_body, query_parameters
from serving.http.plane import Plane
from serving.http.problems import Problem, ProblemItem
from serving.http.question import QUERY_PARAMETERS, DecideRequest, read_body, read_query
from serving.online import Reading

_FAILURES = (400, 401, 403, 404, 422, 500, 503)
_BODY_FAILURES = (*_FAILURES, 408, 413)
_PUBLISH_HELP = "no definitions are published yet: `tinycdp apply DIR`, then `tinycdp refresh`"


class DecisionAnswer(msgspec.Struct, frozen=True, rename="camel"):
    """One decision.

    Attributes:
        as_of: the instant that the profile's values are of, ISO 8601, on the project's clock: now.
        as_of_seq: events up to this number of the log are counted.
        snapshot_age_ms: how long ago the newest publication was of; null when nothing was ever published.
        expires_at: always null in this version.
        stale: null, or why the answer may be older than it should be: `no_snapshot` (nothing was published yet),
            `bulk_load` (a load is landing or being published), `percent_rank` (a rule compares the profile with all
            others, as of the last refresh).
    """

    flag: str
    allow: bool
    variant: str
    payload: Any
    reasons: tuple[str, ...]
    profile_id: str
    as_of_seq: int
    as_of: str
    snapshot_age_ms: int | None
    expires_at: str | None
    stale: str | None


class DecisionsAnswer(msgspec.Struct, frozen=True):
    """Decisions of several flags, all from one state, in the order in which they were asked for."""

    decisions: list[DecisionAnswer]


DESCRIBED = (DecisionAnswer, DecisionsAnswer, DecideRequest)
"""Types of the OpenAPI page."""
router = APIRouter(
    prefix="/v1/decide",
    tags=["decide"],
    dependencies=[*(Security(scheme) for scheme in DOCUMENTED), Depends(require("read"))],
)


@router.get("", responses=answers(DecisionAnswer, failures=_FAILURES), openapi_extra=query_parameters(QUERY_PARAMETERS))
async def decide_by_query(request: Request) -> Response:
    """Ask one flag about one profile; of several identifiers the strongest counts."""
    return _json((await _decisions(request, read_query(request.query_params)))[0])


@router.post(
    "",
    responses=answers(DecisionAnswer, DecisionsAnswer, failures=_BODY_FAILURES),
    openapi_extra=json_body(DecideRequest),
)
async def decide_by_body(request: Request) -> Response:
    """Ask one flag, or several at once from one state, with what the request itself brings along as context."""
    question = await read_body(request)
    decisions = await _decisions(request, question)
    return _json(decisions[0] if question.flags is None else DecisionsAnswer(decisions))


async def _decisions(request: Request, question: DecideRequest) -> list[DecisionAnswer]:
    who, flags = question.who(), question.flag_keys()
    plane = Plane.of(request)
    reading = await plane.reader.look_up(who)
    if reading.catalog_version is None:
        raise _not_found([UnknownFlagError(flag, None) for flag in flags], _PUBLISH_HELP)
    fold = await plane.catalogs.get(reading.catalog_version)
    state = fold.state(reading)
    decisions = _decide_all(fold.checked, flags, state, question)
    return [_answer(decision, reading, state, fold.checked) for decision in decisions]


def _decide_all(catalog: CheckedCatalog, flags: list[str], state: State, question: DecideRequest) -> list[Decision]:
    unknown: list[UnknownFlagError] = []
    decisions: list[Decision] = []
    for flag in flags:
        try:
            decisions.append(decide(catalog, flag, state, question.context))
        except UnknownFlagError as error:
            unknown.append(error)
    if unknown:
        raise _not_found(unknown, "`tinycdp apply DIR` defines flags")
    return decisions


def _answer(decision: Decision, reading: Reading, state: State, catalog: CheckedCatalog) -> DecisionAnswer:
    return DecisionAnswer(
        flag=decision.flag,
        allow=decision.allow,
        variant=decision.variant,
        payload=decision.payload,
        reasons=decision.reasons,
        profile_id=state.profile_id,
        as_of_seq=state.as_of_seq,
        as_of=format_instant(state.as_of_ms),
        snapshot_age_ms=None if reading.snapshot is None else reading.snapshot.age_ms,
        expires_at=None,
        stale=_stale(reading, ranked=catalog.flags[decision.flag].ranked),
    )


def _stale(reading: Reading, *, ranked: bool) -> str | None:
    if reading.snapshot is None:
        return "no_snapshot"
    if reading.is_loading:
        return "bulk_load"
    return "percent_rank" if ranked else None


def _not_found(unknown: list[UnknownFlagError], otherwise: str) -> Problem:
    items = (
        ProblemItem(
            "flag_not_found",
            str(error),
            "flag",
            f"the nearest flag is `{error.nearest}`" if error.nearest else otherwise,
        )
        for error in unknown
    )
    return Problem("flag_not_found", str(unknown[0]), tuple(items))


def _json(answer: DecisionAnswer | DecisionsAnswer) -> Response:
    # An answer is of one instant: caches in between must not keep it.
    return Response(msgspec.json.encode(answer), media_type="application/json", headers={"cache-control": "no-store"})
