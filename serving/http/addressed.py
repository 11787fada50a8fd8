"""Whom one text names, where a protocol has a single place for it: OFREP's targeting key, the path of a user."""

from dsl.identifiers import KINDS, identifiers


def addressed(text: str) -> str | None:
    """The identifier that a text stands for; None when it stands for nobody.

    `<kind>:<value>` with a kind that identifiers are kept by; any other text is a user's own id, which may be the id of
    a profile. So a user whose id is `anon:7` is `user:anon:7`.

    >>> [addressed(text) for text in ("208", "anon:k-7", "sso:9", "user:anon:7", "anon:", "null")]
    ['user:208', 'anon:k-7', 'user:sso:9', 'user:anon:7', None, None]
    """
    kind = next((kind for kind in KINDS if text.startswith(f"{kind}:")), None)
    found = identifiers({"user": text} if kind is None else {kind: text.partition(":")[2]})
    return found[0] if found else None
