"""Where dead letters go: the registry, opened when the first one comes."""

import asyncio
import importlib
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal

from dsl.failure import Failure
from warehouse.exceptions import UnknownProject
from warehouse.records import DeadLetter
from warehouse.settings import Settings

_REGISTRY: Final = "warehouse.registry"
"""Loaded by name: a process that takes in good events only never loads a database driver."""


class LettersUnavailableError(Failure):
    """Dead letters cannot be kept: nothing of the request may be answered as done."""


class UnknownLetterError(Failure):
    """There is no dead letter of that id."""


class Letters:
    """The dead letters of a project, written from a thread of their own."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._registry: Any = None

    async def keep(self, letters: Sequence[DeadLetter]) -> None:
        """Write letters; they are on disk when this returns.

        Raises:
            LettersUnavailableError: the registry cannot be written.
        """
        await self._run(lambda registry: registry.add_dead_letters(self._settings.project, letters))

    async def listed(self, *, status: str | None, reason: str | None, after: int, limit: int) -> tuple[DeadLetter, ...]:
        """As `Registry.dead_letters`."""
        wanted = {"status": status, "reason": reason, "after": after, "limit": limit}
        found = await self._run(lambda registry: registry.dead_letters(self._settings.project, **wanted))
        return tuple(found)

    async def chosen(self, ids: Sequence[int]) -> tuple[DeadLetter, ...]:
        """Letters by id.

        Raises:
            UnknownLetterError: there is none of an id.
        """
        project = self._settings.project
        try:
            found = await self._run(lambda registry: [registry.dead_letter(project, each) for each in ids])
        except Failure as error:
            raise UnknownLetterError(str(error)) from error
        return tuple(found)

    async def counts(self) -> dict[tuple[str, str], int]:
        """As `Registry.count_dead_letters`."""
        found = await self._run(lambda registry: registry.count_dead_letters(self._settings.project))
        return dict(found)

    async def close(self, ids: Sequence[int], status: Literal["replayed", "discarded"]) -> int:
        """As `Registry.close_dead_letters`."""
        return int(await self._run(lambda registry: registry.close_dead_letters(self._settings.project, ids, status)))

    async def _run(self, work: Callable[[Any], Any]) -> Any:
        return await asyncio.to_thread(self._now, work)

    def _now(self, work: Callable[[Any], Any]) -> Any:
        module = importlib.import_module(_REGISTRY)
        if self._registry is None:
            self._registry = module.Registry(self._settings.registry_url)
        try:
            return work(self._registry)
        except (*module.UNAVAILABLE, UnknownProject) as error:
            raise LettersUnavailableError(
                f"dead letters cannot be kept ({type(error).__name__}): nothing of this request is done"
            ) from error
