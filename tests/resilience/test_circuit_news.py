"""
What a circuit tells, when, and in which order.
"""

import asyncio
from collections.abc import Callable

import pytest

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.errors import CircuitOpenError, RateLimitedError
from harness.events import CircuitChanged, Envelope, OperationRejected
from harness.resilience import (
    Attempt,
    CircuitBreaker,
    CircuitState,
    Outcome,
    Pipeline,
    RateLimiter,
    classify_error,
)
from harness.testing import Recorder

pytestmark = pytest.mark.virtual_time

MakeBreaker = Callable[..., CircuitBreaker]


async def test_everybody_hears_the_changes_in_their_order(
    make_breaker: MakeBreaker, bus: EventBus
) -> None:
    """
    A listener that steps in does not make the next one hear the end before the middle.
    """
    breaker = make_breaker(failure_threshold=1)
    heard: list[str] = []

    def step_in(envelope: Envelope) -> None:
        event = envelope.event
        if isinstance(event, CircuitChanged) and event.to_state == "open":
            breaker.isolate()

    def write_down(envelope: Envelope) -> None:
        if isinstance(envelope.event, CircuitChanged):
            heard.append(envelope.event.to_state)

    with bus.listening(step_in), bus.listening(write_down):
        breaker.settle(breaker.admit(), Outcome.FAILURE)

    assert heard == ["open", "isolated"]


async def test_half_open_by_timer_is_told_by_the_timer(
    make_breaker: MakeBreaker, clock: LoopClock, recorder: Recorder
) -> None:
    """
    Who watches need not wait for the next call to hear of it.
    """
    breaker = make_breaker(
        failure_threshold=1, break_duration_s=10, auto_half_open=True
    )
    breaker.settle(breaker.admit(), Outcome.FAILURE)

    await clock.sleep(10.5)

    assert [event.to_state for event in recorder.of(CircuitChanged)] == [
        "open",
        "half_open",
    ]


async def test_a_call_that_queued_too_long_is_told_as_rejected(
    make_breaker: MakeBreaker,
    make_limiter: Callable[..., RateLimiter],
    clock: LoopClock,
    bus: EventBus,
    recorder: Recorder,
) -> None:
    """
    Its events say why it was not made, as those of any call that was refused.
    """
    breaker = make_breaker(failure_threshold=1, break_duration_s=10)
    limiter = make_limiter(rate_per_s=1, burst=1)
    pipeline = Pipeline(
        "upstream",
        strategies=[breaker, limiter],
        classify=classify_error,
        clock=clock,
        bus=bus,
    )
    limiter.acquire_nowait()

    async def call(_attempt: Attempt) -> str:
        return "never"

    async with asyncio.TaskGroup() as tasks:
        queued = tasks.create_task(refused(pipeline, call))
        await clock.sleep(0.5)
        breaker.open()

    assert queued.done()
    [rejected] = recorder.of(OperationRejected)
    assert (rejected.operation, rejected.strategy) == ("chat", "circuit_breaker")
    assert (rejected.reason, rejected.circuit) == ("circuit_open", "upstream")
    assert rejected.retry_after_s == pytest.approx(9.5)


async def refused(pipeline: Pipeline, call: Callable[[Attempt], object]) -> None:
    """
    Make a call that is refused.
    """
    with pytest.raises(CircuitOpenError):
        await pipeline.execute(call, operation="chat")  # type: ignore[arg-type]


async def test_since_when_is_the_wall_time_of_the_change(
    make_breaker: MakeBreaker, clock: LoopClock
) -> None:
    """
    To the millisecond: a Unix time is too large a number to compare by its share.
    """
    breaker = make_breaker(failure_threshold=1)
    built_s = clock.wall()
    await clock.sleep(5)
    assert breaker.snapshot().since_s == pytest.approx(built_s, rel=0, abs=1e-3)

    breaker.settle(breaker.admit(), Outcome.FAILURE)
    await clock.sleep(5)

    snapshot = breaker.snapshot()
    assert snapshot.state is CircuitState.OPEN
    assert snapshot.since_s == pytest.approx(built_s + 5, rel=0, abs=1e-3)


async def test_a_probe_that_hangs_in_a_pipeline_loses_its_slot(
    make_breaker: MakeBreaker, clock: LoopClock, bus: EventBus
) -> None:
    """
    Its lease begins when the call begins, without anybody saying so.
    """
    breaker = make_breaker(
        failure_threshold=1,
        break_duration_s=1,
        probes_max=1,
        successes_to_close=1,
        probe_lease_s=5,
    )
    pipeline = Pipeline(
        "upstream",
        strategies=[breaker],
        classify=classify_error,
        clock=clock,
        bus=bus,
    )
    breaker.open()
    await clock.sleep(1)

    async def hang(_attempt: Attempt) -> None:
        await clock.sleep(3600)

    async def answer(_attempt: Attempt) -> str:
        return "hello"

    async with asyncio.TaskGroup() as tasks:
        hung = tasks.create_task(pipeline.execute(hang, operation="chat"))
        await clock.sleep(4.9)
        await refused(pipeline, answer)
        await clock.sleep(0.2)
        await pipeline.execute(answer, operation="chat")
        hung.cancel()

    assert breaker.state is CircuitState.CLOSED


async def test_a_settled_call_of_unknown_length_is_not_slow(
    make_breaker: MakeBreaker,
) -> None:
    """
    Who settles without a duration is not judged by time.
    """
    breaker = make_breaker(
        slow_ratio=0.1, slow_call_s=0.5, slow_minimum_throughput=1, window_calls=5
    )

    breaker.settle(breaker.admit(), Outcome.SUCCESS)

    assert breaker.snapshot().slow_samples == 0


async def test_a_probe_that_waits_for_a_permit_keeps_its_slot(
    make_breaker: MakeBreaker,
    make_limiter: Callable[..., RateLimiter],
    clock: LoopClock,
    bus: EventBus,
    recorder: Recorder,
) -> None:
    """
    It has no lease before it starts, and gives the slot back if it is refused there.
    """
    breaker = make_breaker(break_duration_s=1, probes_max=1, probe_lease_s=5)
    limiter = make_limiter(rate_per_s=0.1, burst=1, wait_max_s=9.0)
    pipeline = Pipeline(
        "upstream",
        strategies=[breaker, limiter],
        classify=classify_error,
        clock=clock,
        bus=bus,
    )

    async def answer(_attempt: Attempt) -> str:
        return "hello"

    limiter.acquire_nowait()
    breaker.open()
    await clock.sleep(1)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(pipeline.execute(answer, operation="chat"))
        await clock.sleep(5.5)
        assert breaker.room() == 0
        await refused(pipeline, answer)
    assert [event.reason for event in recorder.of(OperationRejected)] == [
        "circuit_open"
    ]

    limiter.pause(60)
    with pytest.raises(RateLimitedError):
        await pipeline.execute(answer, operation="chat")

    assert breaker.snapshot().probes == 0
    breaker.close()
    assert breaker.snapshot().retry_after_s == 0
