"""`/v1/admin/users/{id}/…` and `/v1/admin/identity/…`: who is who, why, and how it is changed; with an admin key.

These read the lake and the registry: what does so is imported at the first request, and runs beside the event loop.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import msgspec
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, Depends, Request, Security
from starlette.responses import Response

from dsl.failure import Failure
from serving.admin.identity_documents import (
    DESCRIBED,
    ChangeAnswer,
    ConflictsAnswer,
    IdentityAnswer,
    MergeRequest,
    SettingsAnswer,
    SettingsRequest,
    UnmergeRequest,
)
from serving.http.auth import DOCUMENTED, require
from serving.http.bodies import json_answer, read_as
from serving.http.openapi import answers, json_body, query_parameters
from serving.http.plane import Plane
from serving.http.problems import Problem, ProblemCode, ProblemItem
from serving.online import OnlineStoreError
from warehouse.settings import Settings

if TYPE_CHECKING:
    from serving.admin.identity_log import Place

_REASONS = ("users", "emails", "identifiers", "unmerged")
_MOST_CONFLICTS = 1_000
_LARGEST_BODY_BYTES = 1_000_000
_FAILURES = (400, 401, 403, 404, 408, 409, 413, 422, 500, 503)
_LIMITER = CapacityLimiter(2)
"""A replay takes memory: more questions at a time wait."""

__all__ = ["DESCRIBED", "router"]
router = APIRouter(
    prefix="/v1/admin",
    tags=["identity"],
    dependencies=[*(Security(scheme) for scheme in DOCUMENTED), Depends(require("admin"))],
)


@router.get("/users/{id}/identity", responses=answers(IdentityAnswer, failures=_FAILURES))
async def show_identity(request: Request, id: str) -> Response:  # noqa: A002  # the name in the path
    """A profile: its identifiers, what brought each there, what was refused and why.

    `id` is an identifier (`user:208`), a bare value, or a profile id, also one that a merge has retired.
    """
    from serving.admin import identity

    return await _answered(request, lambda place: identity.show(place, id))


@router.post(
    "/users/{id}/merge", responses=answers(ChangeAnswer, failures=_FAILURES), openapi_extra=json_body(MergeRequest)
)
async def merge_users(request: Request, id: str) -> Response:  # noqa: A002  # the name in the path
    """Make one profile of two, from the next decision on; `dryRun` tells what would happen."""
    from serving.admin import identity

    wanted = await read_as(request, MergeRequest, _LARGEST_BODY_BYTES)
    return await _answered(request, lambda place: identity.merge(place, id, wanted.other, dry_run=wanted.dry_run))


@router.post(
    "/users/{id}/unmerge", responses=answers(ChangeAnswer, failures=_FAILURES), openapi_extra=json_body(UnmergeRequest)
)
async def unmerge_users(request: Request, id: str) -> Response:  # noqa: A002  # the name in the path
    """Keep two identifiers apart for ever, as if it had always been so; `dryRun` tells what would happen."""
    from serving.admin import identity

    wanted = await read_as(request, UnmergeRequest, _LARGEST_BODY_BYTES)
    return await _answered(request, lambda place: identity.part(place, id, wanted.other, dry_run=wanted.dry_run))


@router.get(
    "/identity/conflicts",
    responses=answers(ConflictsAnswer, failures=_FAILURES),
    openapi_extra=query_parameters(
        {"reason": f"only these: {', '.join(_REASONS)}", "limit": f"1 to {_MOST_CONFLICTS:,}; 100 without it"}
    ),
)
async def list_conflicts(request: Request) -> Response:
    """Links that were refused, the newest first. It replays everything that the log says about identity."""
    from serving.admin import identity

    reason, limit = request.query_params.get("reason"), request.query_params.get("limit", "100")
    if reason is not None and reason not in _REASONS:
        raise _refused("invalid_request", f"`{reason}` is no reason: there are {', '.join(_REASONS)}", "query.reason")
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:9]) <= _MOST_CONFLICTS:
        raise _refused("invalid_request", f"`limit` is a number from 1 to {_MOST_CONFLICTS:,}", "query.limit")
    return await _answered(request, lambda place: identity.conflicts(place, reason, int(limit)))


@router.get("/identity/settings", responses=answers(SettingsAnswer, failures=_FAILURES))
async def show_settings(request: Request) -> Response:
    """What links are judged by."""
    from serving.admin import identity

    return await _answered(request, identity.settings)


@router.put(
    "/identity/settings",
    responses=answers(SettingsAnswer, failures=_FAILURES),
    openapi_extra=json_body(SettingsRequest),
)
async def change_settings(request: Request) -> Response:
    """Judge links by other settings from now on; what the body leaves out stays as it is."""
    from serving.admin import identity

    wanted = await read_as(request, SettingsRequest, _LARGEST_BODY_BYTES)
    changed: dict[str, Any] = {
        name: value for name, value in msgspec.structs.asdict(wanted).items() if value is not None
    }
    if "blocked_values" in changed:
        changed["blocked_values"] = frozenset(changed["blocked_values"])
    return await _answered(request, lambda place: identity.change_settings(place, changed))


async def _answered(request: Request, ask: "Callable[[Place], msgspec.Struct]") -> Response:
    settings: Settings = request.app.state.settings
    answer = await to_thread.run_sync(_asked, settings, ask, limiter=_LIMITER)
    if request.method != "GET":
        # Who was asked about before may be somebody else now.
        Plane.of(request).decider.changed(None)
    return json_answer(answer, headers={"cache-control": "no-store"})


def _asked(settings: Settings, ask: "Callable[[Place], msgspec.Struct]") -> msgspec.Struct:
    from serving.admin.identity import MergeRefused, ProfileNotFound, SameIdentifier, SettingsRefused
    from serving.admin.identity_log import open_place

    try:
        with open_place(settings) as place:
            return ask(place)
    except ProfileNotFound as error:
        raise _refused("profile_not_found", str(error), "path.id") from error
    except MergeRefused as error:
        raise _refused("merge_refused", str(error), "$") from error
    except (SameIdentifier, SettingsRefused) as error:
        raise _refused("invalid_request", str(error), "$") from error
    except OnlineStoreError:
        raise
    except Failure as error:
        raise _refused("registry_unavailable", str(error), "") from error


def _refused(code: ProblemCode, detail: str, path: str) -> Problem:
    return Problem(code, detail, (ProblemItem(code, detail, path),))
