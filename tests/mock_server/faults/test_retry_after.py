"""
Every way to ask for a wait, as it stands in the headers.
"""

import pytest

from mock_server import LoopClock
from mock_server.faults import RetryAfterForm, asked_delay_s, retry_after_headers
from mock_server.testing import mock_in_test

WALL_S = 1_700_000_000.25


@pytest.mark.parametrize(
    ("form", "delay_s", "headers"),
    [
        ("seconds", 2.0, {"retry-after": "2"}),
        ("seconds", 0.4, {"retry-after": "1"}),
        ("seconds", 1800.0, {"retry-after": "1800"}),
        ("decimals", 1.5, {"retry-after": "1.500"}),
        ("milliseconds", 0.25, {"retry-after-ms": "250"}),
        ("both", 2.0, {"retry-after": "2", "retry-after-ms": "2000"}),
        ("disagreeing", 2.0, {"retry-after": "20", "retry-after-ms": "2000"}),
        ("date", 2.0, {"retry-after": "Tue, 14 Nov 2023 22:13:23 GMT"}),
        ("past_date", 20.0, {"retry-after": "Tue, 14 Nov 2023 22:13:00 GMT"}),
        ("zero", 2.0, {"retry-after": "0"}),
        ("negative", 2.0, {"retry-after": "-2"}),
        ("nan", 2.0, {"retry-after": "nan"}),
        ("garbage", 2.0, {"retry-after": "soon"}),
        ("absent", 2.0, {}),
    ],
)
def test_writes_a_wait_in_every_form(
    form: str, delay_s: float, headers: dict[str, str]
) -> None:
    """
    Each form gives exactly these headers.
    """
    written = retry_after_headers(delay_s, RetryAfterForm(form), WALL_S)

    assert dict(written) == headers


@pytest.mark.parametrize("form", RetryAfterForm)
def test_tells_what_was_asked(form: RetryAfterForm) -> None:
    """
    What an answer asks for is read back; nonsense asks for nothing.
    """
    asked = asked_delay_s(retry_after_headers(4.0, form, WALL_S), WALL_S)

    nonsense = {"past_date", "negative", "nan", "garbage", "absent"}
    if form in nonsense:
        assert asked is None
    elif form == "zero":
        assert asked == 0.0
    elif form == "date":
        # A date has whole seconds: it is rounded so that nobody comes too early.
        assert asked == 4.75
    else:
        assert asked == 4.0


@pytest.mark.virtual_time
async def test_says_in_the_event_what_was_asked(clock: LoopClock) -> None:
    """
    The event of the end carries the wait, for whoever judges the next attempt.
    """
    script = "upstream: {faults: [{fault: rate_limited, retry_after: 2500ms, retry_after_form: milliseconds, should_retry: true}]}"
    async with mock_in_test(script, clock=clock) as mock:
        answer = await mock.chat()
        [ended] = mock.of("upstream_request_ended")

    assert answer.headers["retry-after-ms"] == "2500"
    assert answer.headers["x-should-retry"] == "true"
    assert ended["retry_after_s"] == 2.5
