"""What a decide request asks: who, which flags, in what context; read from the query or from a JSON body."""

import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from fastapi import Request

from dsl.identifiers import Kind, identifiers
from dsl.nearest import nearest
from dsl.numbers import read_json, write_number
from serving.http.bodies import read_bytes
from serving.http.problems import Problem, ProblemCode, ProblemItem

LARGEST_BODY_BYTES = 262_144
MOST_FLAGS = 100

QUERY_PARAMETERS: Mapping[str, str] = {
    "flag": "The flag to decide.",
    "profileId": "Who: the id of a profile.",
    "userId": "Who: the sender's own id of a user.",
    "externalId": "Who: an id of another system.",
    "email": "Who: an address; only its hash is looked up.",
    "deviceId": "Who: a device.",
    "anonymousId": "Who: an anonymous visitor.",
}
"""Parameters of `GET /v1/decide`."""

_PROFILE_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_AT_PATH = re.compile(r"(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?", re.DOTALL)
_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_NAMES = "`userId`, `externalId`, `email`, `deviceId`, `anonymousId` or `profileId`"


class DecideRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """Body of `POST /v1/decide`: one or more identifiers, `flag` or `flags`, and what the request brings along.

    Of several identifiers the strongest counts: `profileId`, then `userId`, `externalId`, `email`, `deviceId`,
    `anonymousId`.
    """

    user_id: str | int | None = None
    external_id: str | int | None = None
    email: str | None = None
    device_id: str | int | None = None
    anonymous_id: str | int | None = None
    profile_id: str | None = None
    flag: str | None = None
    flags: Annotated[list[str], msgspec.Meta(min_length=1, max_length=MOST_FLAGS)] | None = None
    context: dict[str, Any] = {}

    def who(self) -> str:
        """The profile id, or the strongest identifier as `serving.online` takes it.

        Raises:
            Problem: `identifier_missing` when there is none, or only such as stand for nobody.
        """
        if self.profile_id:
            if not _PROFILE_ID.fullmatch(self.profile_id.lower()):
                raise _problem("identifier_invalid", "`profileId` is a UUID as decisions return it", "profileId")
            return self.profile_id.lower()
        values: dict[Kind, str | int | None] = {
            "user": _text(self.user_id),
            "external": _text(self.external_id),
            "email": self.email,
            "device": _text(self.device_id),
            "anon": _text(self.anonymous_id),
        }
        if self.user_id is None:
            values["user"], values["external"] = values["external"], None
        found = identifiers(values)
        if not found:
            raise _problem("identifier_missing", f"nobody is named: send {_NAMES}", "userId")
        return found[0]

    def flag_keys(self) -> list[str]:
        """The flags that are asked for, at least one.

        Raises:
            Problem: neither or both of `flag` and `flags` were given.
        """
        if self.flags is not None and self.flag is not None:
            raise _problem("invalid_request", "send either `flag` or `flags`, not both", "$.flags")
        if self.flags is None and not self.flag:
            raise _problem("flag_missing", "no flag is named: send `flag`", "flag")
        return self.flags if self.flags is not None else [str(self.flag)]


async def read_body(request: Request) -> DecideRequest:
    """The question in a JSON body; numbers become micro-units and never pass through a double.

    Raises:
        Problem: too large, no JSON, or not of the shape of `DecideRequest`.
    """
    try:
        value = read_json((await read_bytes(request, LARGEST_BODY_BYTES)).decode())
    except ValueError as error:  # not JSON, not UTF-8, NaN, too deep
        raise _problem("malformed_json", f"the body is not JSON: {_json_error(error)}", "$") from error
    try:
        return msgspec.convert(value, DecideRequest)
    except msgspec.ValidationError as error:
        raise _shape_problem(str(error)) from error


def read_query(parameters: Mapping[str, str]) -> DecideRequest:
    """The question in a query; parameters that are not ours are left alone.

    Raises:
        Problem: context or several flags: dropping them silently would answer another question.
    """
    for name in parameters:
        if name == "flags" or name.startswith("context"):
            raise _problem("invalid_request", f"`{name}` goes into the body of a POST, not into a query", "query")
    return msgspec.convert({name: parameters[name] for name in QUERY_PARAMETERS if name in parameters}, DecideRequest)


def _text(value: str | int | None) -> str | None:
    """A numeric id as decimal text; numbers of a body are micro-units."""
    return write_number(value) if isinstance(value, int) else value


def _json_error(error: ValueError) -> str:
    """What is wrong with the JSON, without its text."""
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    return str(error)


def _shape_problem(said: str) -> Problem:
    match = _AT_PATH.fullmatch(said)
    what, path = (match["what"], match["path"] or "$") if match else (said, "$")
    unknown = _UNKNOWN_FIELD.fullmatch(what)
    if unknown is None:
        return _problem("invalid_request", f"{what[:1].lower()}{what[1:]} at `{path}`", path)
    near = nearest(unknown[1], DecideRequest.__struct_encode_fields__)
    advice = f"the nearest is `{near}`" if near else f"fields are {', '.join(DecideRequest.__struct_encode_fields__)}"
    detail = f"the body has an unknown field `{unknown[1][:80]}`"
    return Problem("invalid_request", detail, (ProblemItem("invalid_request", detail, path, advice),))


def _problem(code: ProblemCode, detail: str, path: str) -> Problem:
    return Problem(code, detail, (ProblemItem(code, detail, path),))
