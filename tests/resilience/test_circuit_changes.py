"""
A circuit whose rules change while it works, and the figures that it tells of.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.errors import CircuitOpenError
from harness.events import CircuitWouldHaveOpened
from harness.resilience import (
    Attempt,
    CircuitBreaker,
    CircuitBreakerOptions,
    CircuitState,
    Outcome,
    Pipeline,
    RateLimiter,
    classify_error,
)
from harness.testing import Recorder

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
    assert breaker.snapshot().state is CircuitState.OPEN
    await clock.sleep(0.2)

    assert breaker.snapshot().state is CircuitState.HALF_OPEN
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


async def test_room_of_each_state(make_breaker: MakeBreaker, clock: LoopClock) -> None:
    """
    Any number while closed or not looked at, none while it refuses, then the probes.
    """
    breaker = make_breaker(failure_threshold=1, break_duration_s=10, probes_max=2)
    assert breaker.room() is None
    breaker.settle(breaker.admit(), Outcome.FAILURE)
    assert breaker.room() == 0
    await clock.sleep(10)
    assert breaker.room() == 2
    assert breaker.state is CircuitState.OPEN

    for step, room in (
        (breaker.isolate, 0),
        (breaker.disable, None),
        (breaker.observe, None),
        (breaker.close, None),
    ):
        step()
        assert breaker.room() == room


async def test_every_refusal_is_counted_until_the_state_changes(
    make_breaker: MakeBreaker, clock: LoopClock
) -> None:
    """
    Early ones, late ones and those of a circuit that was isolated; each state anew.
    """
    breaker = make_breaker(failure_threshold=1, break_duration_s=10, probes_max=1)
    assert breaker.snapshot().rejections == 0
    assert breaker.snapshot().successes == 0
    breaker.settle(breaker.admit(), Outcome.FAILURE)
    for _ in range(2):
        with pytest.raises(CircuitOpenError):
            breaker.refuse_early("chat")
        with pytest.raises(CircuitOpenError):
            breaker.admit()
    assert breaker.snapshot().rejections == 4

    await clock.sleep(10)
    breaker.refuse_early("chat")
    breaker.admit()
    assert breaker.snapshot().rejections == 0
    with pytest.raises(CircuitOpenError) as full:
        breaker.admit()
    assert full.value.retry_after_s == 1.0
    assert breaker.snapshot().rejections == 1

    breaker.isolate()
    with pytest.raises(CircuitOpenError) as isolated:
        breaker.refuse_early("chat")
    assert breaker.snapshot().rejections == 1
    # Nobody knows for how long: as long as a break.
    assert isolated.value.retry_after_s == 10


async def test_who_queued_while_it_was_isolated_is_told_for_how_long(
    make_breaker: MakeBreaker, make_limiter: Callable[..., RateLimiter], bus: EventBus
) -> None:
    """
    A call that was let in and waited is refused with the figures of the moment.
    """
    breaker = make_breaker(break_duration_s=10)
    clock = breaker._clock
    limiter = make_limiter(rate_per_s=1, burst=1)
    limiter.acquire_nowait()
    pipeline = Pipeline(
        "upstream",
        strategies=[breaker, limiter],
        classify=classify_error,
        clock=clock,
        bus=bus,
    )

    async def call(_attempt: Attempt) -> str:
        return "never"

    async with asyncio.TaskGroup() as tasks:
        queued = tasks.create_task(outcome_of(pipeline, call))
        await clock.sleep(0.5)
        breaker.isolate()

    assert queued.result() == 10
    assert breaker.snapshot().rejections == 1


async def outcome_of(
    pipeline: Pipeline, call: Callable[[Attempt], Awaitable[str]]
) -> float | None:
    """
    Return how long a refused call is told to wait.
    """
    with pytest.raises(CircuitOpenError) as caught:
        await pipeline.execute(call, operation="chat")
    return caught.value.retry_after_s


async def test_a_run_of_backpressure_ends_with_every_other_outcome(
    make_breaker: MakeBreaker,
) -> None:
    """
    Only what comes in a row counts, within one state of the circuit.
    """
    breaker = make_breaker(failure_threshold=1, backpressure_threshold=2)
    settle = [Outcome.BACKPRESSURE, Outcome.SUCCESS, Outcome.BACKPRESSURE]
    for outcome in settle:
        breaker.settle(breaker.admit(), outcome)
    assert breaker.state is CircuitState.CLOSED

    breaker.reset()
    breaker.settle(breaker.admit(), Outcome.BACKPRESSURE)
    assert breaker.state is CircuitState.CLOSED
    breaker.settle(breaker.admit(), Outcome.BACKPRESSURE)

    assert breaker.snapshot().state is CircuitState.OPEN
    breaker.close()
    breaker.settle(breaker.admit(), Outcome.BACKPRESSURE)
    assert breaker.snapshot().state is CircuitState.CLOSED


async def test_a_long_run_of_backpressure_counts_again_and_again(
    make_breaker: MakeBreaker,
) -> None:
    """
    So many in a row are one failure, and so many more are the next.
    """
    breaker = make_breaker(failure_threshold=2, backpressure_threshold=2)
    for _ in range(3):
        breaker.settle(breaker.admit(), Outcome.BACKPRESSURE)
    assert breaker.snapshot().failures == 1

    breaker.settle(breaker.admit(), Outcome.BACKPRESSURE)

    assert breaker.state is CircuitState.OPEN


async def test_an_observer_tells_each_rule_once_per_period(
    make_breaker: MakeBreaker, recorder: Recorder
) -> None:
    """
    It does not repeat itself, and begins anew when it is told to observe again.
    """
    breaker = make_breaker(failure_threshold=1)
    for _ in range(2):
        breaker.close()
        breaker.observe()
        for _ in range(3):
            breaker.settle(breaker.admit(), Outcome.FAILURE)

    assert len(recorder.of(CircuitWouldHaveOpened)) == 2


async def test_a_break_never_exceeds_ten_times_the_first_unless_told(
    make_breaker: MakeBreaker,
) -> None:
    """
    A peer that asks for a day is asked again sooner.
    """
    breaker = make_breaker(failure_threshold=1, break_duration_s=3)

    breaker.settle(breaker.admit(), Outcome.FAILURE, retry_after_s=86_400)

    assert breaker.snapshot().retry_after_s == pytest.approx(30)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"failure_ratio": 1.0}, {"failure_ratio": 1.0, "sampling_duration_s": 60.0}),
        (
            {"slow_ratio": 1.0, "window_calls": 10},
            {"slow_ratio": 1.0, "window_calls": 11},
        ),
    ],
    ids=["time", "slow"],
)
async def test_another_window_begins_empty(
    make_breaker: MakeBreaker, before: dict[str, Any], after: dict[str, Any]
) -> None:
    """
    A window of time of another length as well, and one for slow calls alone.
    """
    breaker = make_breaker(failure_threshold=None, **before)
    breaker.settle(breaker.admit(), Outcome.SUCCESS)
    breaker.change(CircuitBreakerOptions(failure_threshold=3, **before))
    assert breaker.snapshot().samples == 1

    breaker.change(CircuitBreakerOptions(failure_threshold=None, **after))

    assert breaker.snapshot().samples == 0
