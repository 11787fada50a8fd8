"""How states, snapshots and catalogs are written into the store. Private to this package."""

from collections.abc import Mapping
from typing import Any

import msgspec

from dsl.state import State
from serving.online.snapshot import Snapshot

_Scalar = int | str | bool


class _Packed(msgspec.Struct, array_like=True, frozen=True):
    """A state without its profile id, which is in the key."""

    as_of_ms: int
    as_of_seq: int
    attributes: dict[str, object]
    aggregates: dict[str, int | str | bool | tuple[_Scalar, ...] | None]


_encoder = msgspec.json.Encoder()
_states = msgspec.json.Decoder(_Packed)
_snapshots = msgspec.json.Decoder(Snapshot)
_documents = msgspec.json.Decoder(dict[str, Any])


def pack_state(state: State) -> bytes:
    """The state as `unpack_state` reads it."""
    return _encoder.encode(
        _Packed(state.as_of_ms, state.as_of_seq, dict(state.attributes), dict(state.aggregates)),
    )


def unpack_state(profile_id: str, packed: str) -> State:
    """The state that `pack_state` wrote for this profile."""
    found = _states.decode(packed)
    return State(profile_id, found.as_of_ms, found.as_of_seq, found.attributes, found.aggregates)


def pack_snapshot(snapshot: Snapshot) -> bytes:
    """The snapshot as `unpack_snapshot` reads it."""
    return _encoder.encode(snapshot)


def unpack_snapshot(packed: str) -> Snapshot:
    """The snapshot that `pack_snapshot` wrote."""
    return _snapshots.decode(packed)


def pack_catalog(document: Mapping[str, Any]) -> bytes:
    """The document of a catalog as `unpack_catalog` reads it."""
    return _encoder.encode(document)


def unpack_catalog(packed: str) -> Mapping[str, Any]:
    """The document that `pack_catalog` wrote."""
    return _documents.decode(packed)
