"""
The ``traceparent`` header: which work of which trace a request belongs to.

Only what W3C Trace Context level 1 asks for: no sampling decisions, no state.
"""

import re

from harness.ids import TraceId

_TRACEPARENT = re.compile(
    r"(?P<version>[0-9a-f]{2})-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-[0-9a-f]{2}"
    r"(?P<rest>-.*)?"
)
_NOT_A_VERSION = "ff"
_ONLY_VERSION = "00"


def parse_traceparent(header: str | None) -> TraceId | None:
    """
    Return the trace that a ``traceparent`` names, or None if it names none.
    """
    match = _TRACEPARENT.fullmatch((header or "").strip())
    if match is None or match["version"] == _NOT_A_VERSION:
        return None
    if match["version"] == _ONLY_VERSION and match["rest"]:
        return None
    if not match["trace"].strip("0") or not match["span"].strip("0"):
        return None
    return TraceId(match["trace"])


def format_traceparent(trace_id: TraceId, span_id: str) -> str:
    """
    Return the header for a request made on behalf of a trace, sampled.
    """
    return f"{_ONLY_VERSION}-{trace_id}-{span_id}-01"
