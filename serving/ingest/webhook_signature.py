"""Signatures of webhooks: Standard Webhooks, and the plain form that many senders have.

Standard Webhooks: `webhook-id`, `webhook-timestamp` (epoch seconds) and `webhook-signature`, one or more `v1,<base64>`
separated by spaces: HMAC-SHA256 over `<id>.<timestamp>.<body>` with the bytes that follow `whsec_` in base64.
The plain form: `X-Webhook-Signature: sha256=<hex>`, HMAC-SHA256 over the body, the whole text of the secret as key.
"""

import base64
import binascii
import hmac
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal

from dsl.failure import Failure

TOLERANCE_S: Final = 300
"""How far `webhook-timestamp` may lie from now, in both directions, inclusive."""

_PREFIX: Final = "whsec_"
_MOST_SIGNATURES: Final = 10
_LONGEST_STAMP: Final = 15


class SignatureError(Failure):
    """A body that nobody with the secret is known to have sent.

    Attributes:
        code: what is wrong, for machines.
    """

    def __init__(
        self, code: Literal["no_secret", "signature_missing", "timestamp_invalid", "signature_invalid"], text: str
    ) -> None:
        self.code = code
        super().__init__(text)


def verify(headers: Mapping[str, str], body: bytes, secrets: Sequence[str], now_s: int) -> None:
    """Lets a body pass that was signed with one of the secrets.

    Args:
        headers: names in any case.
        body: as it came over the wire.
        secrets: those that work, as people copied them.
        now_s: wall time, epoch seconds.

    Raises:
        SignatureError: it was not, or nobody can tell.
    """
    given = {name.lower(): value for name, value in headers.items()}
    if not secrets:
        raise SignatureError("no_secret", "the pipeline has no secret: `tinycdp pipelines secret KEY` makes one")
    if "webhook-signature" in given:
        signed = _signed(given, body, now_s)
        expected = (b"v1," + base64.b64encode(_mac(_key(secret), signed)) for secret in secrets)
        written = given["webhook-signature"].split()[:_MOST_SIGNATURES]
    elif "x-webhook-signature" in given:
        expected = (b"sha256=" + _mac(secret.encode(), body).hex().encode() for secret in secrets)
        written = [given["x-webhook-signature"].strip().lower()]
    else:
        forms = "`webhook-id`, `webhook-timestamp` and `webhook-signature`, or `X-Webhook-Signature`"
        raise SignatureError("signature_missing", f"the body is not signed: send {forms}")
    if not _any_equal(expected, [text.encode() for text in written]):
        raise SignatureError("signature_invalid", "the signature is not that of this body with the pipeline's secret")


def sign(secret: str, message_id: str, timestamp_s: int, body: bytes) -> str:
    """The value of `webhook-signature` for a body.

    >>> sign("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_1", 1614265330, b'{"test": 2432232314}')[:3]
    'v1,'
    """
    signed = f"{message_id}.{timestamp_s}.".encode() + body
    return "v1," + base64.b64encode(_mac(_key(secret), signed)).decode()


def _signed(given: Mapping[str, str], body: bytes, now_s: int) -> bytes:
    """The text that Standard Webhooks signs."""
    message_id, stamp = given.get("webhook-id", ""), given.get("webhook-timestamp", "")
    if not message_id or not stamp:
        raise SignatureError("signature_missing", "`webhook-signature` needs `webhook-id` and `webhook-timestamp`")
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= _LONGEST_STAMP):
        raise SignatureError("timestamp_invalid", f"`webhook-timestamp` is no count of seconds: `{stamp[:40]}`")
    if abs(now_s - int(stamp)) > TOLERANCE_S:
        raise SignatureError(
            "timestamp_invalid",
            f"`webhook-timestamp` is more than {TOLERANCE_S // 60} minutes from now: look at the clocks",
        )
    return f"{message_id}.{stamp}.".encode() + body


def _key(secret: str) -> bytes:
    text = secret.removeprefix(_PREFIX)
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except binascii.Error:
        return secret.encode()


def _mac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _any_equal(expected: Iterable[bytes], written: Sequence[bytes]) -> bool:
    """Whether any is equal to any; which of them is, takes no other time."""
    found = False
    for one in expected:
        for other in written:
            found |= hmac.compare_digest(one, other)
    return found
