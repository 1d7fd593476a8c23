"""
Keeps secrets out of what is written.
"""

import re
from collections.abc import Iterable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Final

BLOT: Final = "[secret]"
_SECRET_LENGTH_MIN: Final = 6
"""A shorter one is no secret, and blotting it out would spoil the text."""

SECRETS_MAX: Final = 1000
"""Different secrets that are remembered."""

_KEY_HEADERS: Final = (
    "api-key",
    "x-api-key",
    "ocp-apim-subscription-key",
    "x-goog-api-key",
)
_AUTHORIZATION_HEADERS: Final = ("authorization", "proxy-authorization")
_COOKIE_HEADERS: Final = ("cookie", "set-cookie")

_LOOKS_SECRET: Final = re.compile(
    r"\bsk-[A-Za-z0-9_-]{16,}|\bwhsec_[A-Za-z0-9+/=_-]{16,}"
    r"|(?<=\bBearer )[A-Za-z0-9._~+/=-]{16,}"
)


def secrets_in(headers: Mapping[str, str]) -> set[str]:
    """
    Return the secrets that the headers of a request or an answer carry.
    """
    found: set[str] = set()
    for name, value in headers.items():
        lowered = name.lower()
        if lowered in _AUTHORIZATION_HEADERS:
            found |= {value, value.partition(" ")[2].strip()}
        elif lowered in _KEY_HEADERS:
            found.add(value)
        elif lowered in _COOKIE_HEADERS:
            found |= _cookies_in(value)
    return {secret for secret in found if len(secret) >= _SECRET_LENGTH_MIN}


def _cookies_in(text: str) -> set[str]:
    try:
        return {morsel.value for morsel in SimpleCookie(text).values()}
    except CookieError:
        return {part.partition("=")[2].strip() for part in text.split(";")}


class Redactor:
    """
    Blots out what it knows to be secret, and what looks so.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        # The longest first: one may hold another.
        known = sorted(set(secrets), key=len, reverse=True)
        self._known = [secret for secret in known if secret]

    def __call__(self, text: str) -> str:
        """
        Return the text without secrets.
        """
        for secret in self._known:
            if secret in text:
                text = text.replace(secret, BLOT)
        return _LOOKS_SECRET.sub(BLOT, text)
