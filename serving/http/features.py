"""`/features/{project}/users/…`: values of features and traits, live, from the state that decisions are made from."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Request, Security
from starlette.responses import Response

from dsl.check import CheckedCatalog
from dsl.clock import format_instant
from dsl.evaluate import Evaluation
from dsl.nearest import nearest
from dsl.numbers import write_number
from dsl.ranked import is_ranked
from dsl.state import Value
from dsl.types import Type
from serving.decide import Answered, Asked
from serving.http.addressed import addressed
from serving.http.auth import DOCUMENTED, authorise
from serving.http.bodies import json_answer, read_as
from serving.http.openapi import answers, json_body, query_parameters
from serving.http.plane import Plane
from serving.http.problems import Problem, ProblemCode, ProblemItem
from serving.http.question import LARGEST_BODY_BYTES

MOST_USERS: Final = 100
_TOGETHER: Final = 25
"""Users whose states are read at the same time: other requests go in between."""
_FAILURES: Final = (400, 401, 403, 404, 500, 503)
_HEADERS: Final = {"cache-control": "no-store"}
_SOON: Final = {"retry-after": "1"}
_UNREADABLE: Final[Mapping[str, tuple[ProblemCode, str]]] = {
    "store_unavailable": ("store_unavailable", "the online store does not answer in time: try again in a moment"),
    "profile_too_large": ("overloaded", "more is known of the profile than can be read in time: try again in a moment"),
    "catalog_unusable": ("catalog_unusable", "the definitions cannot be read"),
}


class UserFeatures(msgspec.Struct, frozen=True, rename="camel"):
    """Values of one user, all of one instant.

    Attributes:
        user_id: as it was asked for.
        known: false where nobody is known by it: the values are those of somebody without events.
        features: by name. Numbers are exact decimals, instants ISO 8601 in UTC, lists JSON lists; null is missing.
        as_of: the instant that the values are of, on the project's clock.
        as_of_seq: events up to this number of the log are counted.
        snapshot_age_ms: how long ago the newest publication was of; null when nothing was ever published.
        stale: null, or why values may be older than they should be, as in decisions.
    """

    user_id: str
    profile_id: str
    known: bool
    features: dict[str, Any]
    as_of: str
    as_of_seq: int
    snapshot_age_ms: int | None
    stale: str | None


class FeaturesAnswer(msgspec.Struct, frozen=True):
    """Values of several users, in the order in which they were asked for."""

    users: list[UserFeatures]


class FeaturesRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """Whose values.

    Attributes:
        names: which; without it all features and traits.
    """

    user_ids: Annotated[list[str | int], msgspec.Meta(min_length=1, max_length=MOST_USERS)]
    names: Annotated[list[str], msgspec.Meta(min_length=1)] | None = None


DESCRIBED: Final = (UserFeatures, FeaturesAnswer, FeaturesRequest)
"""Types of the OpenAPI page."""
router = APIRouter(
    prefix="/features/{project}/users", tags=["features"], dependencies=[Security(scheme) for scheme in DOCUMENTED]
)


@router.post(
    "/batch",
    responses=answers(FeaturesAnswer, failures=(*_FAILURES, 408, 413, 422)),
    openapi_extra=json_body(FeaturesRequest),
)
async def features_of_users(request: Request, project: str) -> Response:
    """Values of several users: all of them, or none when one of them cannot be read."""
    await _admit(request, project)
    wanted = await read_as(request, FeaturesRequest, LARGEST_BODY_BYTES)
    users = [(str(user), _who(str(user), f"$.userIds[{place}]")) for place, user in enumerate(wanted.user_ids)]
    found: list[UserFeatures] = []
    for begin in range(0, len(users), _TOGETHER):
        some = (_features(request, *user, wanted.names) for user in users[begin : begin + _TOGETHER])
        found += await asyncio.gather(*some)
    return json_answer(FeaturesAnswer(found), headers=_HEADERS)


@router.get(
    "/{user_id:path}",
    responses=answers(UserFeatures, failures=(*_FAILURES, 422)),
    openapi_extra=query_parameters(
        {"names": "Which, with commas between them: features `<name>_<window>`, traits, segments."}
    ),
)
async def features_of_user(request: Request, project: str, user_id: str) -> Response:
    """Values of one user.

    `user_id` is a user's own id, the id of a profile, or an identifier (`anon:k-7`).
    """
    await _admit(request, project)
    names = [name.strip() for name in request.query_params.get("names", "").split(",") if name.strip()]
    found = await _features(request, user_id, _who(user_id, "path.user_id"), names or None)
    return json_answer(found, headers=_HEADERS)


async def _admit(request: Request, project: str) -> None:
    await authorise(request, "read")
    served = Plane.of(request).project.project
    if project != served:
        raise _problem("project_not_found", f"this server answers for the project `{served}`", "path.project")


def _who(text: str, path: str) -> str:
    found = addressed(text)
    if found is None:
        raise _problem("identifier_missing", f"`{text[:80]}` stands for nobody", path)
    return found


async def _features(request: Request, user_id: str, who: str, names: Sequence[str] | None) -> UserFeatures:
    answered = await Plane.of(request).decider.ask(Asked(who, (), exposes=False))
    state, checked = answered.state, answered.checked
    if state is None:
        code, detail = _UNREADABLE[answered.stale or ""]
        raise Problem(code, detail, headers=_SOON)
    wanted = _named(checked, names)
    evaluation = Evaluation(checked, state)
    return UserFeatures(
        user_id,
        state.profile_id,
        bool(state.identifiers),
        {name: msgspec.Raw(_written(evaluation.definition(name), checked.values[name].type)) for name in wanted},
        format_instant(state.as_of_ms),
        state.as_of_seq,
        answered.snapshot_age_ms,
        _stale(answered, wanted),
    )


def _named(checked: CheckedCatalog, names: Sequence[str] | None) -> list[str]:
    """The values that are asked for, each once; without names all traits, those of features among them."""
    if names is None:
        return [key for key, value in checked.values.items() if value.kind == "trait"]
    unknown = [name for name in names if name not in checked.values]
    if unknown:
        items = tuple(_unknown(name, checked) for name in unknown)
        raise Problem("feature_not_found", items[0].message, items)
    return list(dict.fromkeys(names))


def _unknown(name: str, checked: CheckedCatalog) -> ProblemItem:
    near = nearest(name, checked.values)
    advice = f"the nearest is `{near}`" if near else "`tinycdp apply DIR` defines features, traits and segments"
    return ProblemItem("feature_not_found", f"no feature, trait or segment is named `{name[:80]}`", "names", advice)


def _stale(answered: Answered, names: Sequence[str]) -> str | None:
    checked = answered.checked
    if answered.stale is not None or not checked.ranks:
        return answered.stale
    return "percent_rank" if any(is_ranked(checked.values[name].node, checked.values) for name in names) else None


def _written(value: Value, value_type: Type = "unknown") -> bytes:
    """A value as JSON text."""
    if isinstance(value, tuple):
        return b"[%b]" % b",".join(map(_written, value))
    if isinstance(value, int) and not isinstance(value, bool):
        return msgspec.json.encode(format_instant(value)) if value_type == "timestamp" else write_number(value).encode()
    return msgspec.json.encode(value)


def _problem(code: ProblemCode, detail: str, path: str) -> Problem:
    return Problem(code, detail, (ProblemItem(code, detail, path),))
