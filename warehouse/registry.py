"""The registry: projects, keys, catalog versions and the lake's manifest, shared by all processes of a home."""

import json
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from types import TracebackType
from typing import Any, Final, Literal, Self

from sqlalchemy import Connection, RowMapping, Select, Table, Text, cast, func, select
from sqlalchemy.exc import OperationalError

from dsl import apikeys
from dsl.apikeys import KeyKind
from dsl.clock import Zone
from dsl.observed import Seen, Sighting
from warehouse import bulk_batches as bulk_table
from warehouse import observed_names as observed_table
from warehouse import replaced_files as replaced_table
from warehouse import webhook_secrets as webhook_table
from warehouse.exceptions import RegistryError, UnknownProject
from warehouse.records import ApiKey, CatalogVersion, DeadLetter, IdentityRecord, LakeFile, LakePaths, NewKey, Project
from warehouse.registry_tables import (
    api_keys,
    bulk_loads,
    catalog_versions,
    dead_letters,
    identity_records,
    lake_files,
    lock_project,
    log_positions,
    observed_names,
    open_engine,
    projects,
    replaced_files,
    webhook_secrets,
)
from warehouse.webhook_secrets import OVERLAP_MS, WebhookSecret

UNAVAILABLE: Final = (OperationalError, OSError)
"""What its methods raise when the database is away, full, or kept by somebody else for too long."""
_PROJECT_KEY = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_OF_A_PROJECT = (
    replaced_files,
    api_keys,
    bulk_loads,
    catalog_versions,
    dead_letters,
    identity_records,
    lake_files,
    log_positions,
    observed_names,
    webhook_secrets,
)
_FILE_COLUMNS = tuple(column for column in lake_files.c if column.name != "columns")
_VERSION_COLUMNS = (catalog_versions.c.number, catalog_versions.c.digest, catalog_versions.c.created_at_ms)


class Registry:
    """Projects, keys, catalog versions and the lake's manifest; every write is one transaction.

    Any number of processes may hold one. Instants are wall time, epoch milliseconds.

    Raises:
        UnknownProject: from every method that takes a project and writes, when there is none of that key.

    >>> with Registry("sqlite://") as registry:
    ...     shop = registry.create_project("shop", timezone="America/New_York")
    ...     registry.current_catalog("shop"), registry.max_seq("shop"), shop.zone.day(1_514_779_281_000)
    (None, 0, 17531)
    """

    def __init__(self, url: str) -> None:
        self._engine = open_engine(url)
        self._reader = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Give connections back; the registry opens new ones when it is used again."""
        self._engine.dispose()

    # Projects

    def create_project(self, key: str, timezone: str = "UTC", clock_offset_ms: int = 0) -> Project:
        """Make a project.

        Args:
            key: 1 to 63 of `a-z`, `0-9`, `_`, `-`, the first a letter or digit; it names folders and keys of Redis.
            timezone: IANA name of the zone whose calendar the project's days follow.
            clock_offset_ms: wall time minus the project's now.

        Raises:
            RegistryError: the key is taken or not allowed, or there is no such zone.
        """
        if not _PROJECT_KEY.fullmatch(key):
            raise RegistryError(f"project key `{key}` is not allowed: use 1 to 63 of a-z, 0-9, `_` and `-`")
        try:
            project = Project(key, Zone(timezone).name, clock_offset_ms, _wall_ms())
        except ValueError as error:
            raise RegistryError(str(error)) from None
        with self._engine.begin() as connection:
            if lock_project(connection, key):
                raise RegistryError(f"project `{key}` is there already: choose another key, or delete it first")
            connection.execute(projects.insert(), _row(projects, project))
        return project

    def project(self, key: str) -> Project:
        """The project of that key.

        Raises:
            UnknownProject: there is none.
        """
        found = self._rows(select(projects).where(projects.c.key == key))
        if not found:
            raise UnknownProject(f"there is no project `{key}`: {self._known_projects()}")
        return Project(**found[0])

    def projects(self) -> tuple[Project, ...]:
        """All projects, by key."""
        return tuple(Project(**row) for row in self._rows(select(projects).order_by(projects.c.key)))

    def delete_project(self, project: str) -> None:
        """Forget a project with its keys, catalog versions and manifest; files of the lake stay where they are."""
        with self._engine.begin() as connection:
            self._lock(connection, project)
            for table in _OF_A_PROJECT:
                connection.execute(table.delete().where(table.c.project == project))
            connection.execute(projects.delete().where(projects.c.key == project))

    # Keys

    def create_key(self, project: str, kind: KeyKind, label: str = "") -> NewKey:
        """Make a key; its text is in the answer and nowhere else."""
        plain = apikeys.new_key(kind)
        row = {"project": project, "kind": kind, "label": label, "digest": apikeys.digest(plain)}
        with self._engine.begin() as connection:
            self._lock(connection, project)
            made = (
                connection.execute(api_keys.insert().returning(*api_keys.c), row | {"created_at_ms": _wall_ms()})
                .mappings()
                .one()
            )
            return NewKey(plain, ApiKey(**made))

    def keys(self, project: str) -> tuple[ApiKey, ...]:
        """Keys of a project in the order they were made, revoked ones too."""
        found = self._rows(select(api_keys).where(api_keys.c.project == project).order_by(api_keys.c.id))
        return tuple(ApiKey(**row) for row in found)

    def revoke_key(self, key_id: int) -> ApiKey:
        """End a key; one that has ended already keeps its instant.

        Raises:
            RegistryError: there is no key of that id.
        """
        its_row = api_keys.c.id == key_id
        ended = func.coalesce(api_keys.c.revoked_at_ms, _wall_ms())
        change = api_keys.update().where(its_row).values(revoked_at_ms=ended).returning(*api_keys.c)
        with self._engine.begin() as connection:
            row = connection.execute(change).mappings().first()
        if row is None:
            raise RegistryError(f"there is no key {key_id}: list the keys of the project to see their ids")
        return ApiKey(**row)

    # Catalog versions

    def save_catalog(self, project: str, document: Mapping[str, Any], digest: str) -> CatalogVersion:
        """Make a document the current catalog; one equal to the current is not written again.

        Args:
            project: key of the project.
            document: `Catalog.to_document()`.
            digest: `Catalog.digest()`; equal digests are equal catalogs.
        """
        with self._engine.begin() as connection:
            self._lock(connection, project)
            newest = connection.execute(_versions(project, *_VERSION_COLUMNS).limit(1)).mappings().first()
            if newest is not None and newest["digest"] == digest:
                return CatalogVersion(**newest)
            version = CatalogVersion(newest["number"] + 1 if newest else 1, digest, _wall_ms(), created=True)
            row = _row(catalog_versions, version) | {"project": project, "document": dict(document)}
            connection.execute(catalog_versions.insert(), row)
        return version

    def current_catalog(self, project: str) -> tuple[int, dict[str, Any]] | None:
        """Version number and document of the current catalog; None before the first was saved."""
        statement = _versions(project, catalog_versions.c.number, catalog_versions.c.document).limit(1)
        return next(((row["number"], row["document"]) for row in self._rows(statement)), None)

    def catalog_versions(self, project: str) -> tuple[CatalogVersion, ...]:
        """All versions of a project, the newest (the current one) first."""
        return tuple(CatalogVersion(**row) for row in self._rows(_versions(project, *_VERSION_COLUMNS)))

    # The lake's manifest

    def add_files(
        self,
        files: Sequence[LakeFile],
        reserved: tuple[int, int] | None = None,
        seen: Mapping[Sighting, Seen] | None = None,
    ) -> None:
        """Bring files of a bulk load into being, all of them or none.

        Args:
            reserved: first and last `seq` of the load. What follows the newest cut at once moves it; a load that was
                reserved while the log went on is passed when the log lands.
            seen: what the events of these files, which are of one project, have held.

        Raises:
            RegistryError: a file reaches below what its project's manifest already holds.
        """
        with self._engine.begin() as connection:
            for project in sorted({file.project for file in files}):
                self._lock(connection, project)
                seq_lo = min(f.seq_lo for f in files if f.project == project)
                self._refuse_overlap(connection, project, seq_lo)
                first, last = reserved or (seq_lo, max(f.seq_hi for f in files if f.project == project))
                if _landed_seq(connection, project) == first - 1:
                    _write_landed_seq(connection, project, last)
                observed_table.add_observed(connection, project, seen or {})
            if files:
                connection.execute(lake_files.insert(), [_row(lake_files, file) for file in files])

    def add_batch(
        self,
        project: str,
        load: str,
        position: Mapping[str, Any],
        files: Sequence[LakeFile],
        reserved: tuple[int, int] | None,
        seen: Mapping[Sighting, Seen],
        letters: Sequence[DeadLetter],
    ) -> None:
        """Bring a batch of a bulk load into being, all or nothing: files as `add_files` does, dead letters, position.

        Args:
            position: what `load_position` gives for the load from here on, until `end_load`.
            reserved: None when there are no files.
        """
        with self._engine.begin() as connection:
            self._lock(connection, project)
            if reserved is not None:
                self._refuse_overlap(connection, project, reserved[0])
                if _landed_seq(connection, project) == reserved[0] - 1:
                    _write_landed_seq(connection, project, reserved[1])
                observed_table.add_observed(connection, project, seen)
                connection.execute(lake_files.insert(), [_row(lake_files, file) for file in files])
            bulk_table.keep_letters(connection, project, letters)
            bulk_table.keep_position(connection, project, load, position)

    def load_position(self, project: str, load: str) -> dict[str, Any] | None:
        """How far a bulk load has come; None when it has not begun, or has ended."""
        with self._reader.connect() as connection:
            return bulk_table.read_position(connection, project, load)

    def end_load(self, project: str, load: str) -> None:
        """A bulk load is complete: the same files again are another load."""
        with self._engine.begin() as connection:
            bulk_table.forget_position(connection, project, load)

    def add_log(
        self,
        project: str,
        files: Sequence[LakeFile],
        records: Sequence[IdentityRecord],
        after: int,
        landed_seq: int,
        seen: Mapping[Sighting, Seen] | None = None,
    ) -> None:
        """Bring a stretch of the log into being, all of it or nothing, and move the newest cut.

        Args:
            after: where the stretch begins: the newest cut as it was read.
            landed_seq: the last `seq` of the stretch, which is the newest cut from here on.
            seen: what its events have held.

        Raises:
            RegistryError: somebody else has landed meanwhile.
        """
        with self._engine.begin() as connection:
            self._lock(connection, project)
            held = _landed_seq(connection, project)
            if held != after:
                raise RegistryError(
                    f"the log of `{project}` has landed up to {held} meanwhile, not {after}: land again"
                )
            if files:
                connection.execute(lake_files.insert(), [_row(lake_files, file) for file in files])
            if records:
                rows = [_row(identity_records, record) | {"project": project} for record in records]
                connection.execute(identity_records.insert(), rows)
            observed_table.add_observed(connection, project, seen or {})
            _write_landed_seq(connection, project, landed_seq)

    def landed_seq(self, project: str) -> int:
        """The newest cut: every record of the log up to it has landed; 0 when none has."""
        with self._reader.connect() as connection:
            return _landed_seq(connection, project)

    def identity_records(self, project: str) -> tuple[IdentityRecord, ...]:
        """Records of the log that are no events, by `seq`."""
        statement = select(identity_records).where(identity_records.c.project == project)
        columns = statement.with_only_columns(*(c for c in identity_records.c if c.name != "project"))
        return tuple(IdentityRecord(**row) for row in self._rows(columns.order_by(identity_records.c.seq)))

    def files(self, project: str, cut: int | None = None, after: int = 0) -> tuple[LakeFile, ...]:
        """Files of a project that may hold an event with `after < seq <= cut`, by `seq`; without a cut up to the last.

        They may hold earlier and later events too: readers filter by `seq`.
        """
        its_files = (lake_files.c.project == project) & (lake_files.c.seq_hi > after)
        # Most files have the same columns: each text is read once.
        statement = select(*_FILE_COLUMNS, cast(lake_files.c.columns, Text)).where(its_files)
        if cut is not None:
            statement = statement.where(lake_files.c.seq_lo <= cut)
        columns = cache(_columns)
        with self._reader.connect() as connection:
            rows = connection.execute(statement.order_by(lake_files.c.seq_lo)).all()
        return tuple(LakeFile(*(*row[:-1], columns(row[-1]))) for row in rows)

    def lake_paths(self, project: str, cut: int) -> LakePaths:
        """All files of `files` up to a cut, in no order: a refresh names them, and looks into few."""
        its_files = (lake_files.c.project == project) & (lake_files.c.seq_lo <= cut)
        paths = func.aggregate_strings(lake_files.c.path, "\n")
        with self._reader.connect() as connection:
            ((text, rows),) = connection.execute(select(paths, func.sum(lake_files.c.rows)).where(its_files)).all()
            kinds = connection.execute(select(cast(lake_files.c.columns, Text)).where(its_files).distinct()).all()
        return LakePaths(text or "", frozenset(name for (kind,) in kinds for name in _columns(kind)), rows or 0)

    def replace_files(self, project: str, old: Sequence[LakeFile], new: Sequence[LakeFile], at_ms: int) -> None:
        """Put files in the place of others that hold the same events; the old ones stay on disk until they are swept.

        Raises:
            RegistryError: an old one is not there any more.
        """
        with self._engine.begin() as connection:
            self._lock(connection, project)
            replaced_table.replace_files(connection, project, old, at_ms)
            connection.execute(lake_files.insert(), [_row(lake_files, file) for file in new])

    def replaced_files(self, project: str, until_ms: int | None = None) -> list[str]:
        """Paths of files that were replaced up to an instant (inclusive), all of them without one."""
        with self._reader.connect() as connection:
            return replaced_table.replaced_paths(connection, project, until_ms)

    def forget_replaced(self, project: str, paths: Sequence[str]) -> None:
        """Files that were replaced are gone."""
        with self._engine.begin() as connection:
            replaced_table.forget_replaced(connection, project, paths)

    def observed(self, project: str) -> set[Sighting]:
        """Everything that events of a project have held."""
        return set(self.seen(project))

    def seen(self, project: str) -> dict[Sighting, Seen]:
        """The same with how often and when, by name; what only an older version of this program saw has 0 times."""
        rows = self._rows(observed_table.observed_statement(project))
        return {
            Sighting(row["event"], row["path"], row["type"]): Seen(row["times"], row["first_ms"], row["last_ms"])
            for row in rows
        }

    # Secrets of webhooks

    def webhook_secrets(self, project: str) -> tuple[WebhookSecret, ...]:
        """The secrets of a project's pipelines, by pipeline."""
        with self._reader.connect() as connection:
            return webhook_table.read_webhook_secrets(connection, project)

    def rotate_webhook_secret(self, project: str, pipeline: str, overlap_ms: int = OVERLAP_MS) -> WebhookSecret:
        """A new secret; the one before, if there is one, works on for `overlap_ms`."""
        with self._engine.begin() as connection:
            self._lock(connection, project)
            return webhook_table.rotate_webhook_secret(connection, project, pipeline, _wall_ms(), overlap_ms)

    # Dead letters

    def add_dead_letters(self, project: str, letters: Iterable[DeadLetter]) -> None:
        """Keep events that were not accepted; one that is there already counts once more, and is open again."""
        with self._engine.begin() as connection:
            self._lock(connection, project)
            bulk_table.keep_letters(connection, project, letters)

    def dead_letters(
        self, project: str, *, status: str | None = "open", reason: str | None = None, after: int = 0, limit: int = 100
    ) -> tuple[DeadLetter, ...]:
        """Dead letters by id, those after an id; of every status, every reason when that is None."""
        statement = select(dead_letters).where(dead_letters.c.project == project, dead_letters.c.id > after)
        if status is not None:
            statement = statement.where(dead_letters.c.status == status)
        if reason is not None:
            statement = statement.where(dead_letters.c.reason == reason)
        return tuple(map(_dead_letter, self._rows(statement.order_by(dead_letters.c.id).limit(limit))))

    def dead_letter(self, project: str, letter_id: int) -> DeadLetter:
        """One of them.

        Raises:
            RegistryError: there is none of that id.
        """
        its_row = (dead_letters.c.project == project) & (dead_letters.c.id == letter_id)
        found = self._rows(select(dead_letters).where(its_row))
        if not found:
            raise RegistryError(f"there is no dead letter {letter_id}: list them to see their ids")
        return _dead_letter(found[0])

    def count_dead_letters(self, project: str) -> dict[tuple[str, str], int]:
        """How many there are of each status and reason."""
        columns = (dead_letters.c.status, dead_letters.c.reason)
        statement = select(*columns, func.count().label("letters")).where(dead_letters.c.project == project)
        return {(row["status"], row["reason"]): row["letters"] for row in self._rows(statement.group_by(*columns))}

    def close_dead_letters(self, project: str, ids: Iterable[int], status: Literal["replayed", "discarded"]) -> int:
        """Put letters away; how many of them were open."""
        open_ones = (dead_letters.c.project == project) & (dead_letters.c.status == "open")
        change = dead_letters.update().where(open_ones & dead_letters.c.id.in_(list(ids)))
        with self._engine.begin() as connection:
            return connection.execute(change.values(status=status, closed_at_ms=_wall_ms())).rowcount

    def events(self, project: str) -> int:
        """Events in the lake."""
        with self._reader.connect() as connection:
            return replaced_table.total_rows(connection, project)

    def max_seq(self, project: str) -> int:
        """Largest `seq` in the lake; 0 when nothing has landed."""
        with self._reader.connect() as connection:
            return _max_seq(connection, project)

    def _refuse_overlap(self, connection: Connection, project: str, seq_lo: int) -> None:
        held = _max_seq(connection, project)
        if seq_lo <= held:
            raise RegistryError(
                f"project `{project}` holds events up to seq {held}, so that seq {seq_lo} cannot be added: "
                "another process has landed meanwhile, or the store's counter is behind; land again"
            )

    def _lock(self, connection: Connection, project: str) -> None:
        if not lock_project(connection, project):
            raise UnknownProject(f"there is no project `{project}`: {self._known_projects()}")

    def _known_projects(self) -> str:
        keys = ", ".join(f"`{project.key}`" for project in self.projects())
        return f"there are {keys}" if keys else "none has been made yet"

    def _rows(self, statement: Select[Any]) -> Sequence[RowMapping]:
        with self._reader.connect() as connection:
            return connection.execute(statement).mappings().all()


def _columns(text: str) -> tuple[str, ...]:
    return tuple(json.loads(text))


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _row(table: Table, record: object) -> dict[str, Any]:
    """The columns of `table` that a record has a field for."""
    return {name: getattr(record, name) for name in table.c.keys() if hasattr(record, name)}  # noqa: SIM118  # a collection of columns


def _dead_letter(row: RowMapping) -> DeadLetter:
    return DeadLetter(**{name: value for name, value in row.items() if name not in ("project", "digest")})


def _versions(project: str, *columns: Any) -> Select[Any]:
    of_project = select(*columns).where(catalog_versions.c.project == project)
    return of_project.order_by(catalog_versions.c.number.desc())


def _landed_seq(connection: Connection, project: str) -> int:
    statement = select(log_positions.c.landed_seq).where(log_positions.c.project == project)
    return connection.execute(statement).scalar() or 0


def _write_landed_seq(connection: Connection, project: str, landed_seq: int) -> None:
    its_row = log_positions.c.project == project
    if connection.execute(log_positions.update().where(its_row).values(landed_seq=landed_seq)).rowcount == 0:
        connection.execute(log_positions.insert(), {"project": project, "landed_seq": landed_seq})


def _max_seq(connection: Connection, project: str) -> int:
    largest = select(func.max(lake_files.c.seq_hi)).where(lake_files.c.project == project)
    return connection.execute(largest).scalar() or 0
