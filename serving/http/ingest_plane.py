"""What routes that take events in work with: the project's facts, keys, and the one way in."""

import time
from collections.abc import Iterable
from dataclasses import replace
from typing import Final, cast

import redis.asyncio
from fastapi import Request

from dsl.apikeys import digest, is_well_formed
from serving.http.auth import given_keys
from serving.http.problems import Problem, ProblemItem
from serving.ingest.check import Rules
from serving.ingest.group import GroupAppender
from serving.ingest.intake import Parcel, Taken, take
from serving.ingest.letters import Letters
from serving.online import OnlineAppender
from serving.online.project import ProjectFacts, read_facts
from warehouse.settings import Settings

FACTS_S: Final = 1.0
"""Seconds for which the project's facts are kept: a revoked key works that much longer."""
_WRITERS: Final = ("write", "admin")
_FORMS: Final = (
    "send it as `writeKey` in the body, as `Authorization: Bearer KEY`, with Basic as the user, or as `X-API-Key: KEY`"
)


class IngestPlane:
    """Takes in the events of one project."""

    def __init__(self, client: redis.asyncio.Redis, settings: Settings) -> None:
        self.project = settings.project
        self._client = client
        self._appends = GroupAppender(OnlineAppender(client, settings.project))
        self._letters = Letters(settings)
        self._rules = Rules()
        self._facts: ProjectFacts | None = None
        self._read_at_s = 0.0

    @staticmethod
    def of(request: Request) -> "IngestPlane":
        """The plane of the app that serves this request."""
        return cast("IngestPlane", request.app.state.ingest)

    async def facts(self) -> ProjectFacts:
        """The project, as it was at most a second ago.

        Raises:
            Problem: the online store does not know the project.
        """
        if self._facts is None or time.monotonic() - self._read_at_s > FACTS_S:
            self._facts, self._read_at_s = await read_facts(self._client, self.project), time.monotonic()
        if self._facts is None:
            raise Problem(
                "project_unknown", f"the online store does not know the project `{self.project}`: `tinycdp serve` tells"
                " it when it starts"
            )  # fmt: skip
        return self._facts

    async def require_writer(self, request: Request, told: Iterable[object] = ()) -> frozenset[str]:
        """Let a request pass that has a write key: in its headers, or told in its body.

        Any of them is enough: tools that add credentials of their own must not lock a sender out.

        Returns:
            Told keys that do not work: events that carry one of these are not accepted.

        Raises:
            Problem: 401 without a valid key, 403 when the only valid ones are of another kind.
        """
        distinct = dict.fromkeys(key for key in told if isinstance(key, str) and key)
        kinds = {key: await self.kind_of(key) for key in [*distinct, *given_keys(request)]}
        if any(kind in _WRITERS for kind in kinds.values()):
            return frozenset(key for key in distinct if kinds[key] not in _WRITERS)
        known = [kind for kind in kinds.values() if kind is not None]
        if known:
            detail = f"this is a {known[0]} key and a write key is needed: `tinycdp keys create --kind write` makes one"
            raise Problem("key_wrong_kind", detail, (ProblemItem("key_wrong_kind", detail, "header.authorization"),))
        said = "this write key is not valid: it is mistyped, revoked or of another project"
        detail = said if kinds else f"a write key is needed: {_FORMS}"
        item = ProblemItem("invalid_write_key", detail, "header.authorization", _FORMS)
        raise Problem("invalid_write_key", detail, (item,), {"www-authenticate": 'Bearer realm="tinycdp"'})

    async def kind_of(self, key: str) -> str | None:
        """`write`, `read` or `admin`; None when the key does not work."""
        if not is_well_formed(key):
            return None
        found = (await self.facts()).keys.get(digest(key))
        if found is None:
            # It may have been made a moment ago.
            self._facts = None
            found = (await self.facts()).keys.get(digest(key))
        return found

    async def take(self, parcel: Parcel) -> list[Taken]:
        """Take in the events of a parcel; what became of each."""
        facts = await self.facts()
        rules = self._rules
        if rules.zone is not facts.zone:
            rules = self._rules = replace(rules, zone=facts.zone)
        return await take(
            replace(parcel, schema_version=facts.catalog_version),
            rules,
            self._appends,
            self._letters.keep,
            facts.clock.now_ms(),
        )


def idempotency_key(request: Request) -> str:
    """What makes repeated requests the same: the header `Idempotency-Key` with the path."""
    given = request.headers.get("idempotency-key", "").strip()
    return f"{request.url.path} {given}" if given else ""
