"""
When the peer wants to be asked again: ``retry-after-ms`` and ``Retry-After``.

What is negative, zero, not a number, garbage or in the past says nothing; the caller
then uses its own backoff. Taking it for "at once" would hammer a peer that asked for
the opposite.
"""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final

MILLISECONDS_HEADER: Final = "retry-after-ms"
HEADER: Final = "retry-after"

_VALUE_CHARACTERS_MAX: Final = 128
_NUMBER: Final = re.compile(r"[0-9]+(?:\.[0-9]*)?|\.[0-9]+")
_CLOCK_TIME: Final = r"[0-9]{2}:[0-9]{2}:[0-9]{2}"
_HTTP_DATE: Final = re.compile(
    rf"[A-Za-z]{{3}}, [0-9]{{2}} [A-Za-z]{{3}} [0-9]{{4}} {_CLOCK_TIME} GMT"
    rf"|[A-Za-z]{{6,9}}, [0-9]{{2}}-[A-Za-z]{{3}}-[0-9]{{2}} {_CLOCK_TIME} GMT"
    rf"|[A-Za-z]{{3}} [A-Za-z]{{3}} [ 0-9][0-9] {_CLOCK_TIME} [0-9]{{4}}"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryAfter:
    """
    A usable wait that the peer asked for.
    """

    delay_s: float
    """Unclamped: whether it fits is for the caller to decide."""

    header: str
    """Which header said so, in lower case."""


def parse_retry_after(headers: Mapping[str, str], wall_s: float) -> RetryAfter | None:
    """
    Return the wait that an answer asks for, None if it asks for no usable one.

    ``retry-after-ms`` is looked at first, because it is the finer one; if it cannot
    be used, ``Retry-After`` counts.

    Args:
        headers: Of the answer; names in any case.
        wall_s: Unix time, to compare an HTTP date with.
    """
    asked_ms = _number(_find(headers, MILLISECONDS_HEADER))
    if asked_ms is not None and asked_ms > 0:
        return RetryAfter(delay_s=asked_ms / 1000, header=MILLISECONDS_HEADER)
    text = _find(headers, HEADER)
    asked_s = _number(text)
    if asked_s is None:
        asked_s = _until_date(text, wall_s)
    if asked_s is not None and asked_s > 0:
        return RetryAfter(delay_s=asked_s, header=HEADER)
    return None


def _find(headers: Mapping[str, str], name: str) -> str:
    value = headers.get(name)
    if value is None:
        value = next((text for key, text in headers.items() if key.lower() == name), "")
    value = value.strip()
    return value if len(value) <= _VALUE_CHARACTERS_MAX else ""


def _number(text: str) -> float | None:
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    return value if math.isfinite(value) else None


def _until_date(text: str, wall_s: float) -> float | None:
    if not _HTTP_DATE.fullmatch(text):
        return None
    # The asctime form names no zone; HTTP says that it is GMT as well.
    dated = text if text.endswith("GMT") else f"{text} GMT"
    try:
        return parsedate_to_datetime(dated).timestamp() - wall_s
    except (ValueError, OverflowError):
        return None
