"""
What an answer says about when to be asked again.
"""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.resilience import RetryAfter, parse_retry_after

NOW_S = 1_445_412_480.0  # Wed, 21 Oct 2015 07:28:00 GMT


@pytest.mark.parametrize(
    ("value", "delay_s"),
    [
        ("20", 20),
        ("1.5", 1.5),
        (".5", 0.5),
        ("  7 ", 7),
        ("1800", 1800),
        ("Wed, 21 Oct 2015 07:28:20 GMT", 20),
        ("Wednesday, 21-Oct-15 07:28:20 GMT", 20),
        ("Wed Oct 21 07:28:20 2015", 20),
        ("Sun Nov  1 07:28:00 2015", 950_400),
    ],
)
def test_understands_every_form(value: str, delay_s: float) -> None:
    """
    Seconds, decimals, and the three forms of an HTTP date are waits, unclamped.
    """
    assert parse_retry_after({"Retry-After": value}, NOW_S) == RetryAfter(
        delay_s=delay_s, header="retry-after"
    )


@pytest.mark.parametrize(
    "value",
    [
        "",
        "0",
        "0.0",
        "-10",
        "+5",
        "nan",
        "inf",
        "1e3",
        "1_000",
        "0x10",
        "٢٠",
        "soon",
        "20, 30",
        "20s",
        "Wed, 21 Oct 2015 07:28:00 GMT",
        "Wed, 21 Oct 2015 07:27:50 GMT",
        "Wed, 99 Oct 2015 07:28:20 GMT",
        "Wed, 21 Oct 2015 07:28:20 CET",
        "Wed, 21 Xxx 2015 07:28:20 GMT",
        "Fri, 31 Dec 9999 99:59:59 GMT",
        "9" * 400,
        "9" * 129,
    ],
)
def test_what_is_no_wait_says_nothing(value: str) -> None:
    """
    Negative, zero, no number, garbage and past dates mean that nothing was asked for.
    """
    assert parse_retry_after({"retry-after": value}, NOW_S) is None


def test_milliseconds_count_first() -> None:
    """
    ``retry-after-ms`` is finer and wins; if it is unusable the other header counts.
    """
    both = {"retry-after-ms": "250", "retry-after": "7"}
    broken = {"Retry-After-Ms": "0", "Retry-After": "7"}

    assert parse_retry_after(both, NOW_S) == RetryAfter(
        delay_s=0.25, header="retry-after-ms"
    )
    assert parse_retry_after(broken, NOW_S) == RetryAfter(
        delay_s=7, header="retry-after"
    )


def test_no_header_says_nothing() -> None:
    """
    An answer without these headers asks for nothing.
    """
    assert parse_retry_after({"content-type": "application/json"}, NOW_S) is None


@given(value=st.text(), wall_s=st.floats(0, 4e9))
def test_never_raises_and_never_asks_for_nonsense(value: str, wall_s: float) -> None:
    """
    Whatever a header holds, the result is a positive finite wait or nothing.
    """
    asked = parse_retry_after({"retry-after": value, "retry-after-ms": value}, wall_s)

    assert asked is None or 0 < asked.delay_s < float("inf")
