"""
What is left of a peer's quota, and what the limiter makes of it.
"""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.resilience import (
    Attempt,
    Classified,
    Outcome,
    Pipeline,
    QuotaLeft,
    RateLimiter,
    parse_quota,
)

pytestmark = pytest.mark.virtual_time

MakeLimiter = Callable[..., RateLimiter]


def headers(**values: str) -> dict[str, str]:
    """
    Return rate limit headers, ``remaining_requests`` for ``x-ratelimit-remaining-…``.
    """
    return {
        f"x-ratelimit-{name.replace('_', '-')}": text for name, text in values.items()
    }


@pytest.mark.parametrize(
    ("reset", "full_in_s"),
    [
        ("120ms", 0.12),
        ("1s", 1.0),
        ("6m0s", 360.0),
        ("1h2m3s", 3723.0),
        ("1.5s", 1.5),
        ("250us", 0.00025),
        ("30", 30.0),
        ("", 0.0),
        ("soon", 0.0),
        ("1s!", 0.0),
        ("-5s", 0.0),
    ],
)
def test_reads_how_long_the_next_permit_takes(reset: str, full_in_s: float) -> None:
    """
    The time until a used-up quota is full, by its size, is that until one more.
    """
    quota = parse_quota(
        headers(limit_requests="10", remaining_requests="0", reset_requests=reset)
    )

    assert quota is not None
    assert quota.requests == 0
    assert quota.next_in_s == pytest.approx(full_in_s / 10)


def test_what_is_left_is_waited_for_no_longer() -> None:
    """
    While something is left its reset says nothing; the slower of two quotas counts.
    """
    left = parse_quota(
        headers(limit_requests="10", remaining_requests="1", reset_requests="9s")
    )
    both = parse_quota(
        headers(
            remaining_requests="0",
            limit_requests="2",
            reset_requests="1s",
            remaining_tokens="0",
            limit_tokens="1000",
            reset_tokens="6m0s",
        )
    )

    assert left == QuotaLeft(requests=1.0)
    assert both == QuotaLeft(requests=0.0, tokens=0.0, next_in_s=0.5)


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"x-ratelimit-limit-requests": "10"},
        headers(remaining_requests="many"),
        headers(remaining_requests="-3"),
        headers(remaining_requests="nan"),
        headers(remaining_tokens="9" * 100),
    ],
)
def test_what_cannot_be_read_says_nothing(values: dict[str, str]) -> None:
    """
    Garbage is no quota.
    """
    assert parse_quota(values) is None


@given(remaining=st.text(max_size=40), reset=st.text(max_size=40))
def test_never_raises_and_never_asks_for_nonsense(remaining: str, reset: str) -> None:
    """
    Whatever stands there, nothing is negative.
    """
    quota = parse_quota(
        headers(remaining_requests=remaining, reset_requests=reset)
        | headers(remaining_tokens="0", reset_tokens=reset)
    )

    assert quota is not None
    assert quota.next_in_s >= 0


async def answer(
    limiter: RateLimiter, quota: QuotaLeft, clock: LoopClock, bus: EventBus
) -> None:
    """
    Make one call through the limiter, whose answer tells of this quota.
    """

    async def call(attempt: Attempt) -> None:
        attempt.note(quota=quota)

    pipeline = Pipeline(
        "upstream",
        strategies=[limiter],
        classify=lambda _error: Classified(outcome=Outcome.SUCCESS, reason="ok"),
        clock=clock,
        bus=bus,
    )
    await pipeline.execute(call, operation="chat")


async def test_less_is_let_out_when_less_is_left(
    make_limiter: MakeLimiter, clock: LoopClock, bus: EventBus
) -> None:
    """
    A good answer that leaves little of the quota empties the bucket, before any 429.
    """
    limiter = make_limiter(rate_per_s=10, burst=20)

    await answer(limiter, QuotaLeft(requests=500), clock, bus)
    assert limiter.available() == pytest.approx(19)
    await answer(limiter, QuotaLeft(requests=3), clock, bus)

    assert limiter.available() == pytest.approx(3)


async def test_a_quota_that_refills_slowly_is_waited_for(
    make_limiter: MakeLimiter, clock: LoopClock, bus: EventBus
) -> None:
    """
    Nothing goes out before the peer has something again, if that is later than ours.
    """
    limiter = make_limiter(rate_per_s=10, burst=20)
    await answer(limiter, QuotaLeft(requests=0, next_in_s=0.05), clock, bus)
    started_s = clock.monotonic()
    await limiter.acquire()
    assert clock.monotonic() - started_s == pytest.approx(0.1)

    for slower_s in (0.15, 6.0):
        await answer(limiter, QuotaLeft(requests=0, next_in_s=slower_s), clock, bus)
        started_s = clock.monotonic()
        await limiter.acquire()

        assert clock.monotonic() - started_s == pytest.approx(slower_s)


async def test_tokens_are_limited_by_what_is_left_too(
    make_limiter: MakeLimiter, clock: LoopClock, bus: EventBus
) -> None:
    """
    The second limit follows the peer as the first one does.
    """
    limiter = make_limiter(
        rate_per_s=100, burst=100, token_rate_per_s=10, token_burst=1000
    )
    await answer(limiter, QuotaLeft(tokens=50), clock, bus)
    started_s = clock.monotonic()

    await limiter.acquire(tokens=150)

    assert clock.monotonic() - started_s == pytest.approx(10.0)


async def test_answers_with_enough_left_do_not_time_the_queue_again(
    make_limiter: MakeLimiter,
    clock: LoopClock,
    bus: EventBus,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    An answer costs the same, however many wait.
    """
    limiter = make_limiter()
    timed_again_at_s: list[float] = []
    monkeypatch.setattr(limiter, "_retime", timed_again_at_s.append)

    await answer(limiter, QuotaLeft(requests=9999, tokens=1.0), clock, bus)

    assert timed_again_at_s == []
