"""`tinycdp decide`: the API's own answer to a question, asked in this process."""

import asyncio
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, Final

import msgspec
from fastapi import Request

from dsl.failure import WrongUse
from dsl.guide.explain_tree import Explained, draw
from dsl.identifiers import Kind
from dsl.nearest import nearest
from dsl.numbers import read_json, replace_surrogates
from serving.decide import KeptProfiles, UnknownFlagsError
from serving.decide.story import RuleStory, Story
from serving.http.decisions import decide_by_body
from serving.http.plane import Plane
from serving.http.problems import Problem
from serving.http.question import read_body
from serving.online import AppendRules, KnownProject, OnlineAppender, connect_async, look_up
from tinycdp.output import Output
from tinycdp.workspace import NothingThere, Workspace
from warehouse.settings import Settings

ALL_FLAGS: Final = "*"
_FIELDS: Final[Mapping[Kind, str]] = {
    "user": "userId",
    "external": "externalId",
    "email": "email",
    "device": "deviceId",
    "anon": "anonymousId",
}
_UUID_LENGTH: Final = 36


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked of which flag about whom.

    Attributes:
        flag: `*` asks all.
        profile: `user:208`, another identifier with its kind, a bare user id, or a profile id.
        context, events, traits: JSON texts.
        expose: what chance decides is logged as shown.
    """

    flag: str
    profile: str
    context: str = "{}"
    events: str = "[]"
    traits: str = "{}"
    explain: bool = False
    expose: bool = False

    @property
    def shown(self) -> str:
        """The profile, with the kind of identifier that it is."""
        return self.profile if ":" in self.profile or len(self.profile) == _UUID_LENGTH else f"user:{self.profile}"

    def body(self) -> bytes:
        """The body of `POST /v1/decide`; JSON texts stand in it as they were typed, to the last digit.

        Raises:
            WrongUse: a text is not the JSON that it should be, or the kind of identifier is none.
        """
        return msgspec.json.encode(
            {
                **self._who(),
                "flag": self.flag,
                "context": _json("--context", self.context, dict, "object, such as '{\"amount\": 120}'"),
                "events": _json("--events", self.events, list, 'list, such as \'[{"event": "purchase"}]\''),
                "traits": _json("--traits", self.traits, dict, 'object, such as \'{"plan": "gold"}\''),
                "explain": self.explain,
                "exposures": self.expose,
            }
        )

    def _who(self) -> dict[str, str]:
        kind, colon, value = replace_surrogates(self.profile).partition(":")
        if not colon:
            return {"profileId" if len(kind) == _UUID_LENGTH else "userId": kind}
        for known, name in _FIELDS.items():
            if kind == known:
                return {name: value}
        near = nearest(kind, _FIELDS)
        advice = f"the nearest is `{near}`" if near else f"there are {', '.join(_FIELDS)}"
        raise WrongUse(f"--profile: `{kind}` is no kind of identifier: {advice}")


class _Shown(msgspec.Struct, frozen=True, rename="camel"):
    """What people see of an answer; the payload as the API writes it."""

    flag: str
    allow: bool
    variant: str
    payload: msgspec.Raw
    reasons: list[str]
    expires_at: str | None
    stale: str | None
    warming: bool
    explanation: Story | None = None

    def text(self, profile: str) -> str:
        """The answer in lines."""
        until = f" until {self.expires_at}" if self.expires_at else ""
        is_lasting = until or not (self.warming or self.stale)
        return "\n".join(
            [
                f"{self.flag} for {profile}: {self.variant} (allow: {'true' if self.allow else 'false'})",
                *(f"  - {reason}" for reason in self.reasons),
                *([f"  payload {bytes(self.payload).decode()}"] if self.payload != b"null" else []),
                *(f"  {line}" for line in (_story(self.explanation) if self.explanation else ())),
                *([f"  without a new event it stays so{until}"] if is_lasting else []),
                *([f"  stale: {self.stale}"] if self.stale else []),
                *(["  warming: its definitions are being prepared"] if self.warming else []),
            ]
        )


class _Several(msgspec.Struct, frozen=True):
    decisions: list[_Shown]


def run_decide(settings: Settings, output: Output, question: Question) -> None:
    """Prints the API's answer: the same document with `--json`, the same facts in lines without."""
    body, workspace = question.body(), Workspace(settings)
    with workspace.store() as client, _sentences():
        who = read_body(body).who()
        answer = asyncio.run(_asked(settings, workspace.store_url(), body))
        reading = look_up(client, settings.project, who)
    if not any(source.base is not None or source.fresh for source in reading.sources):
        output.say(f"nobody is known as `{question.shown}`: the decision is that for somebody without any event")
    if output.as_json:
        # Numbers stay as the API writes them.
        sys.stdout.write(msgspec.json.format(answer, indent=2).decode() + "\n")
        return
    for each in _read(answer, is_one=question.flag != ALL_FLAGS):
        output.lines(each.text(question.shown))


def _read(answer: bytes, *, is_one: bool) -> Sequence[_Shown]:
    if is_one:
        return [msgspec.json.decode(answer, type=_Shown)]
    return msgspec.json.decode(answer, type=_Several).decisions


async def _asked(settings: Settings, url: str, body: bytes) -> bytes:
    """The answer of the API's own route."""
    client = connect_async(url)
    appends = OnlineAppender(client, settings.project, AppendRules(settings.dedup_ttl_ms, settings.max_log))
    project, profiles = _OwnProject(client, settings.project), KeptProfiles(settings.project, 1)
    # Of one question there is nothing to keep.
    plane = Plane.connected(url, project, profiles, appends, replace(settings, decide_keep_ms=0))
    try:
        response = await decide_by_body(_request(plane, body))
    finally:
        await plane.close()
        await client.aclose()
    return bytes(response.body)


class _OwnProject(KnownProject):
    """The project as its own home knows it: whoever has the home needs no key to ask."""

    async def kinds(self, keys: Iterable[str]) -> dict[str, str | None]:
        await self.facts()
        return dict.fromkeys(keys, "read")


def _request(plane: Plane, body: bytes) -> Request:
    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body}

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/v1/decide",
        "headers": [(b"x-api-key", b"own")],
        "app": SimpleNamespace(state=SimpleNamespace(plane=plane)),
    }
    return Request(scope, receive)


@contextmanager
def _sentences() -> Iterator[None]:
    """The API's problems, as sentences of the command line."""
    try:
        yield
    except Problem as problem:
        cause = problem.__cause__
        if isinstance(cause, UnknownFlagsError) and not cause.is_published:
            help_ = "run `tinycdp apply DIR`, then `tinycdp refresh`"
            raise NothingThere(f"no definitions are published yet: {help_}") from problem
        paths = {item.path for item in problem.errors if item.path.startswith("$.")}
        raise WrongUse(f"{problem.detail} (at `{min(paths)}`)" if paths else problem.detail) from problem


def _json(option: str, text: str, expected: type, example: str) -> msgspec.Raw:
    try:
        value = read_json(text)
    except ValueError as error:
        raise WrongUse(f"{option} is not JSON: {error}") from error
    if not isinstance(value, expected):
        raise WrongUse(f"{option} takes a JSON {example}")
    return msgspec.Raw(replace_surrogates(text).encode())


def _story(story: Story) -> Iterator[str]:
    """Every condition of a flag with the value of every part, and what would turn it."""
    for each in story.prerequisites:
        yield f"{'✓' if each.holds else '✗'} prerequisite {each.flag}: {each.variant}"
    if story.holdout is not None:
        yield "holdout"
        yield from _tree(story.holdout)
    for rule in story.rules:
        yield _rule(rule)
        if rule.condition is not None:
            yield from _tree(rule.condition)


def _rule(rule: RuleStory) -> str:
    """The rule in a line; its condition stands below it."""
    told = f"{'✓' if rule.matched else '✗'} rule {rule.rule}: {rule.variant or 'a split'}"
    if rule.rollout_percent is not None:
        told += f", rollout {bytes(rule.rollout_percent).decode()} %"
    if rule.place_percent is not None:
        told += f", place {bytes(rule.place_percent).decode()} %"
    return told if rule.decided else f"({told})"


def _tree(condition: Explained) -> Iterator[str]:
    return (f"  {line}" for line in draw(condition).splitlines())
