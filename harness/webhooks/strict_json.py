"""
JSON as a stranger may send it, and as we send it: strict both ways.

Python's own reader takes ``NaN``, doubled keys and numbers that overflow; what was
read that way could not be written again, or would mean something else to the next
reader.
"""

import json
import math
from typing import Any, Final, NoReturn

from harness.errors import PayloadError

DEPTH_MAX: Final = 64
"""Deeper values are refused."""


def dump(value: object) -> bytes:
    """
    Return a value as JSON bytes.

    Raises:
        PayloadError: It holds NaN, an infinity, a lone surrogate, bytes or whatever
            else JSON has no word for.
    """
    try:
        text = json.dumps(
            value, ensure_ascii=False, allow_nan=False, separators=(",", ":")
        )
        return text.encode()
    except (TypeError, ValueError, RecursionError) as error:
        message = f"cannot be written as JSON: {error}"
        raise PayloadError(message[:200]) from error


def load(body: bytes) -> Any:
    """
    Return the value of JSON bytes that can be written again as they are.

    Raises:
        PayloadError: They are not UTF-8, not JSON, too deep, have a key twice, or hold
            what JSON cannot express.
    """
    try:
        value = json.loads(
            body.decode(),
            parse_constant=_refuse_constant,
            parse_float=_parse_float,
            object_pairs_hook=_unique_keys,
        )
    except RecursionError as error:
        message = "is nested too deeply"
        raise PayloadError(message) from error
    except ValueError as error:
        # Bad UTF-8, a byte order mark and numbers of a megabyte end here too.
        message = f"is not JSON: {error}"
        raise PayloadError(message[:200]) from error
    _check_depth(value)
    return value


def _refuse_constant(name: str) -> NoReturn:
    message = f"{name} is no JSON"
    raise ValueError(message)


def _parse_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        message = "a number is out of range"
        raise ValueError(message)
    return value


def _unique_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        message = "a key is given twice"
        raise ValueError(message)
    return values


def _check_depth(value: Any) -> None:
    level = [value]
    for _depth in range(DEPTH_MAX):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return
    message = f"is nested more than {DEPTH_MAX} deep"
    raise PayloadError(message)
