"""Secrets by which senders sign what they send to a pipeline: made, rotated with an overlap, listed."""

import base64
import secrets
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import Connection, select

from warehouse.registry_tables import webhook_secrets

OVERLAP_MS: Final = 86_400_000
"""How long the secret before works beside a new one: senders are changed one after the other."""
_PREFIX: Final = "whsec_"
_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class WebhookSecret:
    """The secret of a pipeline; its texts are kept out of `repr` and so out of logs.

    Attributes:
        secret: `whsec_` and 32 random bytes in base64.
        created_at_ms: wall time, epoch milliseconds; so is `previous_until_ms`.
        previous: the one before, which works until `previous_until_ms`.
    """

    pipeline: str
    secret: str = field(repr=False)
    created_at_ms: int
    previous: str | None = field(default=None, repr=False)
    previous_until_ms: int | None = None

    @property
    def terms(self) -> tuple[tuple[str, int | None], ...]:
        """Each secret with the instant at which it ends; None is never."""
        before = () if self.previous is None else ((self.previous, self.previous_until_ms),)
        return ((self.secret, None), *before)

    def works_before(self, now_ms: int) -> bool:
        """Whether the secret before still works."""
        return self.previous is not None and now_ms < (self.previous_until_ms or 0)


def read_webhook_secrets(connection: Connection, project: str) -> tuple[WebhookSecret, ...]:
    """The secrets of a project, by pipeline."""
    its_rows = select(webhook_secrets).where(webhook_secrets.c.project == project)
    rows = connection.execute(its_rows.order_by(webhook_secrets.c.pipeline)).mappings()
    return tuple(WebhookSecret(**{name: row[name] for name in row if name != "project"}) for row in rows)


def rotate_webhook_secret(
    connection: Connection, project: str, pipeline: str, now_ms: int, overlap_ms: int = OVERLAP_MS
) -> WebhookSecret:
    """A new secret; the one before, if there is one, works on for `overlap_ms`, and the one before that ends.

    Who calls holds the lock of the project.
    """
    its_row = (webhook_secrets.c.project == project) & (webhook_secrets.c.pipeline == pipeline)
    before = connection.execute(select(webhook_secrets.c.secret).where(its_row)).scalar()
    made = WebhookSecret(pipeline, _new_secret(), now_ms, before, now_ms + overlap_ms if before else None)
    connection.execute(webhook_secrets.delete().where(its_row))
    names = ("pipeline", "secret", "created_at_ms", "previous", "previous_until_ms")
    connection.execute(webhook_secrets.insert(), {"project": project, **{name: getattr(made, name) for name in names}})
    return made


def _new_secret() -> str:
    return _PREFIX + base64.b64encode(secrets.token_bytes(_BYTES)).decode()
