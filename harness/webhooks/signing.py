"""
Standard Webhooks signatures, made and checked.

What is signed is ``id.timestamp.body`` over the raw bytes, HMAC-SHA256. The verifier
is stricter than the public libraries: only digits make a timestamp, only whole base64
makes a signature, an id has no dot, and a header that is malformed anywhere proves
nothing.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Self

from harness.errors import SignatureError, TimestampError, UsageError
from harness.ids import MessageId

ID_HEADER: Final = "webhook-id"
TIMESTAMP_HEADER: Final = "webhook-timestamp"
SIGNATURE_HEADER: Final = "webhook-signature"
ARTICLE_HEADER: Final = "x-webhook-signature"

TOLERANCE_S: Final = 300.0
"""How old, or how far ahead, a timestamp may be; the bounds are inclusive."""

SIGNATURES_MAX: Final = 16
"""More signatures than this in one header are refused unread."""

KEY_BYTES_MIN: Final = 24
KEY_BYTES_MAX: Final = 64

_PREFIX: Final = "whsec_"
_ID: Final = re.compile(r"[A-Za-z0-9_\-]{1,128}", re.ASCII)
_TIMESTAMP: Final = re.compile(r"[0-9]{1,12}", re.ASCII)
_ENTRY: Final = re.compile(r"[A-Za-z0-9]{1,16},[A-Za-z0-9+/_=\-]{1,1024}", re.ASCII)
_ARTICLE: Final = re.compile(r"sha256=([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Secret:
    """
    A signing secret; it is never shown.
    """

    key: bytes = field(repr=False)
    """What the signature is made with."""

    text: str = field(repr=False)
    """As it was given; the article's format signs with these bytes."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """
        Return the secret that a ``whsec_…`` stands for.

        Raises:
            UsageError: It is not ``whsec_`` and base64 of 24 to 64 bytes.
        """
        key = b""
        if text.startswith(_PREFIX):
            try:
                key = base64.b64decode(text.removeprefix(_PREFIX), validate=True)
            except (binascii.Error, ValueError):
                key = b""
        if not KEY_BYTES_MIN <= len(key) <= KEY_BYTES_MAX:
            message = (
                f"a signing secret is {_PREFIX} and base64 of"
                f" {KEY_BYTES_MIN} to {KEY_BYTES_MAX} bytes"
            )
            # The text itself stays out of the message, and so out of every log.
            raise UsageError(message)
        return cls(key, text)

    @classmethod
    def plain(cls, text: str) -> Self:
        """
        Return a secret of any form, for the article's format only.

        Raises:
            UsageError: It is empty.
        """
        if not text:
            message = "a signing secret is not empty"
            raise UsageError(message)
        return cls(text.encode(), text)


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedMessage:
    """
    What a signature vouches for, beside the body.
    """

    message_id: MessageId
    timestamp_s: int


def sign(
    message_id: str, timestamp_s: int, body: bytes, *, secrets: Sequence[Secret]
) -> str:
    """
    Return the signature header: one signature per live secret.

    Raises:
        UsageError: The id could not be told apart from what follows it, or there is
            no secret.
    """
    if not _ID.fullmatch(message_id):
        message = f"webhook id {message_id!r} has characters that an id must not have"
        raise UsageError(message)
    if not secrets:
        message = "a webhook needs at least one signing secret"
        raise UsageError(message)
    digests = (_digest(message_id, str(timestamp_s), body, each) for each in secrets)
    return " ".join(f"v1,{base64.b64encode(digest).decode()}" for digest in digests)


def verify(
    headers: Mapping[str, str],
    body: bytes,
    *,
    secrets: Sequence[Secret],
    now_s: float,
    tolerance_s: float = TOLERANCE_S,
) -> VerifiedMessage:
    """
    Return what the headers say if any signature matches any secret.

    Args:
        headers: Of the request, names in any case; a multi-valued mapping may be
            given, so that doubled headers are seen.
        body: The raw bytes, before any decoding.
        secrets: Every live secret.
        now_s: The wall clock, in Unix seconds.
        tolerance_s: How far from it the timestamp may be.

    Raises:
        SignatureError: A header is missing, doubled or malformed, or nothing matches.
        TimestampError: The timestamp is outside the tolerance.
    """
    message_id = _single(headers, ID_HEADER)
    timestamp = _single(headers, TIMESTAMP_HEADER)
    signatures = _parse_signatures(_single(headers, SIGNATURE_HEADER))
    if not _ID.fullmatch(message_id):
        raise SignatureError(reason="malformed_id")
    if not _TIMESTAMP.fullmatch(timestamp):
        raise SignatureError(reason="malformed_timestamp")
    is_match = False
    for secret in secrets:
        wanted = _digest(message_id, timestamp, body, secret)
        for signature in signatures:
            # All pairs are tried even after a match, so that the time taken does
            # not tell which secret was used.
            is_match |= hmac.compare_digest(signature, wanted)
    if not is_match:
        raise SignatureError(reason="no_match")
    timestamp_s = int(timestamp)
    if abs(now_s - timestamp_s) > tolerance_s:
        raise TimestampError(reason="outside_tolerance")
    return VerifiedMessage(message_id=MessageId(message_id), timestamp_s=timestamp_s)


def sign_article(body: bytes, *, secret: Secret) -> str:
    """
    Return the article's signature header: over the body alone, with no id or time.
    """
    digest = hmac.new(secret.text.encode(), body, hashlib.sha256).hexdigest()
    return f"sha256={digest}"


def verify_article(
    headers: Mapping[str, str], body: bytes, *, secrets: Sequence[Secret]
) -> VerifiedMessage:
    """
    Check the article's signature, which can be replayed for ever.

    The message is named by its body: the same body is the same message.

    Raises:
        SignatureError: The header is missing, doubled or malformed, or does not match.
    """
    match = _ARTICLE.fullmatch(_single(headers, ARTICLE_HEADER))
    if match is None:
        raise SignatureError(reason="malformed_signature")
    given = f"sha256={match[1]}"
    is_match = False
    for secret in secrets:
        is_match |= hmac.compare_digest(given, sign_article(body, secret=secret))
    if not is_match:
        raise SignatureError(reason="no_match")
    name = hashlib.sha256(body).hexdigest()[:32]
    return VerifiedMessage(message_id=MessageId(f"article_{name}"), timestamp_s=0)


def _digest(message_id: str, timestamp: str, body: bytes, secret: Secret) -> bytes:
    signed = b".".join((message_id.encode(), timestamp.encode(), body))
    return hmac.digest(secret.key, signed, hashlib.sha256)


def _single(headers: Mapping[str, str], name: str) -> str:
    values = [value for key, value in headers.items() if key.lower() == name]
    if not values:
        raise SignatureError(reason=f"missing_{name}")
    if len(values) > 1:
        raise SignatureError(reason=f"doubled_{name}")
    return values[0]


def _parse_signatures(header: str) -> Sequence[bytes]:
    """
    Return the decoded ``v1`` signatures; other versions are skipped.
    """
    entries = [entry for entry in header.split(" ") if entry]
    if not entries or len(entries) > SIGNATURES_MAX:
        raise SignatureError(reason="malformed_signature")
    decoded = []
    for entry in entries:
        if not _ENTRY.fullmatch(entry):
            raise SignatureError(reason="malformed_signature")
        version, _, text = entry.partition(",")
        if version == "v1" and (signature := _decode(text)) is not None:
            decoded.append(signature)
    return decoded


def _decode(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
