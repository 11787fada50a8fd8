"""What a decide request asks: who, which flags, in what context; read from the query or from a JSON body."""

import re
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import parse_qsl

import msgspec

from dsl.identifiers import Kind, identifiers
from dsl.nearest import nearest
from dsl.numbers import read_json, write_number
from serving.http.problems import Problem, ProblemCode, ProblemItem

LARGEST_BODY_BYTES = 262_144
MOST_FLAGS = 100
MOST_EVENTS = 100
ALL_FLAGS = "*"

QUERY_PARAMETERS: Mapping[str, str] = {
    "flag": "The flag to decide; `*` decides all.",
    "flags": "Several flags, with commas between them.",
    "profileId": "Who: the id of a profile.",
    "userId": "Who: the sender's own id of a user.",
    "externalId": "Who: an id of another system.",
    "email": "Who: an address; only its hash is looked up.",
    "deviceId": "Who: a device.",
    "anonymousId": "Who: an anonymous visitor.",
    "explain": "`1` adds every part of every condition with its value, and what would make it hold.",
    "exposures": "`0` does not log which variant chance showed.",
}
"""Parameters of `GET /v1/decide`."""

_PROFILE_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_AT_PATH = re.compile(r"(?P<what>.*?)(?: - at `(?P<path>[^`]*)`)?", re.DOTALL)
_NOT_IN_QUERIES = ("context", "events", "traits")
_UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(.*)`", re.DOTALL)
_NAMES = "`userId`, `externalId`, `email`, `deviceId`, `anonymousId` or `profileId`"


class DecideRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel", kw_only=True):
    """Body of `POST /v1/decide`: one or more identifiers, `flag` or `flags`, and what the request brings along.

    Of several identifiers the strongest counts: `profileId`, then `userId`, `externalId`, `email`, `deviceId`,
    `anonymousId`. `flag: "*"` asks all flags.

    Attributes:
        context: what conditions read as `context.…`.
        events: events as they are tracked, counted in this answer and nowhere else; one whose `messageId` the log has
            counts once.
        traits: attributes as an `identify` sets them, for this answer only.
        explain: adds every part of every condition with its value, and what would make it hold.
        exposures: false does not log which variant chance showed.
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
    events: Annotated[list[dict[str, Any]], msgspec.Meta(max_length=MOST_EVENTS)] = []
    traits: dict[str, Any] = {}
    explain: bool = False
    exposures: bool = True

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

    def flag_keys(self) -> tuple[str, ...] | None:
        """The flags that are asked for, at least one; None asks all.

        Raises:
            Problem: neither or both of `flag` and `flags` were given.
        """
        if self.flags is not None and self.flag is not None:
            raise _problem("invalid_request", "send either `flag` or `flags`, not both", "$.flags")
        if self.flags is None and not self.flag:
            raise _problem("flag_missing", f"no flag is named: send `flag`; `{ALL_FLAGS}` asks all", "flag")
        keys = tuple(self.flags) if self.flags is not None else (str(self.flag),)
        return None if ALL_FLAGS in keys else keys

    def names(self) -> dict[str, Any]:
        """Its identifiers, as an event of the same sender would name them."""
        given = {
            "userId": self.user_id,
            "externalId": self.external_id,
            "email": self.email,
            "deviceId": self.device_id,
            "anonymousId": self.anonymous_id,
        }
        if self.profile_id:
            given = {"userId": self.profile_id}
        return {name: _text(value) for name, value in given.items() if value is not None}


def read_body(body: bytes) -> DecideRequest:
    """The question in a JSON body; numbers become micro-units and never pass through a double.

    Raises:
        Problem: too large, no JSON, or not of the shape of `DecideRequest`.
    """
    return as_question(read_exactly(body))


def as_question(value: object) -> DecideRequest:
    """The question in a JSON value whose numbers are micro-units.

    Raises:
        Problem: not of the shape of `DecideRequest`.
    """
    try:
        return msgspec.convert(value, DecideRequest)
    except msgspec.ValidationError as error:
        raise _shape_problem(str(error)) from error


def read_exactly(body: bytes) -> object:
    """The JSON value of a body; numbers become micro-units and never pass through a double.

    Raises:
        Problem: it is no JSON.
    """
    try:
        return read_json(body.decode())
    except ValueError as error:  # not JSON, not UTF-8, NaN, too deep
        raise _problem("malformed_json", f"the body is not JSON: {_json_error(error)}", "$") from error


def parameters_of(query: bytes) -> dict[str, str]:
    """The parameters of a query string; of one that is there several times the last counts."""
    text = query.decode("latin-1")
    if "%" in text or "+" in text:
        return dict(parse_qsl(text, keep_blank_values=True))
    # What nobody has quoted needs no unquoting, which takes most of the time.
    pairs = (pair.partition("=") for pair in text.split("&") if pair)
    return {name: value for name, _, value in pairs}


def read_query(parameters: Mapping[str, str]) -> DecideRequest:
    """The question in a query; parameters that are not ours are left alone.

    Raises:
        Problem: context, events or traits: dropping them silently would answer another question.
    """
    for name in parameters:
        if name.startswith(_NOT_IN_QUERIES):
            raise _problem("invalid_request", f"`{name}` goes into the body of a POST, not into a query", "query")
    given: dict[str, Any] = {name: parameters[name] for name in QUERY_PARAMETERS if name in parameters}
    if "flags" in given:
        given["flags"] = [flag.strip() for flag in given["flags"].split(",") if flag.strip()]
    for name in ("explain", "exposures"):
        if name in given:
            given[name] = _switch(name, given[name])
    try:
        return msgspec.convert(given, DecideRequest)
    except msgspec.ValidationError as error:
        raise _shape_problem(str(error)) from error


def _switch(name: str, text: str) -> bool:
    if text not in ("0", "1", "true", "false"):
        raise _problem("invalid_request", f"`{name}` is `{text[:20]}`: it takes `1` or `0`", f"query.{name}")
    return text in ("1", "true")


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
