"""
The delays before retries.
"""

import random
import statistics
from collections.abc import Callable

import pytest

from harness.randomness import Randomness
from harness.resilience import (
    BackoffOptions,
    Jitter,
    backoff_delay_s,
    backoff_envelope_s,
)

Draw = Callable[..., list[float]]


@pytest.fixture
def draw(randomness: Randomness) -> Draw:
    """
    Draw many delays of one retry.
    """
    draws: random.Random = randomness.stream("backoff")

    def many(options: BackoffOptions, retry_number: int, **more: float) -> list[float]:
        return [
            backoff_delay_s(options, retry_number, draws=draws, **more)
            for _ in range(2000)
        ]

    return many


def test_envelope_doubles_up_to_its_cap() -> None:
    """
    The envelope grows by its multiplier and stops at its maximum, however late.
    """
    options = BackoffOptions(base_s=0.5, max_s=8)

    envelopes = [backoff_envelope_s(options, number) for number in range(1, 7)]

    assert envelopes == [0.5, 1, 2, 4, 8, 8]
    assert backoff_envelope_s(options, 100_000) == 8


@pytest.mark.parametrize(
    ("jitter", "low_s", "high_s"),
    [
        (Jitter.FULL, 0, 2),
        (Jitter.EQUAL, 1, 2),
        (Jitter.PROPORTIONAL, 1.6, 2.4),
        (Jitter.NONE, 2, 2),
    ],
)
def test_jitter_stays_within_its_bounds(
    draw: Draw, jitter: Jitter, low_s: float, high_s: float
) -> None:
    """
    Each jitter fills its own range around the envelope and never leaves it.
    """
    delays = draw(BackoffOptions(base_s=0.5, max_s=8, jitter=jitter), 3)

    assert low_s <= min(delays) <= low_s + 0.02 * high_s
    assert high_s - 0.02 * high_s <= max(delays) <= high_s


def test_decorrelated_jitter_follows_the_delay_before(draw: Draw) -> None:
    """
    Decorrelated delays lie between the base and three times the delay before.
    """
    options = BackoffOptions(base_s=0.5, max_s=8, jitter=Jitter.DECORRELATED)

    first, later = draw(options, 1), draw(options, 2, previous_s=2.0)
    capped = draw(options, 9, previous_s=8.0)

    assert min(first) >= 0.5
    assert max(first) <= 1.5
    assert min(later) >= 0.5
    assert 5.5 < max(later) <= 6
    assert max(capped) <= 8


@pytest.mark.parametrize(
    "jitter", [Jitter.FULL, Jitter.EQUAL, Jitter.PROPORTIONAL, Jitter.DECORRELATED]
)
def test_capped_delays_stay_spread(draw: Draw, jitter: Jitter) -> None:
    """
    At the cap the jitter is as wide as ever: callers do not come back together.
    """
    options = BackoffOptions(base_s=0.5, max_s=8, jitter=jitter)

    delays = draw(options, 20, previous_s=8.0)

    assert statistics.stdev(delays) > 0.05 * 8
    assert len(set(delays)) > 1900
