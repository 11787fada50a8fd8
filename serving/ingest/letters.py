"""Where dead letters go: the registry, opened when the first one comes."""

import asyncio
import importlib
from collections.abc import Callable, Sequence
from typing import Any, Final

from dsl.failure import Failure
from warehouse.records import DeadLetter
from warehouse.settings import Settings

_REGISTRY: Final = "warehouse.registry"
"""Loaded by name: a process that takes in good events only never loads a database driver."""


class LettersUnavailableError(Failure):
    """Dead letters cannot be kept: nothing of the request may be answered as done."""


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

    async def _run(self, work: Callable[[Any], Any]) -> Any:
        return await asyncio.to_thread(self._now, work)

    def _now(self, work: Callable[[Any], Any]) -> Any:
        module = importlib.import_module(_REGISTRY)
        if self._registry is None:
            self._registry = module.Registry(self._settings.registry_url)
        try:
            return work(self._registry)
        except module.UNAVAILABLE as error:
            raise LettersUnavailableError(
                f"dead letters cannot be kept ({type(error).__name__}): nothing of this request is done"
            ) from error
