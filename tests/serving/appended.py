"""What appending leaves in a store, in the words of the replay."""

from typing import Any

import redis

from dsl.identifiers import profile_id
from dsl.identity import Identities
from dsl.identity_records import Profile
from serving.online import Item, body_digest
from serving.online.keys import Keys

ANN, BOB, VISITOR = (profile_id(each) for each in ("user:ann", "user:bob", "anon:a"))
NOW = 1_700_000_000_000


def event(event_id: str, *identifiers: str, body: str = "{}", previous: str | None = None) -> Item:
    """An event that says nothing but who it is about."""
    return Item(event_id, body, body_digest(body), identifiers, previous)


def stored(client: redis.Redis, project: str) -> tuple[dict[str, Profile], dict[str, str], dict[str, str]]:
    """What the store has: profiles, the profile of each identifier, and what ids without a profile began with."""
    keys, profiles, retired = Keys(project), dict[str, Profile](), dict[str, str]()
    for key in client.scan_iter(match=keys.profile("*"), count=1_000):
        fields: dict[Any, Any] = client.hgetall(key)
        name = key.removeprefix(keys.profile(""))
        members = {member: int(seq) for member, seq in fields.items() if ":" in member}
        if members:
            profiles[name] = Profile(name, fields["first"], int(fields["since"]), members)
        else:
            retired[name] = fields["first"]
    names = list(client.scan_iter(match=keys.ident("*"), count=1_000))
    found: list[Any] = client.mget(names) if names else []
    return profiles, {name.removeprefix(keys.ident("")): at for name, at in zip(names, found, strict=True)}, retired


def computed(known: Identities) -> tuple[dict[str, Profile], dict[str, str], dict[str, str]]:
    """The same as a replay has them."""
    profiles = {profile.profile_id: profile for profile in known.profiles()}
    return profiles, {member: each.profile_id for each in profiles.values() for member in each.members}, known.retired()


def dump(client: redis.Redis, project: str) -> dict[str, object]:
    """Every key of the project with its content."""
    found: dict[str, object] = {}
    for key in client.scan_iter(match=Keys(project).pattern, count=1_000):
        kind = client.type(key)
        found[key] = (
            client.hgetall(key) if kind == "hash" else client.xrange(key) if kind == "stream" else client.get(key)
        )
    return found
