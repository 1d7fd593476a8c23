"""
Who asks: the trace and the key that a request's headers name.
"""

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from multidict import istr

_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
# Headers are found much sooner by names that know their own lower case.
_TRACEPARENT_NAME: Final = istr("traceparent")
_AUTHORIZATION_NAME: Final = istr("authorization")
_NO_TRACE: Final = "0" * 32
_KEYS_KNOWN_MAX: Final = 1024


def trace_id_of(headers: Mapping[str, str]) -> str | None:
    """
    Return the trace id of a well-formed ``traceparent``.
    """
    text = headers.get(_TRACEPARENT_NAME)
    if text is None:
        return None
    match = _TRACEPARENT.fullmatch(text)
    return match[1] if match and match[1] != _NO_TRACE else None


def api_key_of(headers: Mapping[str, str]) -> str | None:
    """
    Return the bearer key.
    """
    return _key_in(headers.get(_AUTHORIZATION_NAME, ""))


@lru_cache(_KEYS_KNOWN_MAX)
def _key_in(text: str) -> str | None:
    if text.startswith("Bearer "):
        return text[7:].strip() or None
    scheme, _, key = text.partition(" ")
    return key.strip() or None if scheme.lower() == "bearer" else None
