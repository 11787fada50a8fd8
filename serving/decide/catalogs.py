"""The checked catalog of the current version, kept in this process: read and checked once a version."""

import asyncio

from dsl.catalog import Catalog
from dsl.check import check_catalog
from dsl.diagnostics import DefinitionError
from dsl.failure import Failure
from serving.online import Fold, OnlineReader

# The current version, and older ones that requests already under way may still ask for.
_VERSIONS_KEPT = 4


class CatalogUnusableError(Failure):
    """The catalog version that the store points to is not there or does not pass the checks of this program."""


class Catalogs:
    """Checked catalogs by version number; a version never changes, so nothing here can be stale."""

    def __init__(self, reader: OnlineReader) -> None:
        self._reader = reader
        self._checked: dict[int, Fold | CatalogUnusableError] = {}
        self._lock = asyncio.Lock()

    def known(self, version: int) -> Fold | None:
        """The same where it has been read, and can be used."""
        found = self._checked.get(version)
        return None if isinstance(found, CatalogUnusableError) else found

    async def get(self, version: int) -> Fold:
        """The catalog of a version, with the states of profiles; who comes while it is being checked waits for that.

        Raises:
            CatalogUnusableError: that version cannot be used.
        """
        found = self._checked.get(version)
        if found is None:
            async with self._lock:
                found = self._checked.get(version) or await self._check(version)
                self._keep(version, found)
        if isinstance(found, CatalogUnusableError):
            raise found
        return found

    def _keep(self, version: int, found: Fold | CatalogUnusableError) -> None:
        self._checked[version] = found
        while len(self._checked) > _VERSIONS_KEPT:
            del self._checked[next(iter(self._checked))]

    async def _check(self, version: int) -> Fold | CatalogUnusableError:
        document = await self._reader.catalog(version)
        if document is None:
            raise CatalogUnusableError(f"catalog version {version} is not in the online store: publish it again")
        try:
            # Large catalogs take a while: other requests must not wait for it.
            return await asyncio.to_thread(lambda: Fold(check_catalog(Catalog.from_document(document))))
        except (DefinitionError, KeyError, TypeError) as error:
            return CatalogUnusableError(
                f"catalog version {version} cannot be used ({type(error).__name__}): it was written by another version"
                " of TinyCDP, apply the definitions again"
            )
