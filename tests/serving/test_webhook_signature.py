"""Signatures of webhooks; the vectors were made with the package `standardwebhooks` 1.1.0."""

import hashlib
import hmac

import pytest

from serving.ingest.webhook_signature import TOLERANCE_S, SignatureError, sign, verify

SECRET, OTHER = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
BODY, NOW_S = b'{"test": 2432232314}', 1_614_265_330
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
HEADERS = {
    "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
    "webhook-timestamp": str(NOW_S),
    "webhook-signature": SIGNATURE,
}


def code(headers: dict[str, str], body: bytes = BODY, secrets: tuple[str, ...] = (SECRET,), now_s: int = NOW_S) -> str:
    """Why a body is refused; empty when it passes."""
    try:
        verify(headers, body, secrets, now_s)
    except SignatureError as error:
        return error.code
    return ""


def plain(secret: str, body: bytes = BODY) -> dict[str, str]:
    """The plain form of a signature."""
    return {"X-Webhook-Signature": f"sha256={hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()}"}


def test_vectors() -> None:
    """We sign as Standard Webhooks signs."""
    assert SIGNATURE == sign(SECRET, HEADERS["webhook-id"], NOW_S, BODY)
    expected = "v1,vG5wIFhcZR7RQF6t1SNE98aSzoTHDrLoD6bB0CDZm/k="
    assert expected == sign(OTHER, "msg_2", NOW_S, '{"name":"add","n":"é"}'.encode())
    (digest,) = plain(OTHER, b'{"name":"add"}').values()
    assert "sha256=23ef360d522a23e25d3cca9a8506d809ddb2515d7a443cdfdaca3b2773f797c5" == digest


@pytest.mark.parametrize(
    ("headers", "secrets"),
    [
        (HEADERS, (SECRET,)),
        ({name.title(): value for name, value in HEADERS.items()}, (SECRET,)),
        (HEADERS, (OTHER, SECRET)),
        ({**HEADERS, "webhook-signature": f"v1a,x v1,AAAA {SIGNATURE}"}, (SECRET,)),
        ({**HEADERS, **plain(OTHER)}, (SECRET,)),
        (plain(SECRET), (SECRET,)),
        (plain(SECRET), (OTHER, SECRET)),
        ({"x-webhook-signature": plain(SECRET)["X-Webhook-Signature"].upper()}, (SECRET,)),
    ],
)
def test_what_passes(headers: dict[str, str], secrets: tuple[str, ...]) -> None:
    """Any of several signatures by any of the secrets that work, names of headers in any case."""
    assert "" == code(headers, secrets=secrets)


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({}, "signature_missing"),
        ({**HEADERS, "webhook-id": ""}, "signature_missing"),
        ({k: v for k, v in HEADERS.items() if k != "webhook-timestamp"}, "signature_missing"),
        ({**HEADERS, "webhook-timestamp": "soon"}, "timestamp_invalid"),
        ({**HEADERS, "webhook-timestamp": "²"}, "timestamp_invalid"),
        ({**HEADERS, "webhook-timestamp": str(NOW_S + 1)}, "signature_invalid"),
        ({**HEADERS, "webhook-id": "msg_other"}, "signature_invalid"),
        ({**HEADERS, "webhook-signature": ""}, "signature_invalid"),
        ({**HEADERS, "webhook-signature": SIGNATURE.removeprefix("v1,")}, "signature_invalid"),
        ({**HEADERS, "webhook-signature": "v1,é"}, "signature_invalid"),
        ({**HEADERS, "webhook-signature": "v2" + SIGNATURE[2:], **plain(SECRET)}, "signature_invalid"),
        ({**HEADERS, "webhook-signature": "v1,x " * 10 + SIGNATURE}, "signature_invalid"),
        (plain(OTHER), "signature_invalid"),
        ({"x-webhook-signature": ""}, "signature_invalid"),
    ],
)
def test_what_does_not(headers: dict[str, str], refused: str) -> None:
    """Whatever is not signed with the secret is refused, with the reason; a weaker form does not make up for it."""
    assert refused == code(headers)


def test_other_body_other_secret_other_time() -> None:
    """A signature is for one body, one secret, and five minutes in both directions."""
    assert "signature_invalid" == code(HEADERS, BODY + b" ")
    assert "signature_invalid" == code(plain(SECRET), BODY + b" ")
    assert "signature_invalid" == code(HEADERS, secrets=(OTHER,))
    assert "no_secret" == code(HEADERS, secrets=())
    assert ["", "", "timestamp_invalid", "timestamp_invalid"] == [
        code(HEADERS, now_s=NOW_S + late) for late in (TOLERANCE_S, -TOLERANCE_S, TOLERANCE_S + 1, -TOLERANCE_S - 1)
    ]
