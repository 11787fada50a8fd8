"""Names of a project's keys: the one place that writes them.

Every key carries the hash tag `{<project>}`, so that one script is atomic over all of them, in a cluster too.
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

_GLOB = re.compile(r"([*?\[\]\\^])")


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of one project.

    >>> Keys("default").ident("user:208")
    '{default}:ident:user:208'
    """

    project: str

    @property
    def seq(self) -> str:
        """Counter: the highest `seq` ever given."""
        return self._key("seq")

    @property
    def log(self) -> str:
        """Stream: every record of the log that is not yet trimmed; the id of an entry is `<seq>-0`."""
        return self._key("log")

    @property
    def renumbering(self) -> str:
        """Up to which number the records of a store that was lost are being given numbers anew; absent otherwise."""
        return self._key("renumbering")

    @property
    def late(self) -> str:
        """Stream: the late lane, events that wait until their id is checked against all that has landed."""
        return self._key("late")

    @property
    def metrics(self) -> str:
        """Hash: what the worker and the append script have counted (`serving.online.metrics`)."""
        return self._key("metrics")

    @property
    def appended_at(self) -> str:
        """When the last record was appended, epoch milliseconds on the project's clock."""
        return self._key("appended_at")

    @property
    def identity(self) -> str:
        """The identity settings in force; absent while they are the defaults."""
        return self._key("identity")

    @property
    def apart(self) -> str:
        """Hash: identifier -> JSON list of the identifiers that an un-merge keeps apart from it."""
        return self._key("apart")

    @property
    def erased(self) -> str:
        """Hash: id of a profile that was erased in the last days -> the `seq` of its erasure."""
        return self._key("erased")

    def event(self, event_id: str) -> str:
        """What is known of an event id: `<seq>:<digest of the body>`, or `late:<digest>` while it waits."""
        return self._key(f"id:{event_id}")

    def fresh(self, source_id: str) -> str:
        """Stream: whole events of a source that no base has yet; the id of an entry is `<seq>-0`."""
        return self._key(f"fresh:{source_id}")

    def profile(self, profile_id: str) -> str:
        """Hash: each member -> the `seq` that brought it; and `first`, `since`, `seq`.

        It began with the identifier `first` at `since`, and last changed at `seq`. An id without members is retired: it
        leads to the profile that `first` is in now.
        """
        return self._key(f"profile:{profile_id}")

    @property
    def calendar(self) -> str:
        """Hash `timezone`, `clock_offset_ms` of the project."""
        return self._key("calendar")

    @property
    def api_keys(self) -> str:
        """Hash: hex SHA-256 of a key -> its kind."""
        return self._key("apikeys")

    @property
    def webhooks(self) -> str:
        """Hash: pipeline -> JSON list of the secrets that its senders sign with, each with its end or null."""
        return self._key("webhooks")

    @property
    def violations(self) -> str:
        """Hash: JSON list of event, path and kind -> how often events were not as their pipeline says."""
        return self._key("violations")

    @property
    def violations_last(self) -> str:
        """Hash: the same -> when last, wall time in epoch milliseconds."""
        return self._key("violations:last")

    @property
    def catalog_current(self) -> str:
        """Number of the catalog version that decisions use."""
        return self._key("catalog:current")

    @property
    def catalog_pending(self) -> str:
        """Number of the catalog version that is being prepared, or was last."""
        return self._key("catalog:pending")

    def catalog(self, version: int) -> str:
        """Document of one catalog version."""
        return self._key(f"catalog:{version}")

    @property
    def snapshot(self) -> str:
        """What the newest finished publication is of."""
        return self._key("snapshot")

    @property
    def publishing(self) -> str:
        """Hash `cut`, `as_of`: the newest publication that has begun, finished or not."""
        return self._key("publishing")

    @property
    def cut(self) -> str:
        """The announced cut: every record up to this `seq` has landed."""
        return self._key("cut")

    @property
    def loading(self) -> str:
        """Hash: first -> last `seq` of ranges that bulk loads reserved and no finished publication contains yet."""
        return self._key("loading")

    def base(self, source_id: str) -> str:
        """Tiles and attributes of a source up to the cut that they carry (`dsl.tile_codec`)."""
        return self._key(f"base:{source_id}")

    def chunk(self, source_id: str) -> str:
        """Hash: tiles of the fresh events of a hot source.

        `tiles` as in a base, of the `events` from the base's cut up to `hi`, for the catalog `version`.
        """
        return self._key(f"chunk:{source_id}")

    def rank(self, profile_id: str) -> str:
        """Where a profile stands among all as of the snapshot: each `percent_rank` that the catalog reads."""
        return self._key(f"rank:{profile_id}")

    def ident(self, identifier: str) -> str:
        """Profile id of an identifier, which is written `<kind>:<value>`."""
        return self._key(f"ident:{identifier}")

    @staticmethod
    def each(key: Callable[[str], str], ids: Iterable[str]) -> list[str]:
        """The keys of many sources, profiles or identifiers, a method of this class given."""
        beginning = key("")
        return [beginning + each for each in ids]

    @property
    def watched(self) -> tuple[str, ...]:
        """Prefixes of the keys that change what a decision answers; none is the beginning of another.

        Bases, chunks and ranks are not among them: they change with the snapshot, and bases and chunks only say in
        another way what fresh events said.
        """
        names = ("fresh:", "profile:", "ident:", "apikeys", "identity")
        return (*(self._key(name) for name in names), *self.watched_by_all)

    @property
    def watched_by_all(self) -> tuple[str, ...]:
        """Those of them that every decision of the project reads."""
        return tuple(self._key(name) for name in ("catalog:", "snapshot", "loading", "calendar"))

    @property
    def pattern(self) -> str:
        """Glob for SCAN that matches the keys of this project and no others."""
        return self._pattern("*")

    @property
    def profiles_pattern(self) -> str:
        """The same for the keys of profiles."""
        return self._pattern("profile:*")

    def _pattern(self, rest: str) -> str:
        escaped = _GLOB.sub(r"\\\1", self.project)
        return f"{{{escaped}}}:{rest}"

    def _key(self, name: str) -> str:
        return f"{{{self.project}}}:{name}"
