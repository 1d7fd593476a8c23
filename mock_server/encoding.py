"""
JSON of whatever came in from outside.
"""

import json
from typing import Any, Final

import orjson

_UNENCODABLE: Final = "[cannot be written as JSON]"


def to_json_bytes(value: Any, *, sort_keys: bool = False) -> bytes:
    """
    Return a value as JSON; it never fails.

    The quick encoder refuses what a caller may well send: text that is no Unicode,
    numbers of more than 64 bits, deep nesting. The slow one takes its place then.
    """
    try:
        option = orjson.OPT_SORT_KEYS if sort_keys else None
        return orjson.dumps(value, option=option, default=str)
    except TypeError:
        return _to_json_bytes_slowly(value, sort_keys=sort_keys)


def _to_json_bytes_slowly(value: Any, *, sort_keys: bool) -> bytes:
    try:
        text = json.dumps(
            value,
            sort_keys=sort_keys,
            default=str,
            separators=(",", ":"),
            allow_nan=False,
        )
    except (RecursionError, ValueError, TypeError):
        if not isinstance(value, dict):
            return orjson.dumps(_UNENCODABLE)
        # One field that cannot be written does not take the others along.
        fields = {
            str(key): orjson.Fragment(to_json_bytes(field, sort_keys=sort_keys))
            for key, field in value.items()
        }
        return to_json_bytes(fields, sort_keys=sort_keys)
    return text.encode("ascii")
