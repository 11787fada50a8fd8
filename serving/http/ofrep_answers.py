"""Evaluations and failures as OFREP has them: one type a flag, the reasons of OpenFeature, flat metadata."""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from dsl.check_flags import CheckedFlag
from dsl.clock import format_instant
from serving.decide import Answered, Decision
from serving.http.problems import Problem, ProblemCode, ProblemDocument

ROOT: Final = "/ofrep/"
FLAGS: Final = f"{ROOT}v1/evaluate/flags"
Metadata = dict[str, bool | int | str]
ERROR_CODES: Final[Mapping[ProblemCode, str]] = {
    "flag_not_found": "FLAG_NOT_FOUND",
    "identifier_missing": "TARGETING_KEY_MISSING",
    "invalid_context": "INVALID_CONTEXT",
    "malformed_json": "PARSE_ERROR",
}
"""What clients tell apart; all else is `GENERAL`."""


class OfrepEvaluation(msgspec.Struct, frozen=True):
    """One flag.

    Attributes:
        reason: one of OpenFeature's, whatever happened: its client for Python knows no others.
        value: of the type that the flag has, `value_of`.
        metadata: `allow` and `explain` always; `version` of the flag, `catalogVersion`, `contextId` (the profile),
            `flagSetId` (the project), `asOf`, `asOfSeq`, `snapshotAgeSeconds`, `expiresAt`, `rule`, `stale` and
            `warming` where there is something to tell.
    """

    key: str
    reason: str
    variant: str
    value: Any
    metadata: Metadata


class OfrepEvaluations(msgspec.Struct, frozen=True):
    """All flags, from one state; `metadata` is of all of them."""

    flags: list[OfrepEvaluation]
    metadata: Metadata


class OfrepFailure(ProblemDocument, frozen=True, rename="camel"):
    """A failure with the members that OpenFeature's clients read.

    Attributes:
        key: the flag; empty where all were asked for.
    """

    key: str
    error_code: str
    error_details: str


def failure_members(path: str, problem: Problem) -> Mapping[str, object] | None:
    """What a failure has besides on OFREP's paths; None on any other."""
    if not path.startswith(ROOT):
        return None
    key = path.removeprefix(FLAGS).removeprefix("/") if path.startswith(FLAGS) else ""
    return {"key": key, "errorCode": ERROR_CODES.get(problem.code, "GENERAL"), "errorDetails": problem.detail}


def evaluation(answered: Answered, decision: Decision, project: str) -> OfrepEvaluation:
    """A decision as a client takes it."""
    reason = "DEFAULT" if decision.reason == "WARMING" else decision.reason
    value = value_of(_flag(answered, decision.flag), decision.variant)
    return OfrepEvaluation(decision.flag, reason, decision.variant, value, _metadata(answered, decision, project))


def value_of(flag: CheckedFlag, variant: str) -> object:
    """What a variant is worth to a client that wants one type of each flag.

    A flag without any payload is a boolean: `allow`. Else the payload; a variant that has none is the empty value of
    the flag's type (`{}`, `""`, `0`, `false`). Whole numbers are written with a decimal point where any of the flag's
    is: clients for Python take `500` for no float.
    """
    payloads = [each.payload for each in flag.flag.variants if each.payload is not None]
    chosen = flag.variants[variant]
    if not payloads:
        return chosen.allow
    value = type(payloads[0])() if chosen.payload is None else chosen.payload
    is_fraction = any(isinstance(payload, float) for payload in payloads)
    # As text, since a double would not hold every whole number.
    return msgspec.Raw(f"{value}.0".encode()) if is_fraction and type(value) is int else value


def _flag(answered: Answered, key: str) -> CheckedFlag:
    found = answered.checked.flags.get(key)
    if found is None and answered.kept is not None and answered.kept.coming is not None:
        return answered.kept.coming.checked.flags[key]
    return answered.checked.flags[key]


def _metadata(answered: Answered, decision: Decision, project: str) -> Metadata:
    state, age_ms, expiry_ms = answered.state, answered.snapshot_age_ms, answered.expires_ms(decision)
    told: dict[str, bool | int | str | None] = {
        "allow": decision.allow,
        "explain": "; ".join(decision.reasons),
        "version": decision.version,
        "catalogVersion": answered.catalog_version,
        "flagSetId": project,
        "contextId": None if state is None else state.profile_id,
        "asOf": format_instant(answered.now_ms if state is None else state.as_of_ms),
        "asOfSeq": None if state is None else state.as_of_seq,
        "snapshotAgeSeconds": None if age_ms is None else age_ms // 1_000,
        "expiresAt": None if expiry_ms is None else format_instant(expiry_ms),
        "rule": decision.rule,
        "stale": answered.stale_of(decision),
        "warming": True if decision.reason == "WARMING" else None,
    }
    return {name: value for name, value in told.items() if value is not None}
