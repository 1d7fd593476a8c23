"""
One timer for all attempts of a pipeline.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from harness.clock import LoopClock
from harness.errors import AttemptTimeoutError, DeadlineExceededError
from harness.resilience import Attempt, Deadline, Pipeline
from harness.simulation import SimLoop

pytestmark = pytest.mark.virtual_time

MakePipeline = Callable[..., Pipeline]
Call = Callable[[Attempt], Awaitable[str]]


def takes(duration_s: float, clock: LoopClock) -> Call:
    """
    Return a call that takes so long.
    """

    async def call(attempt: Attempt) -> str:
        del attempt
        await clock.sleep(duration_s)
        return "hello"

    return call


async def end_of(pipeline: Pipeline, call: Call, clock: LoopClock) -> tuple[str, float]:
    """
    Make a call and return what became of it, and when.
    """
    try:
        result = await pipeline.execute(call, operation="chat")
    except AttemptTimeoutError:
        result = "timeout"
    return result, clock.monotonic()


async def test_each_attempt_ends_at_its_own_time(
    make_pipeline: MakePipeline, clock: LoopClock, hang: Call
) -> None:
    """
    Attempts that began at different times are each cut off exactly 30 s later.
    """
    pipeline = make_pipeline(attempt_timeout_s=30.0)
    started_s = clock.monotonic()

    async with asyncio.TaskGroup() as tasks:
        ends = []
        for _ in range(5):
            ends.append(tasks.create_task(end_of(pipeline, hang, clock)))
            await clock.sleep(7)

    assert [end.result()[0] for end in ends] == ["timeout"] * 5
    assert [end.result()[1] - started_s for end in ends] == pytest.approx(
        [30, 37, 44, 51, 58]
    )


async def test_attempts_in_time_are_left_alone(
    make_pipeline: MakePipeline, clock: LoopClock, hang: Call
) -> None:
    """
    Of attempts that began together only the hung one is cut off.
    """
    pipeline = make_pipeline(attempt_timeout_s=30.0)

    async with asyncio.TaskGroup() as tasks:
        quick = tasks.create_task(end_of(pipeline, takes(29.9, clock), clock))
        hung = tasks.create_task(end_of(pipeline, hang, clock))
        await clock.sleep(1)
        late = tasks.create_task(end_of(pipeline, takes(29.5, clock), clock))

    assert quick.result()[0] == late.result()[0] == "hello"
    assert hung.result()[0] == "timeout"


async def test_a_call_may_follow_long_after_the_last(
    make_pipeline: MakePipeline, clock: LoopClock, hang: Call
) -> None:
    """
    A timer that found nothing to do is set again for the next attempt.
    """
    pipeline = make_pipeline(attempt_timeout_s=30.0)
    await pipeline.execute(takes(1, clock), operation="chat")
    await clock.sleep(100)
    started_s = clock.monotonic()

    result, ended_s = await end_of(pipeline, hang, clock)

    assert result == "timeout"
    assert ended_s - started_s == pytest.approx(30)


async def test_a_cancelled_caller_is_cancelled(
    make_pipeline: MakePipeline, clock: LoopClock, hang: Call
) -> None:
    """
    Who cancels a call gets a cancellation, also in the turn in which its time is over.
    """
    pipeline = make_pipeline(attempt_timeout_s=30.0)

    async with asyncio.TaskGroup() as tasks:
        early = tasks.create_task(pipeline.execute(hang, operation="chat"))
        together = tasks.create_task(pipeline.execute(hang, operation="chat"))
        await clock.sleep(10)
        early.cancel()

        def cancel() -> None:
            together.cancel()

        clock.call_at(clock.monotonic() + 20, cancel)

    assert early.cancelled()
    assert together.cancelled()


async def test_what_the_call_makes_of_a_cut_counts(
    make_pipeline: MakePipeline, clock: LoopClock
) -> None:
    """
    A call that answers with an own error, or a result, when it is cut off keeps it.
    """
    pipeline = make_pipeline(attempt_timeout_s=30.0)

    async def tidies_up(attempt: Attempt) -> str:
        del attempt
        try:
            await clock.sleep(100)
        except asyncio.CancelledError:
            raise ConnectionResetError from None
        return "never"

    async def saves_itself(attempt: Attempt) -> str:
        del attempt
        try:
            await clock.sleep(100)
        except asyncio.CancelledError:
            return "partial"
        return "never"

    with pytest.raises(ConnectionResetError):
        await pipeline.execute(tidies_up, operation="chat")
    assert await pipeline.execute(saves_itself, operation="chat") == "partial"
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_an_outer_timeout_stays_the_outer_one(
    make_pipeline: MakePipeline, clock: LoopClock, hang: Call
) -> None:
    """
    A timeout around the call that ends first is the one that is reported.
    """
    pipeline = make_pipeline(attempt_timeout_s=30.0)

    with pytest.raises(TimeoutError) as caught:
        async with clock.timeout(10):
            await pipeline.execute(hang, operation="chat")

    assert not isinstance(caught.value, AttemptTimeoutError)


async def test_a_deadline_shortens_an_attempt(
    make_pipeline: MakePipeline, clock: LoopClock, hang: Call
) -> None:
    """
    An attempt gets what is left until the deadline, if that is less than its timeout.
    """
    pipeline = make_pipeline(attempt_timeout_s=30.0)
    started_s = clock.monotonic()

    async with asyncio.TaskGroup() as tasks:
        whole = tasks.create_task(end_of(pipeline, hang, clock))
        with pytest.raises(DeadlineExceededError):
            await pipeline.execute(
                hang, operation="chat", deadline=Deadline.after(clock, 12)
            )
        assert clock.monotonic() - started_s == pytest.approx(12)

    assert whole.result()[1] - started_s == pytest.approx(30)


async def test_calls_that_end_cost_no_timer(
    make_pipeline: MakePipeline, virtual_time: SimLoop
) -> None:
    """
    However many calls end in time, one timer is set for all of them.
    """
    pipeline = make_pipeline(attempt_timeout_s=30.0)
    before = len(virtual_time._scheduled)

    async def call(attempt: Attempt) -> str:
        del attempt
        return "hello"

    for _ in range(100):
        await pipeline.execute(call, operation="chat")

    assert len(virtual_time._scheduled) - before == 1
