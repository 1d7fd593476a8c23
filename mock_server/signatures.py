"""
Signatures of webhooks, as the mock signs and checks them.

Standard Webhooks: HMAC-SHA256 over ``id.timestamp.body``. The article's form, which
covers the body alone, is recognised too.
"""

import base64
import binascii
import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass

_PREFIX = "whsec_"
_VERSION = "v1"
_TIMESTAMP = re.compile(r"[1-9][0-9]{0,14}", re.ASCII)
_ARTICLE_HEADER = "x-webhook-signature"
_ARTICLE_PREFIX = "sha256="


class SecretError(ValueError):
    """
    A text that is no signing secret.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """
    What a look at a delivery's signature found.
    """

    is_verified: bool
    reason: str | None = None
    """Why not, in a few fixed words."""


def parse_secret(secret: str) -> bytes:
    """
    Return the key of a ``whsec_`` secret.

    Raises:
        SecretError: It is not ``whsec_`` and base64.
    """
    if not secret.startswith(_PREFIX):
        message = "a webhook secret starts with whsec_"
        raise SecretError(message)
    try:
        key = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        key = b""
    if not key:
        message = "a webhook secret is whsec_ and base64"
        raise SecretError(message)
    return key


def sign(*, message_id: str, timestamp: int, body: bytes, key: bytes) -> str:
    """
    Return the value of ``webhook-signature``.
    """
    signed = _bytes(f"{message_id}.{timestamp}.") + body
    digest = hmac.digest(key, signed, hashlib.sha256)
    return f"{_VERSION},{base64.b64encode(digest).decode()}"


def check(
    headers: Mapping[str, str],
    body: bytes,
    *,
    secret: str | None,
    now_s: float,
    tolerance_s: float,
) -> Check:
    """
    Say whether a delivery is signed as it should be.

    Args:
        headers: Looked up without regard to case.
        body: The very bytes that came in.
        secret: None cannot verify anything.
        now_s: Unix time.
        tolerance_s: How far the timestamp may be off, both ways.
    """
    if secret is None:
        reason: str | None = "no_secret"
    elif "webhook-signature" not in headers and _ARTICLE_HEADER in headers:
        reason = _article_reason(headers[_ARTICLE_HEADER], body, secret)
    else:
        reason = _standard_reason(headers, body, secret, now_s, tolerance_s)
    return Check(is_verified=reason is None, reason=reason)


def _standard_reason(
    headers: Mapping[str, str],
    body: bytes,
    secret: str,
    now_s: float,
    tolerance_s: float,
) -> str | None:
    message_id = headers.get("webhook-id")
    timestamp = headers.get("webhook-timestamp")
    signatures = headers.get("webhook-signature")
    if not message_id or timestamp is None or signatures is None:
        return "missing_headers"
    if not _TIMESTAMP.fullmatch(timestamp):
        return "bad_timestamp"
    wanted = sign(
        message_id=message_id,
        timestamp=int(timestamp),
        body=body,
        key=parse_secret(secret),
    )
    matches = [
        hmac.compare_digest(_bytes(given), wanted.encode())
        for given in signatures.split(" ")
    ]
    if not any(matches):
        return "bad_signature"
    if abs(now_s - int(timestamp)) > tolerance_s:
        return "stale_timestamp"
    return None


def _article_reason(signature: str, body: bytes, secret: str) -> str | None:
    keys = (secret.encode(), parse_secret(secret))
    wanted = [_ARTICLE_PREFIX + hmac.new(k, body, "sha256").hexdigest() for k in keys]
    if any(hmac.compare_digest(_bytes(signature), w.encode()) for w in wanted):
        return None
    return "bad_signature"


def _bytes(text: str) -> bytes:
    """
    Return a header's value as it stood on the wire.
    """
    return text.encode("utf-8", "surrogateescape")
