"""
A circuit whose rules change while it works, and the room that it tells of.
"""

from collections.abc import Callable
from typing import Any

import pytest

from harness.clock import LoopClock
from harness.resilience import (
    CircuitBreaker,
    CircuitBreakerOptions,
    CircuitState,
    Outcome,
)

pytestmark = pytest.mark.virtual_time

MakeBreaker = Callable[..., CircuitBreaker]


async def test_rules_change_while_calls_are_under_way(
    make_breaker: MakeBreaker,
) -> None:
    """
    A changed threshold counts what was counted before, and calls under way with it.
    """
    breaker = make_breaker(failure_threshold=5)
    for _ in range(3):
        breaker.settle(breaker.admit(), Outcome.FAILURE)
    under_way = breaker.admit()

    breaker.change(CircuitBreakerOptions(failure_threshold=4, break_duration_s=7))
    breaker.settle(under_way, Outcome.FAILURE)

    assert breaker.state is CircuitState.OPEN
    assert breaker.snapshot().retry_after_s == pytest.approx(7)


async def test_a_break_keeps_its_end_when_the_rules_change(
    make_breaker: MakeBreaker, clock: LoopClock
) -> None:
    """
    What refused callers were told stays true; the timer may be asked for meanwhile.
    """
    breaker = make_breaker(failure_threshold=1, break_duration_s=10)
    breaker.settle(breaker.admit(), Outcome.FAILURE)

    breaker.change(
        CircuitBreakerOptions(
            failure_threshold=1, break_duration_s=90, auto_half_open=True
        )
    )
    await clock.sleep(9.9)
    assert breaker.state is CircuitState.OPEN
    await clock.sleep(0.2)

    assert breaker.state is CircuitState.HALF_OPEN
    breaker.settle(breaker.admit(), Outcome.FAILURE)
    assert breaker.snapshot().retry_after_s == pytest.approx(90)


async def test_only_a_window_of_another_shape_begins_empty(
    make_breaker: MakeBreaker,
) -> None:
    """
    Another ratio is judged on the samples that are there; another window is not.
    """
    rules: dict[str, Any] = {
        "failure_threshold": None,
        "window_calls": 4,
        "minimum_throughput": 4,
    }
    breaker = make_breaker(failure_ratio=1.0, **rules)
    for outcome in (Outcome.FAILURE, Outcome.SUCCESS, Outcome.FAILURE):
        breaker.settle(breaker.admit(), outcome)

    breaker.change(CircuitBreakerOptions(failure_ratio=0.75, **rules))
    assert breaker.snapshot().samples == 3
    breaker.change(
        CircuitBreakerOptions(failure_ratio=0.75, **{**rules, "window_calls": 5})
    )

    assert breaker.snapshot().samples == 0


async def test_room_counts_slots_of_lost_probes(
    make_breaker: MakeBreaker, clock: LoopClock
) -> None:
    """
    Who asks for room before it takes up work is not kept waiting by a lost probe.
    """
    breaker = make_breaker(
        failure_threshold=1, break_duration_s=1, probes_max=2, probe_lease_s=5
    )
    breaker.settle(breaker.admit(), Outcome.FAILURE)
    await clock.sleep(1)
    breaker.admit()
    assert breaker.room() == 1

    await clock.sleep(4.9)
    breaker.admit()
    assert breaker.room() == 0
    await clock.sleep(0.2)

    assert breaker.room() == 1
    assert breaker.snapshot().probes == 2
