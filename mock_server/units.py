"""
Durations and rates as people write them in scripts.

A duration is a number with a unit (``250ms``, ``1.5s``, ``5m``, ``2h``), a rate a
number per unit (``40/s``, ``600/min``). A bare number is refused: nobody can tell
seconds from milliseconds by looking.
"""

import re
from typing import Annotated

from pydantic import BeforeValidator, WithJsonSchema

_UNITS_S = {
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
_DURATION_PATTERN = r"^\s*\d+(\.\d+)?\s*(us|µs|ms|s|m|min|h|d)\s*$"
_RATE_PATTERN = r"^\s*\d+(\.\d+)?\s*/\s*(us|µs|ms|s|m|min|h|d)\s*$"
_NUMBER = re.compile(r"\d+(\.\d+)?")
_UNIT = re.compile(r"[a-zµ]+")


def parse_duration_s(value: object) -> float:
    """
    Return the seconds that a text like ``250ms`` or ``5m`` stands for.

    Raises:
        ValueError: It is no number with a unit.
    """
    if not isinstance(value, str) or not re.match(_DURATION_PATTERN, value):
        message = f"{value!r} is no duration: write a number and a unit, like 250ms, 30s, 5m, 2h"
        raise ValueError(message)
    return _number(value) * _unit_s(value)


def parse_rate_per_s(value: object) -> float:
    """
    Return the events per second that a text like ``40/s`` or ``600/min`` stands for.

    Raises:
        ValueError: It is no number per unit of time.
    """
    if not isinstance(value, str) or not re.match(_RATE_PATTERN, value):
        message = f"{value!r} is no rate: write a number per unit, like 40/s or 600/min"
        raise ValueError(message)
    return _number(value) / _unit_s(value)


def _number(text: str) -> float:
    found = _NUMBER.search(text)
    return float(found[0]) if found else 0.0


def _unit_s(text: str) -> float:
    found = _UNIT.search(text)
    return _UNITS_S[found[0]] if found else 1.0


Duration = Annotated[
    float,
    BeforeValidator(parse_duration_s),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": _DURATION_PATTERN,
            "examples": ["250ms", "30s", "5m"],
        }
    ),
]
"""Seconds, written with a unit."""

Rate = Annotated[
    float,
    BeforeValidator(parse_rate_per_s),
    WithJsonSchema(
        {"type": "string", "pattern": _RATE_PATTERN, "examples": ["40/s", "600/min"]}
    ),
]
"""Events per second, written per unit of time."""
