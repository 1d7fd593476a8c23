"""
What is left of a quota: the ``x-ratelimit-*`` headers of an answer.

They stand on good answers too, so that a limiter learns of a shared quota before the
first 429. What cannot be read says nothing.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

_PREFIX: Final = "x-ratelimit-"
_VALUE_CHARACTERS_MAX: Final = 64
_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_PART: Final = re.compile(rf"({_NUMBER.pattern})(h|ms|us|µs|ns|m|s)")
_UNITS_S: Final = {
    "h": 3600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "ns": 1e-9,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaLeft:
    """
    What the peer says is left; None where it says nothing.
    """

    requests: float | None = None
    tokens: float | None = None

    next_in_s: float = 0.0
    """When something of what is used up comes back; 0 where something is left."""


def parse_quota(headers: Mapping[str, str]) -> QuotaLeft | None:
    """
    Return what an answer says is left of the quota, None if it says nothing.

    A quota refills continuously: the time until it is full, divided by what is missing,
    is the time until one more.

    Args:
        headers: Of the answer; looked up in lower case.
    """
    requests = _number(headers.get(f"{_PREFIX}remaining-requests", ""))
    tokens = _number(headers.get(f"{_PREFIX}remaining-tokens", ""))
    if requests is None and tokens is None:
        return None
    return QuotaLeft(
        requests=requests,
        tokens=tokens,
        next_in_s=max(
            _next_in_s(headers, "requests", requests),
            _next_in_s(headers, "tokens", tokens),
        ),
    )


def _next_in_s(headers: Mapping[str, str], unit: str, left: float | None) -> float:
    if left is None or left >= 1:
        return 0.0
    full_in_s = _duration_s(headers.get(f"{_PREFIX}reset-{unit}", ""))
    limit = _number(headers.get(f"{_PREFIX}limit-{unit}", "")) or 1.0
    return full_in_s / max(limit - left, 1.0)


def _number(text: str) -> float | None:
    text = text.strip()
    if len(text) > _VALUE_CHARACTERS_MAX or not _NUMBER.fullmatch(text):
        return None
    return float(text)


def _duration_s(text: str) -> float:
    """
    Read ``6m0s`` or ``120ms``, or a plain number of seconds; 0 for anything else.
    """
    text = text.strip()
    plain_s = _number(text)
    if plain_s is not None:
        return plain_s
    parts = _PART.findall(text[:_VALUE_CHARACTERS_MAX])
    if "".join(number + unit for number, unit in parts) != text:
        return 0.0
    return math.fsum(float(number) * _UNITS_S[unit] for number, unit in parts)
