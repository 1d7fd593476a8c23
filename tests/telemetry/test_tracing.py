"""
Traces are taken over from callers and handed on.
"""

import pytest

from harness.ids import TraceId
from harness.telemetry import format_traceparent, parse_traceparent

_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_SPAN = "00f067aa0ba902b7"


def test_what_is_written_is_read() -> None:
    """
    A header that was formatted names the trace it was formatted for.
    """
    assert parse_traceparent(format_traceparent(TraceId(_TRACE), _SPAN)) == _TRACE


@pytest.mark.parametrize(
    ("header", "trace"),
    [
        (f"00-{_TRACE}-{_SPAN}-01", _TRACE),
        (f" 00-{_TRACE}-{_SPAN}-00 ", _TRACE),
        (f"cc-{_TRACE}-{_SPAN}-01-what-comes-later", _TRACE),
        (f"00-{_TRACE}-{_SPAN}-01-more", None),
        (f"ff-{_TRACE}-{_SPAN}-01", None),
        (f"00-{_TRACE.upper()}-{_SPAN}-01", None),
        (f"00-{'0' * 32}-{_SPAN}-01", None),
        (f"00-{_TRACE}-{'0' * 16}-01", None),
        (f"00-{_TRACE}-{_SPAN}", None),
        ("garbage", None),
        ("", None),
        (None, None),
    ],
)
def test_only_valid_headers_name_a_trace(header: str | None, trace: str | None) -> None:
    """
    What W3C calls invalid names no trace; later versions may say more.
    """
    assert parse_traceparent(header) == trace
