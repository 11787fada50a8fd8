"""What routes that take events in work with: the project's facts, keys, and the one way in."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, cast

import redis.asyncio
from fastapi import Request

from dsl.conformance import CompiledPipeline
from serving.http.auth import given_keys
from serving.http.metrics import Metrics
from serving.http.problems import Problem, ProblemItem
from serving.ingest.check import Rules
from serving.ingest.conformity import examine_by
from serving.ingest.intake import Appends, Examine, Parcel, Taken, take
from serving.ingest.letters import Letters
from serving.ingest.replay import ExamineRoute, Replayed, replay
from serving.ingest.schemas import Schemas
from serving.online import OnlineReader
from serving.online.append import AppendRules
from serving.online.metrics import WorkerMetrics, read_worker_metrics
from serving.online.pipelines import Violated, count_violations, read_webhook_secrets
from serving.online.project import KnownProject, ProjectFacts
from warehouse.settings import Settings

MOST_REPLAYED: Final = 1_000
_WRITERS: Final = ("write", "admin")
_MOST_ADMITTED: Final = 1_000
_FORMS: Final = (
    "send it as `writeKey` in the body, as `Authorization: Bearer KEY`, with Basic as the user, or as `X-API-Key: KEY`"
)


class IngestPlane:
    """Takes in the events of one project."""

    def __init__(
        self,
        client: redis.asyncio.Redis,
        settings: Settings,
        metrics: Metrics,
        known: KnownProject,
        appends: Appends,
    ) -> None:
        self._schemas = Schemas(OnlineReader(client, settings.project))
        self.project = settings.project
        self._client = client
        self._metrics = metrics
        self._known = known
        self._admitted_by: ProjectFacts | None = None
        self._admitted: dict[tuple[object, ...], frozenset[str]] = {}
        self._appends = appends
        self.letters = Letters(settings)
        self._rules = Rules(
            append=AppendRules(settings.dedup_ttl_ms),
            max_lateness_ms=settings.max_lateness_ms,
            max_event_bytes=settings.max_event_bytes,
        )

    @staticmethod
    def of(request: Request) -> "IngestPlane":
        """The plane of the app that serves this request."""
        return cast("IngestPlane", request.app.state.ingest)

    async def close(self) -> None:
        """Give the connections back."""
        await self._client.aclose()

    async def facts(self) -> ProjectFacts:
        """The project, as it was at most a second ago.

        Raises:
            Problem: the online store does not know the project.
        """
        facts = await self._known.facts()
        if not facts.is_told:
            raise Problem(
                "project_unknown", f"the online store does not know the project `{self.project}`: `tinycdp serve` tells"
                " it when it starts"
            )  # fmt: skip
        return facts

    async def require_writer(self, request: Request, told: Iterable[object] = ()) -> frozenset[str]:
        """Let a request pass that has a write key: in its headers, or told in its body.

        Any of them is enough: tools that add credentials of their own must not lock a sender out.

        Returns:
            Told keys that do not work: events that carry one of these are not accepted.

        Raises:
            Problem: 401 without a valid key, 403 when the only valid ones are of another kind.
        """
        distinct = tuple(dict.fromkeys([key for key in told if isinstance(key, str) and key]))
        facts, given = await self.facts(), (distinct, *given_keys(request))
        if facts is not self._admitted_by or len(self._admitted) > _MOST_ADMITTED:
            self._admitted_by, self._admitted = facts, {}
        bad_keys = self._admitted.get(given)
        if bad_keys is None:
            bad_keys = self._admitted[given] = await self._bad_keys(distinct, given_keys(request))
        return bad_keys

    async def _bad_keys(self, distinct: Sequence[str], given: Sequence[str]) -> frozenset[str]:
        kinds = await self._known.kinds([*distinct, *given])
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
        await self.facts()
        return (await self._known.kinds([key]))[key]

    async def take(self, parcel: Parcel) -> list[Taken]:
        """Take in the events of a parcel; what became of each."""
        facts = await self.facts()
        rules, now_ms = self._rules_of(facts), facts.clock.now_ms()
        taken = await take(parcel, rules, self._appends, self.letters.keep, now_ms, facts.catalog_version)
        self._metrics.count(parcel.route, taken)
        return taken

    async def replay(self, ids: Sequence[int], reason: str | None, patch: Mapping[str, Any]) -> list[Replayed]:
        """Take open dead letters in again; those that are accepted are closed.

        Args:
            ids: which; without any, the first thousand of a reason.

        Raises:
            RegistryError: there is no letter of an id.
        """
        if ids:
            chosen = await self.letters.chosen(ids)
        else:
            chosen = await self.letters.listed(status="open", reason=reason, after=0, limit=MOST_REPLAYED)
        facts = await self.facts()
        found = await replay(
            chosen, patch, self._rules_of(facts), self._appends, await self._examiner(), facts.clock.now_ms()
        )
        await self.letters.close([each.letter.id for each in found if each.taken.is_accepted], "replayed")
        return found

    async def pipelines(self) -> Mapping[str, CompiledPipeline]:
        """The schemas that events are checked against, by key: those of the catalog that decisions use."""
        return await self._schemas.get((await self.facts()).catalog_version)

    async def _examiner(self) -> ExamineRoute:
        """Looks at events of pipelines by today's schemas."""
        pipelines = await self.pipelines()

        def by_route(route: str) -> Examine | None:
            pipeline = pipelines.get(route.removeprefix("pipeline:"))
            return None if pipeline is None else examine_by(pipeline, Counter())

        return by_route

    async def webhook_secrets(self, pipeline: str) -> tuple[str, ...]:
        """The secrets of a pipeline that work now."""
        return await read_webhook_secrets(self._client, self.project, pipeline)

    async def count_violations(self, counted: Mapping[Violated, int]) -> None:
        """Note what events were not as their pipelines say."""
        await count_violations(self._client, self.project, counted)

    async def worker_metrics(self) -> WorkerMetrics:
        """The project's log and worker, as they are now."""
        return await read_worker_metrics(self._client, self.project)

    def _rules_of(self, facts: ProjectFacts) -> Rules:
        email_from_traits = facts.identity.email_from_traits
        if self._rules.zone is not facts.zone or self._rules.email_from_traits != email_from_traits:
            self._rules = replace(self._rules, zone=facts.zone, email_from_traits=email_from_traits)
        return self._rules


def idempotency_key(request: Request) -> str:
    """What makes repeated requests the same: the header `Idempotency-Key` with the path."""
    given = request.headers.get("idempotency-key", "").strip()
    return f"{request.url.path} {given}" if given else ""
