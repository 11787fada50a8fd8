"""Records of the log that are no events, as the text that the log and the registry keep: settings, un-merges, erasures.

`append.lua` reads the settings too, with the blocked values as they are met in identifiers.
"""

from typing import Final

import msgspec

from dsl.identity_records import Erasure, IdentitySettings, SettingsChange, Unmerge

IDENTITY_TYPES: Final = ("settings", "unmerge", "erasure")
"""Types of records that are no events and say who is who."""


def pack_settings(settings: IdentitySettings) -> str:
    """The settings as `unpack_settings` and `append.lua` read them."""
    return msgspec.json.encode(
        {
            "max_user_ids_per_profile": settings.max_user_ids_per_profile,
            "max_identifiers_per_profile": settings.max_identifiers_per_profile,
            "blocked_values": sorted(settings.blocked_values),
            "blocked": sorted(settings.blocked),
            "email_from_traits": settings.email_from_traits,
        }
    ).decode()


def unpack_settings(packed: str) -> IdentitySettings:
    """The settings that `pack_settings` wrote; what an older text does not say has its default.

    >>> unpack_settings('{"max_user_ids_per_profile": 2}') == IdentitySettings(max_user_ids_per_profile=2)
    True
    >>> unpack_settings(pack_settings(IdentitySettings(blocked_values=frozenset({"kiosk"})))).blocks("anon:KIOSK")
    True
    """
    return msgspec.json.decode(packed, type=IdentitySettings)


def pack_identity(record: Unmerge | Erasure) -> str:
    """The record as the log holds it, without its `seq` and type.

    >>> pack_identity(Unmerge(7, "user:ann", "anon:a"))
    '{"one":"user:ann","other":"anon:a"}'
    """
    if isinstance(record, Unmerge):
        return msgspec.json.encode({"one": record.one, "other": record.other}).decode()
    return msgspec.json.encode({"profile_id": record.profile_id}).decode()


def read_identity(seq: int, kind: str, text: str) -> SettingsChange | Unmerge | Erasure:
    """The record of one of `IDENTITY_TYPES` that `pack_settings` or `pack_identity` wrote.

    >>> read_identity(7, "erasure", '{"profile_id":"p"}')
    Erasure(seq=7, profile_id='p')
    """
    if kind == "settings":
        return SettingsChange(seq, unpack_settings(text))
    said = msgspec.json.decode(text, type=dict[str, str])
    return Unmerge(seq, said["one"], said["other"]) if kind == "unmerge" else Erasure(seq, said["profile_id"])
