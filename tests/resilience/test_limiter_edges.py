"""
The edges of the limiter.
"""

import asyncio
from collections.abc import Callable

import pytest

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.errors import LimitExceededError, RateLimitedError
from harness.events import OperationRejected, RateLimiterPaused, RateLimiterWaited
from harness.resilience import (
    Attempt,
    Deadline,
    Pipeline,
    RateLimiter,
    classify_error,
)
from harness.testing import Recorder

pytestmark = pytest.mark.virtual_time

MakeLimiter = Callable[..., RateLimiter]


async def granted_after_s(
    limiter: RateLimiter, clock: LoopClock, **asked: float
) -> float:
    """
    Return how long a permit took.
    """
    started_s = clock.monotonic()
    waited_s = await limiter.acquire(**asked)  # type: ignore[arg-type]
    assert waited_s == pytest.approx(clock.monotonic() - started_s)
    return waited_s


async def test_nobody_gets_past_a_queue(
    make_limiter: MakeLimiter, clock: LoopClock
) -> None:
    """
    Who would be content with little waits behind who needs much.
    """
    limiter = make_limiter(rate_per_s=1, burst=4)
    limiter.acquire_nowait(cost=3)
    async with asyncio.TaskGroup() as tasks:
        large = tasks.create_task(granted_after_s(limiter, clock, cost=4))
        await clock.sleep(0)
        assert limiter.available() == 1
        with pytest.raises(RateLimitedError) as caught:
            limiter.acquire_nowait()
        assert caught.value.retry_after_s == pytest.approx(4)
        small = tasks.create_task(granted_after_s(limiter, clock, cost=1))

    assert large.result() == pytest.approx(3)
    assert small.result() == pytest.approx(4)
    assert limiter.granted_permits == 3


@pytest.mark.parametrize(
    ("asked", "is_granted"),
    [
        ({"timeout_s": 2.0}, True),
        ({"timeout_s": 1.9}, False),
        ({"timeout_s": 0.0}, False),
        ({"timeout_s": 60.0, "within_s": 1.9}, False),
        ({"within_s": 2.0}, True),
        ({}, True),
    ],
)
async def test_the_earliest_limit_of_a_wait_counts(
    make_limiter: MakeLimiter,
    clock: LoopClock,
    asked: dict[str, float],
    *,
    is_granted: bool,
) -> None:
    """
    Timeout, deadline and option: a permit that comes in time is worth the wait.
    """
    limiter = make_limiter(rate_per_s=0.5, burst=1, wait_max_s=3.0)
    limiter.acquire_nowait()
    within_s = asked.get("within_s")
    wish = limiter.acquire(
        timeout_s=asked.get("timeout_s"),
        deadline=None if within_s is None else Deadline.after(clock, within_s),
    )

    if is_granted:
        assert await wish == pytest.approx(2)
        return
    started_s = clock.monotonic()
    with pytest.raises(RateLimitedError) as caught:
        await wish

    assert caught.value.retry_after_s == pytest.approx(2)
    assert clock.monotonic() == started_s


async def test_a_queue_of_nobody_refuses_who_would_wait(
    make_limiter: MakeLimiter,
) -> None:
    """
    Without a waiting room a permit is there or it is not.
    """
    limiter = make_limiter(rate_per_s=10, burst=1, waiting_max=0)

    assert await limiter.acquire() == 0
    with pytest.raises(RateLimitedError):
        await limiter.acquire()


async def test_only_waits_are_told(
    make_limiter: MakeLimiter, recorder: Recorder
) -> None:
    """
    A permit that is there is no news; a wait is, with its length.
    """
    limiter = make_limiter(rate_per_s=2, burst=1)

    await limiter.acquire()
    await limiter.acquire()

    [waited] = recorder.of(RateLimiterWaited)
    assert waited.limiter == "upstream"
    assert waited.waited_s == pytest.approx(0.5)


@pytest.mark.parametrize("pause_s", [0.0, 2.0])
async def test_calls_in_a_pipeline_count(
    make_limiter: MakeLimiter,
    clock: LoopClock,
    bus: EventBus,
    recorder: Recorder,
    pause_s: float,
) -> None:
    """
    The short way of a single request takes a permit like any other, and heeds a pause.
    """
    limiter = make_limiter(rate_per_s=1, burst=2, wait_max_s=1.5)
    pipeline = Pipeline(
        "upstream",
        strategies=[limiter],
        classify=classify_error,
        clock=clock,
        bus=bus,
    )

    async def call(_attempt: Attempt) -> str:
        return "hello"

    if pause_s:
        limiter.pause(pause_s)
        with pytest.raises(RateLimitedError):
            await pipeline.execute(call, operation="chat")
        [refused] = recorder.of(OperationRejected)
        assert (refused.operation, refused.strategy) == ("chat", "rate_limiter")
        assert refused.reason == "rate_limited"
        assert refused.retry_after_s == pytest.approx(pause_s)
        await clock.sleep(pause_s)
    for _ in range(2):
        await pipeline.execute(call, operation="chat")

    assert limiter.granted_permits == 2
    assert limiter.available() == 0
    await pipeline.execute(call, operation="chat")
    assert limiter.granted_permits == 3


async def test_a_smaller_burst_refuses_who_never_fits(
    make_limiter: MakeLimiter, clock: LoopClock
) -> None:
    """
    A waiter that costs more than the bucket holds is told so, and those behind go on.
    """
    limiter = make_limiter(rate_per_s=1, burst=4)
    limiter.acquire_nowait(cost=4)
    async with asyncio.TaskGroup() as tasks:
        large = tasks.create_task(granted_or_told(limiter, 4))
        small = tasks.create_task(granted_or_told(limiter, 1))
        await clock.sleep(0)
        limiter.change(rate_per_s=1, burst=2)

    assert isinstance(large.result(), LimitExceededError)
    assert large.result().value == 2  # type: ignore[union-attr]
    assert small.result() == pytest.approx(1)


async def granted_or_told(
    limiter: RateLimiter, cost: float
) -> float | LimitExceededError:
    """
    Return how long a permit took, or why there is none.
    """
    try:
        return await limiter.acquire(cost=cost)
    except LimitExceededError as error:
        return error


async def test_tokens_above_their_burst_are_an_error(
    make_limiter: MakeLimiter,
) -> None:
    """
    Each limit has its own burst; that of tokens is a minute's worth if not told.
    """
    limiter = make_limiter(token_rate_per_s=10)

    limiter.acquire_nowait(tokens=600)

    with pytest.raises(LimitExceededError) as caught:
        limiter.acquire_nowait(tokens=601)
    assert caught.value.value == 600


async def test_who_leaves_makes_room_in_the_plan(
    make_limiter: MakeLimiter, clock: LoopClock
) -> None:
    """
    With two limits the grant times of a queue are planned, and planned again.
    """
    limiter = make_limiter(
        rate_per_s=100, burst=100, token_rate_per_s=10, token_burst=100
    )
    limiter.acquire_nowait(tokens=100)
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(limiter.acquire(tokens=50))
        second = tasks.create_task(limiter.acquire(tokens=20))
        await clock.sleep(0)
        with pytest.raises(RateLimitedError) as before:
            limiter.acquire_nowait(tokens=10)
        first.cancel()
        await clock.sleep(0)
        with pytest.raises(RateLimitedError) as after:
            limiter.acquire_nowait(tokens=10)

    assert before.value.retry_after_s == pytest.approx(8)
    assert after.value.retry_after_s == pytest.approx(3)
    assert second.result() == pytest.approx(2)


async def test_a_pause_as_long_as_the_last_is_no_news(
    make_limiter: MakeLimiter, recorder: Recorder
) -> None:
    """
    Many answers that ask for the same pause tell it once.
    """
    limiter = make_limiter()

    limiter.pause(3)
    limiter.pause(3)
    limiter.pause(4)

    assert [event.pause_s for event in recorder.of(RateLimiterPaused)] == [3, 4]


async def test_a_call_in_a_pipeline_waits_behind_the_queue(
    make_limiter: MakeLimiter, clock: LoopClock, bus: EventBus
) -> None:
    """
    The short way is for when nobody waits: a small call does not pass a large one.
    """
    limiter = make_limiter(rate_per_s=1, burst=4)
    limiter.acquire_nowait(cost=3)
    pipeline = Pipeline(
        "upstream",
        strategies=[limiter],
        classify=classify_error,
        clock=clock,
        bus=bus,
    )

    async def call(_attempt: Attempt) -> float:
        return clock.monotonic() - started_s

    started_s = clock.monotonic()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(limiter.acquire(cost=4))
        await clock.sleep(0)
        small = tasks.create_task(pipeline.execute(call, operation="chat"))

    assert small.result() == pytest.approx(4)


async def test_who_is_refused_makes_room_at_once(
    make_limiter: MakeLimiter, clock: LoopClock
) -> None:
    """
    A pause that is too long for one waiter need not be so for the next behind it.
    """
    limiter = make_limiter(rate_per_s=1, burst=4)
    limiter.acquire_nowait(cost=4)
    async with asyncio.TaskGroup() as tasks:
        hasty = tasks.create_task(refused_after_s(limiter, cost=4, timeout_s=4.5))
        patient = tasks.create_task(limiter.acquire(cost=1, timeout_s=9.5))
        hopeless = tasks.create_task(refused_after_s(limiter, cost=4, timeout_s=9.5))
        await clock.sleep(0)
        limiter.pause(9)
        await clock.sleep(0)
        assert hopeless.done()

    assert hasty.result() == pytest.approx(9)
    assert hopeless.result() == pytest.approx(10)
    assert patient.result() == pytest.approx(9)


async def test_a_pause_counts_in_a_queue_for_two_limits(
    make_limiter: MakeLimiter, clock: LoopClock
) -> None:
    """
    What was planned before the pause is planned again for who asks after it.
    """
    limiter = make_limiter(
        rate_per_s=100, burst=100, token_rate_per_s=10, token_burst=100
    )
    limiter.acquire_nowait(tokens=100)
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(limiter.acquire(tokens=10))
        await clock.sleep(0)
        assert await refused_after_s(limiter, tokens=10, timeout_s=0) == 2
        limiter.pause(7)
        assert await refused_after_s(limiter, tokens=10, timeout_s=0) == 7

    assert first.result() == pytest.approx(7)


async def refused_after_s(limiter: RateLimiter, **asked: float) -> float:
    """
    Return when a refused call may ask again.
    """
    with pytest.raises(RateLimitedError) as caught:
        await limiter.acquire(**asked)  # type: ignore[arg-type]
    assert caught.value.retry_after_s is not None
    return round(caught.value.retry_after_s, 6)


async def test_a_peer_with_less_left_times_the_queue_again(
    make_limiter: MakeLimiter, clock: LoopClock
) -> None:
    """
    Who would now wait too long is told at once, and the next one waits longer.
    """
    limiter = make_limiter(rate_per_s=1, burst=10)
    limiter.acquire_nowait(cost=7)
    async with asyncio.TaskGroup() as tasks:
        hasty = tasks.create_task(refused_after_s(limiter, cost=5, timeout_s=3))
        patient = tasks.create_task(limiter.acquire(cost=4))
        await clock.sleep(0)
        limiter.resync(requests=0)
        await clock.sleep(0)
        assert hasty.done()

    assert hasty.result() == 5
    assert patient.result() == pytest.approx(4)


async def test_a_call_without_tokens_takes_none(make_limiter: MakeLimiter) -> None:
    """
    The second limit is only for who says what it costs there.
    """
    limiter = make_limiter(token_rate_per_s=10, token_burst=5)
    for _ in range(10):
        limiter.acquire_nowait()
        assert await limiter.acquire() == 0

    limiter.acquire_nowait(tokens=5)


async def test_a_plan_knows_who_asked_last(
    make_limiter: MakeLimiter, clock: LoopClock
) -> None:
    """
    Each call of a queue for two limits comes after the one before, whatever it costs.
    """
    limiter = make_limiter(
        rate_per_s=100, burst=100, token_rate_per_s=10, token_burst=100
    )
    limiter.acquire_nowait(tokens=100)
    async with asyncio.TaskGroup() as tasks:
        for tokens in (10, 50):
            tasks.create_task(limiter.acquire(tokens=tokens))
            await clock.sleep(0)
        assert await refused_after_s(limiter, timeout_s=5.9) == 6
        last = tasks.create_task(limiter.acquire(timeout_s=6))

    assert last.result() == pytest.approx(6)


async def test_a_plan_ends_with_its_queue(
    make_limiter: MakeLimiter, clock: LoopClock
) -> None:
    """
    What was planned for a queue that is gone says nothing of the next one.
    """
    limiter = make_limiter(
        rate_per_s=100, burst=100, token_rate_per_s=10, token_burst=100
    )
    limiter.acquire_nowait(tokens=100)
    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(limiter.acquire(tokens=10))
            await clock.sleep(0)
    await clock.sleep(20)
    limiter.acquire_nowait(tokens=100)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(limiter.acquire(tokens=10))
        await clock.sleep(0)

        assert await refused_after_s(limiter, tokens=10, timeout_s=0) == 2


async def test_no_timer_stays_behind_a_waiter_that_left(
    make_limiter: MakeLimiter, clock: LoopClock
) -> None:
    """
    When the last waiter goes away there is nothing to wake up for.
    """
    limiter = make_limiter(rate_per_s=0.1, burst=1)
    limiter.acquire_nowait()
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(limiter.acquire())
        await clock.sleep(0)
        timer = limiter._timer
        assert timer is not None
        waiting.cancel()

    assert timer.cancelled()
    assert limiter._timer is None


async def test_who_does_not_wait_gets_nothing_while_others_do(
    make_limiter: MakeLimiter, clock: LoopClock
) -> None:
    """
    In the very moment in which the queue is due it still goes first.
    """
    limiter = make_limiter(rate_per_s=1, burst=4)
    refused = []

    def ask() -> None:
        with pytest.raises(RateLimitedError) as caught:
            limiter.acquire_nowait()
        refused.append(caught.value.retry_after_s)

    limiter.pause(2)
    # Set before the timer of the queue, and due at the same time.
    asyncio.get_running_loop().call_at(clock.monotonic() + 2, ask)
    assert await limiter.acquire() == pytest.approx(2)

    assert refused == [0.0]
    assert limiter.granted_permits == 1


async def test_a_grant_at_the_last_moment_is_in_time(
    make_limiter: MakeLimiter, clock: LoopClock
) -> None:
    """
    A pause that ends when the patience of a waiter does costs it nothing.
    """
    limiter = make_limiter(rate_per_s=1, burst=1)
    limiter.acquire_nowait()
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(limiter.acquire(timeout_s=6))
        await clock.sleep(0)
        limiter.pause(6)

    assert waiting.result() == pytest.approx(6)


async def test_another_rate_counts_in_a_plan(
    make_limiter: MakeLimiter, clock: LoopClock
) -> None:
    """
    What was planned at the old rate is planned again at the other one.
    """
    limiter = make_limiter(rate_per_s=1, burst=1, token_rate_per_s=10, token_burst=100)
    limiter.acquire_nowait()
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(limiter.acquire())
        await clock.sleep(0)
        assert await refused_after_s(limiter, timeout_s=0) == 2
        limiter.change(rate_per_s=10, burst=1)
        assert await refused_after_s(limiter, timeout_s=0) == 0.2

    assert waiting.result() == pytest.approx(0.1)


async def test_nothing_stays_queued_behind_fractions(
    make_limiter: MakeLimiter, clock: LoopClock
) -> None:
    """
    Costs that floats cannot add up exactly leave nothing behind them.
    """
    limiter = make_limiter(rate_per_s=1, burst=1)
    limiter.acquire_nowait()
    async with asyncio.TaskGroup() as tasks:
        for cost in (0.1, 0.2, 0.3, 0.7):
            tasks.create_task(limiter.acquire(cost=cost))
        await clock.sleep(0)

    assert limiter._queued == [0.0]
