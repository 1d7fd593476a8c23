"""
Signatures, against the public library and against what must be refused.
"""

import base64
import hashlib
import hmac
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks.webhooks import Webhook

from mock_server.signatures import SecretError, check, parse_secret, sign

KEY = b"0123456789abcdef0123456789abcdef"
SECRET = "whsec_" + base64.b64encode(KEY).decode()
NOW_S = 1_700_000_000
BODY = b'{"type":"function_call.completed"}'


def _headers(**changed: str | None) -> dict[str, str]:
    headers = {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(NOW_S),
        "webhook-signature": sign(
            message_id="msg_1", timestamp=NOW_S, body=BODY, key=KEY
        ),
    }
    for name, value in changed.items():
        header = "webhook-" + name
        headers.pop(header)
        if value is not None:
            headers[header] = value
    return headers


def _reason(headers: dict[str, str], body: bytes = BODY, now_s: float = NOW_S) -> str:
    found = check(headers, body, secret=SECRET, now_s=now_s, tolerance_s=300)
    assert found.is_verified is (found.reason is None)
    return found.reason or "verified"


@given(body=st.binary(max_size=200), timestamp=st.integers(1, 2**36))
def test_signs_as_the_public_library_does(body: bytes, timestamp: int) -> None:
    """
    The official implementation gives the same signature.
    """
    text = body.hex()
    theirs = Webhook(SECRET).sign("msg_1", datetime.fromtimestamp(timestamp, UTC), text)

    assert (
        sign(message_id="msg_1", timestamp=timestamp, body=text.encode(), key=KEY)
        == theirs
    )


@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        (_headers(), "verified"),
        (_headers(id=None), "missing_headers"),
        (_headers(signature=None), "missing_headers"),
        (_headers(timestamp=None), "missing_headers"),
        (_headers(id="msg_2"), "bad_signature"),
        (_headers(timestamp=str(NOW_S + 1)), "bad_signature"),
        (_headers(timestamp="+1700000000"), "bad_timestamp"),
        (_headers(timestamp="1_700_000_000"), "bad_timestamp"),
        (_headers(timestamp="17" + 8 * "\u0660"), "bad_timestamp"),
        (_headers(timestamp="1700000000.0"), "bad_timestamp"),
        (_headers(signature="v1,"), "bad_signature"),
        (_headers(signature="v1"), "bad_signature"),
    ],
)
def test_looks_closely(headers: dict[str, str], reason: str) -> None:
    """
    Only what is signed as it should be is verified; the reason says what is not.
    """
    assert _reason(headers) == reason


def test_accepts_any_of_several_signatures() -> None:
    """
    While a secret is rotated a message carries several signatures.
    """
    good = _headers()["webhook-signature"]

    assert _reason(_headers(signature=f"v1,AAAA v2,whatever {good}")) == "verified"


def test_covers_the_bytes() -> None:
    """
    The same JSON in other bytes is not what was signed.
    """
    assert _reason(_headers(), BODY + b" ") == "bad_signature"


@pytest.mark.parametrize(
    ("offset_s", "reason"),
    [
        (-301, "stale_timestamp"),
        (-300, "verified"),
        (300, "verified"),
        (301, "stale_timestamp"),
    ],
)
def test_keeps_to_the_tolerance(offset_s: int, reason: str) -> None:
    """
    The tolerance is the same both ways, its ends included.
    """
    assert _reason(_headers(), now_s=NOW_S + offset_s) == reason


def test_knows_the_article_s_form() -> None:
    """
    A signature over the body alone is verified where it is all there is.
    """
    digest = hmac.new(SECRET.encode(), BODY, hashlib.sha256).hexdigest()

    assert _reason({"x-webhook-signature": f"sha256={digest}"}) == "verified"
    assert _reason({"x-webhook-signature": "sha256=00"}) == "bad_signature"


@pytest.mark.parametrize("secret", ["", "plain", "whsec_", "whsec_!!!"])
def test_refuses_what_is_no_secret(secret: str) -> None:
    """
    A secret is ``whsec_`` and base64 of at least one byte.
    """
    with pytest.raises(SecretError):
        parse_secret(secret)
