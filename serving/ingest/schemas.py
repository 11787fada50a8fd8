"""The schemas of pipelines as this process has them: read and compiled once a catalog version."""

from collections.abc import Mapping

from dsl.catalog import Catalog
from dsl.conformance import CompiledPipeline, compile_pipelines
from dsl.failure import Failure
from serving.online import OnlineReader


class SchemasUnusableError(Failure):
    """The catalog version that the store points to is not there, or was written by another version of this program."""


class Schemas:
    """Compiled pipelines of the newest catalog version that was asked for; a version never changes."""

    def __init__(self, reader: OnlineReader) -> None:
        self._reader = reader
        self._version = 0
        self._pipelines: Mapping[str, CompiledPipeline] = {}

    async def get(self, version: int) -> Mapping[str, CompiledPipeline]:
        """The pipelines of a catalog version by key; version 0 has none.

        Args:
            version: the current one, as `{p}:catalog:current` and `serving.online.project.read_facts` give it.

        Raises:
            SchemasUnusableError: that version cannot be used.
        """
        if version != self._version:
            pipelines = await self._read(version) if version else {}
            self._version, self._pipelines = version, pipelines
            return pipelines
        return self._pipelines

    async def _read(self, version: int) -> Mapping[str, CompiledPipeline]:
        document = await self._reader.catalog(version)
        if document is None:
            raise SchemasUnusableError(f"catalog version {version} is not in the online store: publish it again")
        try:
            return compile_pipelines(Catalog.from_document(document))
        except (KeyError, TypeError) as error:
            raise SchemasUnusableError(
                f"catalog version {version} cannot be used ({type(error).__name__}): apply the definitions again"
            ) from error
