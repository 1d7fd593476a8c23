"""
Keeps the API key of a request out of what is told of it.
"""

import re
from functools import lru_cache
from typing import Any, Final

from mock_server.surfaces.ports import SurfaceRequest

BLOT: Final = "[api key]"

_KEY_LENGTH_MIN: Final = 6
"""A shorter key is no secret, and blotting it out would spoil the text."""

_ESCAPE: Final = b"\\u"


def blotted(text: str, api_key: str | None) -> str:
    """
    Return a text without the key.
    """
    if api_key is None or len(api_key) < _KEY_LENGTH_MIN:
        return text
    if "\\u" in text:
        text = _escaped(api_key).sub(BLOT, text)
    return text.replace(api_key, BLOT) if api_key in text else text


@lru_cache(maxsize=64)
def _escaped(api_key: str) -> re.Pattern[str]:
    """
    Return what finds a key of which JSON may have escaped any character.
    """
    characters = (f"(?:{re.escape(c)}|\\\\u{ord(c):04x})" for c in api_key)
    return re.compile("".join(characters), re.IGNORECASE)


def blotted_value(value: Any, api_key: str | None) -> Any:
    """
    Return a value without the key in any of its texts.
    """
    match value:
        case str():
            return blotted(value, api_key)
        case dict():
            return {
                blotted_value(key, api_key): blotted_value(item, api_key)
                for key, item in value.items()
            }
        case list() | tuple():
            return [blotted_value(item, api_key) for item in value]
        case _:
            return value


def repeats_key(request: SurfaceRequest) -> bool:
    """
    Say whether a request may hold its key elsewhere than where it belongs.

    Looking is much cheaper than going through all that is told of a request.
    """
    key = request.api_key
    if key is None or len(key) < _KEY_LENGTH_MIN:
        return False
    body = request.body
    return (
        key.encode("utf-8", "surrogateescape") in body
        or _ESCAPE in body
        or key in request.path
        or sum(key in value for value in request.headers.values()) > 1
    )
