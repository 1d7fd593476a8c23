"""
Signatures: every vector, and what a secret never shows.
"""

import base64
import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from harness.errors import HarnessError, SignatureError, TimestampError, UsageError
from harness.webhooks import Secret, sign, sign_article, verify, verify_article

VECTORS = json.loads(
    (Path(__file__).parent / "vectors" / "webhook_vectors.json").read_text()
)["vectors"]
SECRET = Secret.parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
OTHER = Secret.parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
NOW_S = 1_614_265_330


def of_scheme(start: str) -> list[Any]:
    """
    Return the vectors of a family of schemes.
    """
    return [
        pytest.param(vector, id=vector["name"])
        for vector in VECTORS
        if vector["scheme"].startswith(start)
    ]


def body_of(vector: dict[str, Any]) -> bytes:
    """
    Return the bytes of a vector.
    """
    if "body_repeat" in vector:
        repeat = vector["body_repeat"]
        return str(repeat["char"]).encode() * int(repeat["count"])
    return str(vector["body"]).encode()


def headers_of(vector: dict[str, Any]) -> dict[str, str]:
    """
    Return the headers of a vector, the one with 2,000 signatures included.
    """
    if vector["headers"] is not None:
        return dict(vector["headers"])
    digests = (
        hashlib.sha256(number.to_bytes(2, "big")).digest() for number in range(2000)
    )
    return {
        "webhook-id": vector["id"],
        "webhook-timestamp": vector["timestamp"],
        "webhook-signature": " ".join(
            f"v1,{base64.b64encode(digest).decode()}" for digest in digests
        ),
    }


def signed(body: bytes = b"{}", *, at_s: int = NOW_S) -> dict[str, str]:
    """
    Return headers that verify.
    """
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(at_s),
        "webhook-signature": sign("msg_1", at_s, body, secrets=[SECRET]),
    }


@pytest.mark.parametrize("vector", of_scheme("standard-webhooks"))
def test_judges_every_vector(vector: dict[str, Any]) -> None:
    """
    The verifier accepts and refuses exactly what the vectors say.
    """
    try:
        message = verify(
            headers_of(vector),
            body_of(vector),
            secrets=[Secret.parse(vector["secret"])],
            now_s=vector["now"],
            tolerance_s=vector["tolerance"],
        )
    except (SignatureError, UsageError):
        is_valid = False
    else:
        is_valid = True
        assert message.message_id == vector["id"]

    assert is_valid is vector["valid"]


@pytest.mark.parametrize("vector", of_scheme("body-hmac"))
def test_judges_the_articles_vector(vector: dict[str, Any]) -> None:
    """
    The article's signature is made and checked as the article does it.
    """
    body, secret = body_of(vector), Secret.plain(vector["secret"])

    assert sign_article(body, secret=secret) == vector["signature"]
    headers = {"X-Webhook-Signature": vector["signature"]}
    verify_article(headers, body, secrets=[OTHER, secret])
    with pytest.raises(SignatureError):
        verify_article(headers, body + b" ", secrets=[secret])


def test_the_article_names_a_message_by_its_body() -> None:
    """
    The article sends no id: the same body is the same message, another is another.
    """

    def name(body: bytes) -> str:
        headers = {"x-webhook-signature": sign_article(body, secret=SECRET)}
        return verify_article(headers, body, secrets=[SECRET]).message_id

    assert name(b"{}") == name(b"{}")
    assert name(b"{}") != name(b"[]")


@given(body=st.binary(max_size=200), at_s=st.integers(0, 10**12 - 1))
def test_what_is_signed_verifies(body: bytes, at_s: int) -> None:
    """
    Any body at any time verifies with the secret it was signed with, and no other.
    """
    headers = signed(body, at_s=at_s)

    assert verify(headers, body, secrets=[SECRET], now_s=at_s).timestamp_s == at_s
    with pytest.raises(SignatureError):
        verify(headers, body, secrets=[OTHER], now_s=at_s)
    with pytest.raises(SignatureError):
        verify(headers, body + b"\0", secrets=[SECRET], now_s=at_s)


def test_the_public_library_accepts_what_we_sign() -> None:
    """
    The reference library verifies our signature over the same bytes.
    """
    body = b'{"type":"function_call.completed"}'
    library = standardwebhooks.Webhook(SECRET.text)
    headers = signed(body)

    ours = headers["webhook-signature"].partition(",")[2]
    theirs = library.sign(
        "msg_1", datetime.fromtimestamp(NOW_S, UTC), body.decode()
    ).partition(",")[2]

    assert ours == theirs


def test_rotation_signs_with_and_accepts_any_live_secret() -> None:
    """
    During a rotation one request verifies with the old secret and with the new.
    """
    header = sign("msg_1", NOW_S, b"{}", secrets=[OTHER, SECRET])
    headers = signed() | {"webhook-signature": header}

    assert len(header.split(" ")) == 2
    for live in ([SECRET], [OTHER], [OTHER, SECRET]):
        verify(headers, b"{}", secrets=live, now_s=NOW_S)


@pytest.mark.parametrize(
    ("offset_s", "is_fresh"), [(-301, False), (-300, True), (300, True), (301, False)]
)
def test_the_tolerance_is_inclusive(offset_s: int, *, is_fresh: bool) -> None:
    """
    Three hundred seconds either way are accepted, one more is not.
    """
    headers = signed(at_s=NOW_S + offset_s)

    if is_fresh:
        verify(headers, b"{}", secrets=[SECRET], now_s=NOW_S)
    else:
        with pytest.raises(TimestampError):
            verify(headers, b"{}", secrets=[SECRET], now_s=NOW_S)


@pytest.mark.parametrize(
    "name", ["webhook-id", "webhook-timestamp", "webhook-signature"]
)
def test_refuses_missing_and_doubled_headers(name: str) -> None:
    """
    Each header is given exactly once, in whatever case.
    """
    shouted = {key.upper(): value for key, value in signed().items()}
    verify(shouted, b"{}", secrets=[SECRET], now_s=NOW_S)
    missing = {key: value for key, value in signed().items() if key != name}
    doubled = CIMultiDict(signed())
    doubled.add(name.title(), signed()[name])

    for headers in (missing, doubled):
        with pytest.raises(SignatureError):
            verify(headers, b"{}", secrets=[SECRET], now_s=NOW_S)


@pytest.mark.parametrize(
    "message_id", ["", "a.b", "a b", "a\r\nx: y", "é", "a" * 129, "../a"]
)
def test_signs_no_id_that_could_be_mistaken(message_id: str) -> None:
    """
    An id with dots, line ends or other surprises is refused when signing.
    """
    with pytest.raises(UsageError):
        sign(message_id, NOW_S, b"{}", secrets=[SECRET])


def test_signs_with_at_least_one_secret() -> None:
    """
    Nothing is sent unsigned.
    """
    with pytest.raises(UsageError):
        sign("msg_1", NOW_S, b"{}", secrets=[])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_c2hvcnQ=",
        "whsec_" + "A" * 100,
        "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS!",
        "whsk_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "whsec_é",
    ],
)
def test_refuses_bad_secrets_without_showing_them(text: str) -> None:
    """
    A secret that is empty, short, long or garbage is refused, unprinted.
    """
    with pytest.raises(UsageError) as refused:
        Secret.parse(text)

    tail = text.removeprefix("whsec_")
    assert not tail or tail not in str(refused.value)


def test_a_secret_is_never_shown() -> None:
    """
    Neither the text nor the key of a secret is in its representation.
    """
    shown = f"{SECRET!r} {SECRET} {[SECRET]}"

    assert "MfKQ" not in shown
    assert repr(SECRET.key) not in shown


def test_errors_show_no_secret() -> None:
    """
    What a refusal says is a word for the log, not the signature that was wanted.
    """
    with pytest.raises(HarnessError) as refused:
        verify(signed(b"x"), b"{}", secrets=[SECRET], now_s=NOW_S)

    assert str(refused.value) == "webhook signature refused: no_match"


@pytest.mark.parametrize(("others", "is_read"), [(15, True), (16, False)])
def test_so_many_signatures_are_read_and_no_more(others: int, *, is_read: bool) -> None:
    """
    Sixteen in all: a rotation needs two, and nobody is made to compute for ever.
    """
    headers = signed()
    wrong = " ".join([f"v1,{base64.b64encode(bytes(32)).decode()}"] * others)
    headers["webhook-signature"] = f"{wrong} {headers['webhook-signature']}"

    if is_read:
        verify(headers, b"{}", secrets=[SECRET], now_s=NOW_S)
        return
    with pytest.raises(SignatureError) as caught:
        verify(headers, b"{}", secrets=[SECRET], now_s=NOW_S)
    assert caught.value.reason == "malformed_signature"


@pytest.mark.parametrize(
    ("key_bytes", "is_fine"), [(23, False), (24, True), (64, True), (65, False)]
)
def test_a_key_has_24_to_64_bytes(key_bytes: int, *, is_fine: bool) -> None:
    """
    The bounds are inclusive.
    """
    text = f"whsec_{base64.b64encode(bytes(key_bytes)).decode()}"

    if is_fine:
        assert len(Secret.parse(text).key) == key_bytes
        return
    with pytest.raises(UsageError):
        Secret.parse(text)


def test_the_article_names_a_message_by_half_of_its_hash() -> None:
    """
    The name is the same in every process, and there is no time in it.
    """
    headers = {"x-webhook-signature": sign_article(b"{}", secret=SECRET)}

    verified = verify_article(headers, b"{}", secrets=[SECRET])

    wanted = hashlib.sha256(b"{}").hexdigest()[:32]
    assert verified.message_id == f"article_{wanted}"
    assert verified.timestamp_s == 0


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (" ", "malformed_signature"),
        ("v1,", "malformed_signature"),
        ("v1,====", "no_match"),
    ],
)
def test_a_header_without_a_signature_is_refused(header: str, reason: str) -> None:
    """
    Blank or empty, it says nothing that could match.
    """
    with pytest.raises(SignatureError) as caught:
        verify(
            signed() | {"webhook-signature": header},
            b"{}",
            secrets=[SECRET],
            now_s=NOW_S,
        )

    assert caught.value.reason == reason


def test_base64_is_read_strictly() -> None:
    """
    A signature or a key with other characters in between is another one, or none.
    """
    signature = signed()["webhook-signature"]
    padded = f"{signature[:10]}-_-_{signature[10:]}"

    with pytest.raises(SignatureError):
        verify(
            signed() | {"webhook-signature": padded},
            b"{}",
            secrets=[SECRET],
            now_s=NOW_S,
        )
    with pytest.raises(UsageError):
        Secret.parse(f"{SECRET.text[:10]}-_-_{SECRET.text[10:]}")
