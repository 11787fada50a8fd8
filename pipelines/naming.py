"""Keys, owners and descriptions of assets, as Dagster wants them written."""

import re

from dagster import AssetKey

from dsl.check import CheckedValue

_EMAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_TEAM = re.compile(r"[^A-Za-z0-9_.-]+")


def asset_key(project: str, *path: str) -> AssetKey:
    """`traits/<key>` and the like, under the project's key unless that is `default`.

    >>> asset_key("shop", "traits", "orders").to_user_string(), asset_key("default", "events").to_user_string()
    ('shop/traits/orders', 'events')
    """
    return AssetKey([*([] if project == "default" else [project]), *path])


def value_path(value: CheckedValue) -> tuple[str, str]:
    """`traits`, key or `segments`, key: also the name of its group."""
    return f"{value.kind}s", value.key


def owners(owner: str) -> list[str]:
    """An address stays; every other name is a team.

    >>> owners("ann@example.com"), owners("team:growth"), owners("Data & growth"), owners("")
    (['ann@example.com'], ['team:growth'], ['team:Data-growth'], [])
    """
    name = owner.removeprefix("team:").strip()
    if _EMAIL.fullmatch(name):
        return [name]
    team = _TEAM.sub("-", name).strip("-")
    return [f"team:{team}"] if team else []


def definition_description(description: str, expression: str) -> str:
    """What the author says, and the expression as code.

    >>> print(definition_description("Purchases ever", "events.purchase.count"))
    Purchases ever
    <BLANKLINE>
    ```
    events.purchase.count
    ```
    """
    return "\n\n".join(part for part in (description, f"```\n{expression}\n```") if part)
