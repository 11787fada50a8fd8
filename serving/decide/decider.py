"""Decisions as the API answers them: what is known of a profile in, answers of flags out, always within a deadline."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import msgspec
import structlog

from dsl.catalog import Catalog
from dsl.check import CheckedCatalog, check_catalog
from dsl.clock import Clock
from dsl.event_record import FreshEvent
from dsl.nearest import nearest
from dsl.state import State
from dsl.tiles import Folded
from serving.decide.catalogs import Catalogs, CatalogUnusableError
from serving.decide.counts import Counts
from serving.decide.decision import Decision, Decisions, UnknownFlagError, UnknownFlagsError, default_decision
from serving.decide.exposures import Exposures
from serving.decide.kept import Kept, KeptProfiles
from serving.decide.story import Story
from serving.online import Fold, KnownProject, OnlineReader, OnlineStoreError, ProfileTooLargeError, Reading, Watch

Trouble = Literal["store_unavailable", "profile_too_large", "catalog_unusable"]
"""Why an answer is not what it should be."""
Stale = Literal["no_snapshot", "bulk_load", "percent_rank"] | Trouble
FIRST_CATALOG_S: Final = 5.0
"""How long a process that knows no catalog yet waits for its first one: it has no defaults to answer with."""
_SENTENCES: Final[Mapping[Trouble, str]] = {
    "store_unavailable": "the default, because the online store does not answer in time",
    "profile_too_large": "the default, because more is known of the profile than can be read in time",
    "catalog_unusable": "the default, because the definitions cannot be read",
}
_WARMING: Final = "the default, because the flag is new: its definitions are being prepared"
_NOTHING: Final = Fold(check_catalog(Catalog()))
"""Where nothing was published yet."""
_log = structlog.get_logger("tinycdp.decide")


@dataclass(frozen=True, slots=True)
class Limits:
    """How much one answer may take.

    Attributes:
        deadline_ms: from the question to what the store knows; beyond it the answer is made from what there is.
        most_fresh: events of a source that no tile has yet.
        keep_s: how long answers and what they were made from are kept in this process; 0 keeps nothing.
    """

    deadline_ms: int = 50
    most_fresh: int = 10_000
    keep_s: float = 60.0


class Asked(msgspec.Struct, frozen=True):
    """What is asked about whom.

    Attributes:
        who: an identifier `<kind>:<value>`, or a profile id.
        flags: None asks all.
        context: JSON values with numbers in micro-units.
        events: the request's own, counted in this answer.
        exposes: what chance decides is logged as shown.
    """

    who: str
    flags: tuple[str, ...] | None
    context: Mapping[str, object] = {}
    events: Sequence[FreshEvent] = ()
    exposes: bool = True

    @property
    def identifier(self) -> str | None:
        """The identifier that was named; None when a profile id was."""
        return self.who if ":" in self.who else None


class Answered(msgspec.Struct, frozen=True):
    """Decisions of one profile, all from one state.

    Attributes:
        state: None when nothing could be read of the profile: the decisions are defaults.
        checked: the catalog that they were made by.
        stale: of all of them; `percent_rank` of single flags comes on top (`stale_of`).
        kept: where the answer may be kept.
        judge: what decided.
    """

    decisions: Sequence[Decision]
    checked: CheckedCatalog
    state: State | None
    snapshot_age_ms: int | None
    catalog_version: int
    now_ms: int
    stale: Stale | None
    kept: Kept | None = None
    judge: Decisions | None = None

    @property
    def is_makeshift(self) -> bool:
        """Whether it was made without the store."""
        return self.stale in _SENTENCES

    def expires_ms(self, decision: Decision) -> int | None:
        """The instant before which a decision does not change by itself, of the project's clock; None: never."""
        if self.judge is None or self.state is None or not isinstance(self.state.aggregates, Folded):
            return None
        if decision.flag not in self.checked.flags:
            return None  # it waits for its definitions
        return self.judge.expires_ms(decision.flag, self.state.aggregates.held)

    def story(self, decision: Decision) -> Story | None:
        """Every condition of the decision's flag; None where there is nothing to tell it from."""
        if self.judge is None or self.state is None or not isinstance(self.state.aggregates, Folded):
            return None
        if decision.flag not in self.checked.flags:
            return None
        return self.judge.story(decision.flag, self.state.aggregates.held)

    def stale_of(self, decision: Decision) -> Stale | None:
        """Why this decision may be older than it should be."""
        if self.stale is not None:
            return self.stale
        flag = self.checked.flags.get(decision.flag)
        return "percent_rank" if flag is not None and flag.ranked else None


class Decider:
    """Answers for one project, whose definitions, profiles and clock it reads from the online store.

    Attributes:
        watch: what tells of changes; without one nothing is kept.
        profiles: what is kept.
        counts: what was decided.
    """

    def __init__(
        self,
        reader: OnlineReader,
        project: KnownProject,
        exposures: Exposures,
        limits: Limits,
        profiles: KeptProfiles,
    ) -> None:
        self.catalogs = Catalogs(reader)
        self.limits = limits
        self.profiles = profiles
        self.counts = Counts()
        self._reader = reader
        self._project = project
        self.watch: Watch | None = None
        self._exposures = exposures
        self._newest: Fold | None = None
        self._newest_version = 0
        self._preloading: asyncio.Task[None] | None = None

    def changed(self, keys: Sequence[str] | None) -> None:
        """Keys of the store were written (`Watch`)."""
        self.profiles.forget(keys)
        self._project.changed(keys)
        if keys is None or any(":catalog:" in key for key in keys):
            # Large catalogs take a while to be checked: nobody who asks shall wait for that.
            self._preloading = asyncio.get_running_loop().create_task(self._preload())

    async def _preload(self) -> None:
        try:
            for version in sorted(await self._reader.catalog_versions()):
                fold = await self.catalogs.get(version)
                self._newest, self._newest_version = self._newest or fold, self._newest_version or version
        except (OnlineStoreError, CatalogUnusableError) as error:
            _log.warning("catalog_not_read_ahead", error_type=type(error).__name__)

    def kept(self, who: str) -> Kept | None:
        """What is kept of somebody and is still so: what has changed more than a second ago is not in it."""
        if self.watch is None or not self.watch.is_sure:
            return None
        found = self.profiles.get(who)
        return found if found is not None and time.monotonic() - found.read_s < self.limits.keep_s else None

    async def ask(self, asked: Asked) -> Answered:
        """The decisions that were asked for, all from one state.

        Trouble with the store, with the catalog or with the profile does not fail a decision: it is made from what is
        there, else it is the flag's default, and says so.

        Raises:
            UnknownFlagsError: the catalog lacks some of the flags.
            OnlineStoreError: no catalog was ever read, so there are no defaults.
            CatalogUnusableError: the same, because the first one cannot be used.
        """
        try:
            kept = await self._known(asked)
        except (OnlineStoreError, CatalogUnusableError, TimeoutError) as error:
            return self._make_do(asked, error)
        answered = self._answered(asked, kept, None)
        for decision in answered.decisions:
            self.counts.decided[decision.reason] += 1
        if asked.exposes and any(decision.split for decision in answered.decisions):
            await self._expose(asked, answered, kept)
        return answered

    # -- what is known -----------------------------------------------------------------------------------------------

    async def _known(self, asked: Asked) -> Kept:
        # Whether the log has the request's own events only the store can tell.
        kept = self.kept(asked.who) if not asked.events else None
        if kept is not None and (kept.knows_all or _has(kept.fold, asked.flags)):
            return kept
        if self.watch is None:
            kept = await self._read(asked)
        else:
            with self.profiles.flight() as flight:
                kept = await self._read(asked)
                flight.land(kept)
        self._newest, self._newest_version = kept.fold, kept.reading.catalog_version or 0
        return kept

    async def _read(self, asked: Asked) -> Kept:
        patience_s = self.limits.deadline_ms / 1_000 if self._newest is not None else FIRST_CATALOG_S
        until_s = asyncio.get_running_loop().time() + patience_s
        event_ids = [event.event_id for event in asked.events]
        reading = await self._reader.look_up(asked.who, event_ids, self.limits.most_fresh, patience_s)
        fold = await self._catalog(reading.catalog_version, until_s) or _NOTHING
        coming = None if _has(fold, asked.flags) else await self._catalog(reading.coming_version, until_s)
        return Kept(asked.who, reading, fold, fold.unpack(reading), coming)

    async def _catalog(self, version: int | None, until_s: float) -> Fold | None:
        """A catalog, at once where it has been read before."""
        if version is None:
            return None
        known = self.catalogs.known(version)
        if known is not None:
            return known
        async with asyncio.timeout_at(until_s):
            return await self.catalogs.get(version)

    def _make_do(self, asked: Asked, error: Exception) -> Answered:
        """An answer without the store: from what was read before, else defaults."""
        if self._newest is None:
            raise _without_timeout(error) from error
        trouble = _trouble(error)
        self.counts.troubled[trouble] += 1
        kept = self.profiles.get(asked.who) if trouble == "store_unavailable" else None
        _log.warning("degraded", trouble=trouble, answered="kept" if kept else "default")
        if kept is not None:
            return self._answered(asked, kept, trouble)
        checked = self._newest.checked
        flags = tuple(checked.flags) if asked.flags is None else asked.flags
        _require(flags, self._newest_version, checked)
        decisions = [default_decision(checked, flag, "ERROR", _SENTENCES[trouble]) for flag in flags]
        return Answered(decisions, checked, None, None, self._newest_version, self._now_ms(None), trouble)

    # -- answers -----------------------------------------------------------------------------------------------------

    def _answered(self, asked: Asked, kept: Kept, trouble: Trouble | None) -> Answered:
        reading, checked = kept.reading, kept.fold.checked
        coming = kept.coming.checked if kept.coming is not None else _NOTHING.checked
        flags = asked.flags
        if flags is None:
            flags = tuple(dict.fromkeys([*checked.flags, *coming.flags]))
        _require(flags, reading.catalog_version, checked, coming)
        own = [event for event in asked.events if event.event_id not in reading.known_events]
        unpacked = kept.unpacked.with_events(own, checked) if own else kept.unpacked
        now_ms = self._now_ms(kept)
        state = kept.fold.state(reading, now_ms, unpacked)
        judge = Decisions(checked, state, asked.context, asked=asked.identifier)
        decisions = [
            judge.of(flag) if flag in checked.flags else default_decision(coming, flag, "WARMING", _WARMING)
            for flag in flags
        ]
        if trouble is not None:
            decisions = [msgspec.structs.replace(each, reason="STALE") for each in decisions]
        return Answered(
            decisions,
            checked,
            state,
            None if reading.snapshot is None else reading.snapshot.age_ms,
            reading.catalog_version or 0,
            now_ms,
            trouble or _stale(reading),
            kept,
            judge,
        )

    def _now_ms(self, kept: Kept | None) -> int:
        facts = self._project.last
        if facts is not None:
            return facts.clock.now_ms()
        snapshot = kept.reading.snapshot if kept is not None else None
        return Clock(0 if snapshot is None else snapshot.clock_offset_ms).now_ms()

    async def _expose(self, asked: Asked, answered: Answered, kept: Kept) -> None:
        """Log what chance decided; an answer is not held back because the store does not take it."""
        members = [source.source_id for source in kept.reading.sources]
        identifier = asked.identifier or next(iter(members), None)
        if identifier is None or answered.state is None:
            return  # an id that nobody has: there is no one to have been shown anything
        try:
            async with asyncio.timeout(self.limits.deadline_ms / 1_000):
                self.counts.exposed += await self._exposures.log(
                    answered.decisions, identifier, answered.state.profile_id, answered.now_ms, answered.checked.zone
                )
        except (OnlineStoreError, TimeoutError) as error:
            self.counts.unexposed += 1
            _log.warning("exposure_not_logged", error_type=type(error).__name__)


def _has(fold: Fold, flags: Sequence[str] | None) -> bool:
    """Whether a catalog has all flags that are asked for; of all flags there may be more in the coming one."""
    return flags is not None and all(flag in fold.checked.flags for flag in flags)


def _require(flags: Sequence[str], version: int | None, *catalogs: CheckedCatalog) -> None:
    """Raises UnknownFlagsError: some flags are in none of the catalogs."""
    if all(flag in catalogs[0].flags for flag in flags):
        return
    known = list(dict.fromkeys(flag for checked in catalogs for flag in checked.flags))
    unknown = [UnknownFlagError(flag, nearest(flag, known)) for flag in flags if flag not in known]
    if unknown:
        raise UnknownFlagsError(unknown, is_published=version is not None)


def _stale(reading: Reading) -> Stale | None:
    if reading.snapshot is None:
        return "no_snapshot"
    return "bulk_load" if reading.is_loading else None


def _without_timeout(error: Exception) -> Exception:
    return OnlineStoreError("the online store does not answer in time") if isinstance(error, TimeoutError) else error


def _trouble(error: Exception) -> Trouble:
    match error:
        case ProfileTooLargeError():
            return "profile_too_large"
        case CatalogUnusableError():
            return "catalog_unusable"
    return "store_unavailable"
