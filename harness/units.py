"""
Durations and rates as people write them.

A duration is a number with a unit (``250ms``, ``1.5s``, ``5m``, ``2h``, ``7d``); a rate
is a number per unit (``40/s``, ``600/min``). A bare number is refused: nobody can
tell seconds from milliseconds by looking.
"""

import re

_DURATION_UNITS_S = {
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
    "d": 86400.0,
}
_NUMBER = r"(\d+(?:\.\d+)?)"
_DURATION = re.compile(rf"\s*{_NUMBER}\s*([a-zµ]+)\s*")
_RATE = re.compile(rf"\s*{_NUMBER}\s*/\s*([a-z]+)\s*")


def parse_duration_s(text: object) -> float:
    """
    Return the seconds that a text like ``250ms`` or ``5m`` stands for.

    Raises:
        ValueError: It is no number with a unit.
    """
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    unit_s = _DURATION_UNITS_S.get(match[2]) if match else None
    if match is None or unit_s is None:
        message = f"{text!r} is no duration: write a number and a unit, like 250ms, 30s, 5m, 2h"
        raise ValueError(message)
    return float(match[1]) * unit_s


def parse_rate_per_s(text: object) -> float:
    """
    Return the events per second that a text like ``40/s`` or ``600/min`` stands for.

    Raises:
        ValueError: It is no number per unit of time.
    """
    match = _RATE.fullmatch(text) if isinstance(text, str) else None
    unit_s = _DURATION_UNITS_S.get(match[2]) if match else None
    if match is None or unit_s is None:
        message = f"{text!r} is no rate: write a number per unit, like 40/s or 600/min"
        raise ValueError(message)
    return float(match[1]) / unit_s


def format_duration(duration_s: float) -> str:
    """
    Return a duration as people write it, to three or more digits.
    """
    for unit, unit_s in (("d", 86400.0), ("h", 3600.0), ("m", 60.0)):
        if duration_s >= unit_s and duration_s % unit_s == 0:
            return f"{duration_s / unit_s:.0f}{unit}"
    for unit, unit_s in (("s", 1.0), ("ms", 1e-3)):
        if duration_s >= unit_s:
            return f"{_digits(duration_s / unit_s)}{unit}"
    return f"{_digits(duration_s * 1e6)}us" if duration_s else "0s"


def _digits(value: float) -> str:
    """
    Return a number with three digits or more, and never with an exponent.
    """
    decimals = 2 if value < 10 else 1 if value < 100 else 0  # noqa: PLR2004
    text = f"{value:.{decimals}f}"
    return text.rstrip("0").rstrip(".") if decimals else text
