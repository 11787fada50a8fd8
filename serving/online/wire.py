"""How snapshots, catalogs and ranks are written into the store. Private to this package."""

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec

from serving.online.snapshot import Snapshot

_encoder = msgspec.json.Encoder()
_snapshots = msgspec.json.Decoder(Snapshot)
_documents = msgspec.json.Decoder(dict[str, Any])
_ranks = msgspec.json.Decoder(dict[str, int])


def pack_snapshot(snapshot: Snapshot) -> bytes:
    """The snapshot as `unpack_snapshot` reads it."""
    return _encoder.encode(snapshot)


@lru_cache(maxsize=16)  # every decision reads the same one
def unpack_snapshot(packed: bytes) -> Snapshot:
    """The snapshot that `pack_snapshot` wrote."""
    return _snapshots.decode(packed)


def pack_catalog(document: Mapping[str, Any]) -> bytes:
    """The document of a catalog as `unpack_catalog` reads it."""
    return _encoder.encode(document)


def unpack_catalog(packed: str) -> Mapping[str, Any]:
    """The document that `pack_catalog` wrote."""
    return _documents.decode(packed)


def pack_ranks(ranks: Mapping[str, int]) -> bytes:
    """The ranks of a profile in micro-units, by their text, as `unpack_ranks` reads them."""
    return _encoder.encode(ranks)


def unpack_ranks(packed: bytes) -> Mapping[str, int]:
    """The ranks that `pack_ranks` wrote."""
    return _ranks.decode(packed)
