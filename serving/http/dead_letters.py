"""`/v1/admin/dead-letters`: what was not accepted, why, and taking it in again; with an admin key."""

from typing import Annotated, Any, Final, Literal

import msgspec
from fastapi import APIRouter, Depends, Request, Security
from starlette.responses import Response

from dsl.clock import format_instant
from serving.http.auth import DOCUMENTED, require
from serving.http.bodies import json_answer, read_as
from serving.http.ingest_plane import IngestPlane
from serving.http.openapi import answers, json_body, query_parameters
from serving.http.problems import Problem, ProblemItem
from serving.ingest.letters import UnknownLetterError
from serving.ingest.replay import Replayed
from warehouse.records import DeadLetter

MOST_LETTERS: Final = 1_000
_FAILURES: Final = (400, 401, 403, 404, 408, 413, 422, 500, 503)
_STATUSES: Final = ("open", "replayed", "discarded", "all")
_QUERY: Final = {
    "status": "`open` (the default), `replayed`, `discarded` or `all`.",
    "reason": "Only letters of this reason, such as `no_identifier`.",
    "after": "Only letters with a larger id: `next` of the page before.",
    "limit": f"How many, at most {MOST_LETTERS}; 100 without it.",
}


LetterId = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]


class Letter(msgspec.Struct, frozen=True, rename="camel"):
    """One event that was not accepted, as it was sent.

    Attributes:
        times: how often it came.
        closed_at: when it was replayed or discarded; null while it is open.
    """

    id: int
    reason: str
    detail: str
    path: str
    event_id: str
    route: str
    raw: str
    envelope: dict[str, Any]
    schema_version: int
    received_at: str
    times: int
    status: Literal["open", "replayed", "discarded"]
    closed_at: str | None

    @classmethod
    def of(cls, letter: DeadLetter) -> "Letter":
        """The letter as it is shown."""
        return cls(
            letter.id,
            letter.reason,
            letter.detail,
            letter.path,
            letter.event_id,
            letter.route,
            letter.raw,
            dict(letter.envelope),
            letter.schema_version,
            format_instant(letter.received_at_ms),
            letter.times,
            letter.status,
            None if letter.closed_at_ms is None else format_instant(letter.closed_at_ms),
        )


class LetterCount(msgspec.Struct, frozen=True):
    """How many letters have a status and a reason."""

    status: str
    reason: str
    letters: int


class LettersAnswer(msgspec.Struct, frozen=True):
    """A page of letters by id; `next` is null after the last one."""

    letters: list[Letter]
    counts: list[LetterCount]
    next: int | None


class ReplayRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which letters, and how their events are corrected.

    Attributes:
        ids: of open letters; without any, all open letters of `reason`, at most 1,000 at a time.
        patch: JSON merge patch (RFC 7396) for each event.
    """

    ids: Annotated[list[LetterId], msgspec.Meta(max_length=MOST_LETTERS)] = []
    reason: str | None = None
    patch: dict[str, Any] = {}


class StillDead(msgspec.Struct, frozen=True):
    """A letter that stays open, and why."""

    id: int
    code: str
    message: str
    path: str


class ReplayAnswer(msgspec.Struct, frozen=True):
    """Accepted events have a `seq` and their letters are closed; the others are as they were."""

    replayed: int
    rejected: list[StillDead]


class DiscardRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Letters that are given up."""

    ids: Annotated[list[LetterId], msgspec.Meta(min_length=1, max_length=MOST_LETTERS)]


class DiscardAnswer(msgspec.Struct, frozen=True):
    """How many of them were open."""

    discarded: int


DESCRIBED: Final = (
    LettersAnswer, Letter, LetterCount, ReplayRequest, ReplayAnswer, StillDead, DiscardRequest, DiscardAnswer
)  # fmt: skip
"""Types of the OpenAPI page."""
router = APIRouter(
    prefix="/v1/admin/dead-letters",
    tags=["dead letters"],
    dependencies=[*(Security(scheme) for scheme in DOCUMENTED), Depends(require("admin"))],
)


@router.get("", responses=answers(LettersAnswer, failures=_FAILURES), openapi_extra=query_parameters(_QUERY))
async def list_letters(request: Request) -> Response:
    """Events that were not accepted, the oldest first."""
    query, letters = request.query_params, IngestPlane.of(request).letters
    status = query.get("status", "open")
    if status not in _STATUSES:
        raise _problem(f"`status` is one of {', '.join(_STATUSES)}", "query.status")
    limit = _number(query.get("limit", "100"), "limit", MOST_LETTERS)
    after = _number(query.get("after", "0"), "after", 2**31 - 1)
    wanted = None if status == "all" else status
    found = await letters.listed(status=wanted, reason=query.get("reason"), after=after, limit=limit)
    counts = [LetterCount(*key, number) for key, number in sorted((await letters.counts()).items())]
    return json_answer(
        LettersAnswer([Letter.of(each) for each in found], counts, found[-1].id if len(found) == limit else None)
    )


@router.post("/replay", responses=answers(ReplayAnswer, failures=_FAILURES), openapi_extra=json_body(ReplayRequest))
async def replay_letters(request: Request) -> Response:
    """Correct events and take them in under their own ids: nothing counts twice, however often this is repeated."""
    wanted = await read_as(request, ReplayRequest)
    if not wanted.ids and wanted.reason is None:
        raise _problem("name letters by `ids`, or all open ones of a `reason`", "$.ids")
    try:
        found = await IngestPlane.of(request).replay(wanted.ids, wanted.reason, wanted.patch)
    except UnknownLetterError as error:
        raise Problem(
            "letter_not_found", str(error), (ProblemItem("letter_not_found", str(error), "$.ids"),)
        ) from error
    return json_answer(replay_answer(found))


@router.post("/discard", responses=answers(DiscardAnswer, failures=_FAILURES), openapi_extra=json_body(DiscardRequest))
async def discard_letters(request: Request) -> Response:
    """Give letters up: they stay, and are listed with the status `discarded`."""
    wanted = await read_as(request, DiscardRequest)
    return json_answer(DiscardAnswer(await IngestPlane.of(request).letters.close(wanted.ids, "discarded")))


def replay_answer(found: list[Replayed]) -> ReplayAnswer:
    """What a replay came to."""
    dead = [each for each in found if not each.taken.is_accepted]
    return ReplayAnswer(
        len(found) - len(dead),
        [StillDead(each.letter.id, each.taken.code, each.taken.detail, each.taken.path) for each in dead],
    )


def _number(text: str, name: str, largest: int) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 10 or int(text) > largest:
        raise _problem(f"`{name}` is a whole number from 0 to {largest}", f"query.{name}")
    return int(text)


def _problem(detail: str, path: str) -> Problem:
    return Problem("invalid_request", detail, (ProblemItem("invalid_request", detail, path),))
