"""
The rate limiter: known grant times, first in first out, no holes.
"""

import asyncio
from collections.abc import Callable

import pytest

from harness.clock import LoopClock
from harness.errors import LimitExceededError, RateLimitedError
from harness.events import RateLimiterPaused, RateLimiterWaited
from harness.resilience import Deadline, RateLimiter
from harness.testing import Recorder

pytestmark = pytest.mark.virtual_time

MakeLimiter = Callable[..., RateLimiter]
Granted = dict[str, float]


class Queue:
    """
    Calls in a limiter's queue, by name, with the times at which they got in.
    """

    def __init__(
        self, limiter: RateLimiter, clock: LoopClock, tasks: asyncio.TaskGroup
    ) -> None:
        self.limiter = limiter
        self.clock = clock
        self.tasks = tasks
        self.started_s = clock.monotonic()
        self.granted: Granted = {}
        self.refused: dict[str, float] = {}
        self.calls: dict[str, asyncio.Task[None]] = {}

    async def ask(
        self,
        name: str,
        *,
        cost: float = 1,
        tokens: float = 0,
        timeout_s: float | None = None,
    ) -> None:
        """
        Put a call into the queue.
        """
        self.calls[name] = self.tasks.create_task(
            self._wait(name, cost=cost, tokens=tokens, timeout_s=timeout_s)
        )
        await self.clock.sleep(0)

    async def _wait(
        self, name: str, *, cost: float, tokens: float, timeout_s: float | None
    ) -> None:
        try:
            await self.limiter.acquire(cost=cost, tokens=tokens, timeout_s=timeout_s)
        except RateLimitedError as error:
            self.refused[name] = error.retry_after_s or 0.0
        else:
            self.granted[name] = round(self.clock.monotonic() - self.started_s, 6)


async def test_burst_passes_at_once(
    make_limiter: MakeLimiter, clock: LoopClock
) -> None:
    """
    A full bucket lets its whole burst through without waiting, and no more.
    """
    limiter = make_limiter(rate_per_s=100, burst=200)
    started_s = clock.monotonic()

    for _ in range(200):
        assert await limiter.acquire() == 0

    assert clock.monotonic() == started_s
    with pytest.raises(RateLimitedError) as caught:
        limiter.acquire_nowait()
    assert caught.value.retry_after_s == pytest.approx(0.01)


async def test_never_more_than_rate_and_burst(
    make_limiter: MakeLimiter, clock: LoopClock
) -> None:
    """
    In no window of time more get through than the burst and the rate allow.
    """
    limiter = make_limiter(rate_per_s=10, burst=5, wait_max_s=1000)
    times: list[float] = []

    async def call() -> None:
        await limiter.acquire()
        times.append(clock.monotonic())

    async with asyncio.TaskGroup() as tasks:
        for _ in range(100):
            tasks.create_task(call())

    for first, start_s in enumerate(times):
        for last, end_s in enumerate(times[first:], first):
            assert last - first + 1 <= 5 + 10 * (end_s - start_s) + 1e-3


async def test_cost_above_the_burst_is_an_error(make_limiter: MakeLimiter) -> None:
    """
    What can never be granted is refused at once, and names the limit.
    """
    limiter = make_limiter(rate_per_s=100, burst=200)

    with pytest.raises(LimitExceededError, match="burst"):
        await limiter.acquire(cost=201)

    assert limiter.available() == 200


async def test_too_late_is_refused_at_once(
    make_limiter: MakeLimiter, clock: LoopClock
) -> None:
    """
    A permit that would come after the deadline is refused now, and costs nothing.
    """
    limiter = make_limiter(rate_per_s=1, burst=1, wait_max_s=30)
    await limiter.acquire()
    started_s = clock.monotonic()

    with pytest.raises(RateLimitedError) as caught:
        await limiter.acquire(deadline=Deadline.after(clock, 0.5))

    assert clock.monotonic() == started_s
    assert caught.value.retry_after_s == pytest.approx(1)
    assert await limiter.acquire() == pytest.approx(1)


async def test_waiting_longer_than_allowed_is_refused_at_once(
    make_limiter: MakeLimiter, clock: LoopClock
) -> None:
    """
    Nobody waits longer than the limiter's own maximum.
    """
    limiter = make_limiter(rate_per_s=1, burst=1, wait_max_s=3)
    async with asyncio.TaskGroup() as tasks:
        queue = Queue(limiter, clock, tasks)
        for name in "abcdefg":
            await queue.ask(name)

    assert queue.granted == {"a": 0, "b": 1, "c": 2, "d": 3}
    assert sorted(queue.refused) == ["e", "f", "g"]


async def test_first_in_first_out_whatever_the_cost(
    make_limiter: MakeLimiter, clock: LoopClock
) -> None:
    """
    A cheap call does not overtake an expensive one, so that nobody starves.
    """
    limiter = make_limiter(rate_per_s=10, burst=10)
    async with asyncio.TaskGroup() as tasks:
        queue = Queue(limiter, clock, tasks)
        await queue.ask("drain", cost=10)
        await queue.ask("large", cost=10)
        await queue.ask("small", cost=1)
        await clock.sleep(0.5)
        await queue.ask("later", cost=1)

    assert queue.granted == {"drain": 0, "large": 1, "small": 1.1, "later": 1.2}


async def test_cancelled_waiter_leaves_no_hole(
    make_limiter: MakeLimiter, clock: LoopClock
) -> None:
    """
    When a waiter leaves, all behind it move up.
    """
    limiter = make_limiter(rate_per_s=100, burst=200)
    async with asyncio.TaskGroup() as tasks:
        queue = Queue(limiter, clock, tasks)
        await queue.ask("drain", cost=200)
        await queue.ask("a", cost=5)
        await queue.ask("b", cost=1)
        await queue.ask("c", cost=1, timeout_s=0.05)
        await clock.sleep(0.02)
        queue.calls["a"].cancel()

    assert queue.granted == {"drain": 0, "b": 0.02}
    assert queue.refused == {"c": pytest.approx(0.07)}


async def test_grant_that_meets_a_cancel_goes_back(
    make_limiter: MakeLimiter, clock: LoopClock
) -> None:
    """
    A permit granted in the very turn in which its caller was cancelled is not lost.
    """
    limiter = make_limiter(rate_per_s=2, burst=4)
    async with asyncio.TaskGroup() as tasks:
        queue = Queue(limiter, clock, tasks)
        await queue.ask("drain", cost=4)
        await queue.ask("unlucky", cost=4)
        await queue.ask("next", cost=1)

        def cancel() -> None:
            queue.calls["unlucky"].cancel()

        # Due at the same moment as the grant, and scheduled after it.
        asyncio.get_running_loop().call_later(2, cancel)

    assert queue.granted == {"drain": 0, "next": 2}
    assert limiter.granted_permits - limiter.returned_permits == 2
    assert limiter.available() == pytest.approx(3)


async def test_changing_the_rate_times_the_queue_again(
    make_limiter: MakeLimiter, clock: LoopClock
) -> None:
    """
    A faster rate lets waiters in earlier; a slower one refuses who would be too late.
    """
    limiter = make_limiter(rate_per_s=1, burst=1)
    async with asyncio.TaskGroup() as tasks:
        queue = Queue(limiter, clock, tasks)
        for name in ("a", "b", "c", "d"):
            await queue.ask(name, timeout_s=5)
        await clock.sleep(0.5)
        limiter.change(rate_per_s=10, burst=1)
        await clock.sleep(0.1)
        limiter.change(rate_per_s=0.25, burst=1)

    assert queue.granted == {"a": 0, "b": 0.55, "c": 2.6}
    assert queue.refused == {"d": pytest.approx(6)}


async def test_idle_bucket_fills_to_its_burst_and_no_further(
    make_limiter: MakeLimiter, clock: LoopClock
) -> None:
    """
    A long quiet time neither shrinks the bucket nor saves up more than the burst.
    """
    limiter = make_limiter(rate_per_s=10, burst=5)
    for _ in range(5):
        limiter.acquire_nowait()

    await clock.sleep(3600)

    assert limiter.available() == 5


async def test_pause_lets_nothing_out(
    make_limiter: MakeLimiter, clock: LoopClock, recorder: Recorder
) -> None:
    """
    While paused nothing passes, tokens or not; afterwards the queue goes on in order.
    """
    limiter = make_limiter(rate_per_s=10, burst=5)
    limiter.pause(3)
    async with asyncio.TaskGroup() as tasks:
        queue = Queue(limiter, clock, tasks)
        await queue.ask("a")
        await queue.ask("b", timeout_s=1)
        await queue.ask("c")

    assert queue.granted == {"a": 3, "c": 3}
    assert queue.refused == {"b": pytest.approx(3)}
    assert [event.pause_s for event in recorder.of(RateLimiterPaused)] == [3]
    assert [event.waited_s for event in recorder.of(RateLimiterWaited)] == [3, 3]


async def test_pause_refuses_waiters_that_would_be_too_late(
    make_limiter: MakeLimiter, clock: LoopClock
) -> None:
    """
    Who was promised a permit and cannot have it in time any more is told at once.
    """
    limiter = make_limiter(rate_per_s=1, burst=1)
    async with asyncio.TaskGroup() as tasks:
        queue = Queue(limiter, clock, tasks)
        await queue.ask("drain")
        await queue.ask("a", timeout_s=2)
        await queue.ask("b", timeout_s=20)
        limiter.pause(10)
        await clock.sleep(0)

        assert queue.refused == {"a": pytest.approx(10)}
    assert queue.granted == {"drain": 0, "b": 10}


async def test_pause_is_bounded_and_never_shortened(
    make_limiter: MakeLimiter, clock: LoopClock, recorder: Recorder
) -> None:
    """
    A pause keeps within its limit, and a shorter one does not end a longer one.
    """
    limiter = make_limiter(pause_max_s=20)
    limiter.pause(1800)
    limiter.pause(5)

    await clock.sleep(19.9)

    assert limiter.available() == 0
    assert [event.pause_s for event in recorder.of(RateLimiterPaused)] == [20]
    await clock.sleep(0.1)
    assert limiter.available() == 200


async def test_believes_a_peer_that_has_less_left(make_limiter: MakeLimiter) -> None:
    """
    What the peer says is left counts when it is less than we thought, never more.
    """
    limiter = make_limiter(rate_per_s=10, burst=100)

    limiter.resync(requests=3)
    limiter.resync(requests=50)

    assert limiter.available() == pytest.approx(3)


async def test_requests_and_tokens_are_one_decision(
    make_limiter: MakeLimiter, clock: LoopClock
) -> None:
    """
    A call waits for both limits and takes from neither before it gets both.
    """
    limiter = make_limiter(
        rate_per_s=10, burst=10, token_rate_per_s=100, token_burst=1000
    )
    async with asyncio.TaskGroup() as tasks:
        queue = Queue(limiter, clock, tasks)
        await queue.ask("a", tokens=1000)
        await queue.ask("b", tokens=200)
        await queue.ask("c", tokens=1)
        await queue.ask("d", tokens=100)
        await queue.ask("late", tokens=100, timeout_s=4)
        queue.calls["b"].cancel()

    assert queue.granted == {"a": 0, "c": 0.01, "d": 1.01}
    assert queue.refused == {"late": pytest.approx(4.01)}


async def test_nobody_passes_one_who_waits_for_tokens(
    make_limiter: MakeLimiter, clock: LoopClock
) -> None:
    """
    A call without tokens waits behind one that needs many, and knows for how long.
    """
    limiter = make_limiter(
        rate_per_s=10, burst=10, token_rate_per_s=10, token_burst=100
    )
    async with asyncio.TaskGroup() as tasks:
        queue = Queue(limiter, clock, tasks)
        await queue.ask("drain", tokens=100)
        await queue.ask("large", tokens=50)
        await queue.ask("hasty", timeout_s=4.9)
        await queue.ask("patient", timeout_s=5.1)
        await queue.ask("last", timeout_s=5.1)

    assert queue.granted == {"drain": 0, "large": 5, "patient": 5, "last": 5}
    assert queue.refused == {"hasty": pytest.approx(5)}


async def test_waiting_room_is_bounded(
    make_limiter: MakeLimiter, clock: LoopClock
) -> None:
    """
    Beyond so many waiters further ones are refused.
    """
    limiter = make_limiter(rate_per_s=10, burst=1, waiting_max=2)
    async with asyncio.TaskGroup() as tasks:
        queue = Queue(limiter, clock, tasks)
        for name in ("now", "a", "b", "c"):
            await queue.ask(name)

    assert sorted(queue.granted) == ["a", "b", "now"]
    assert sorted(queue.refused) == ["c"]


async def test_no_timer_runs_when_nobody_waits(
    make_limiter: MakeLimiter, clock: LoopClock
) -> None:
    """
    There is one timer while somebody waits, and none afterwards: nothing polls.
    """
    limiter = make_limiter(rate_per_s=10, burst=1)
    async with asyncio.TaskGroup() as tasks:
        queue = Queue(limiter, clock, tasks)
        for name in ("now", "a", "b"):
            await queue.ask(name)
        timer = limiter._timer
        assert timer is not None
        assert limiter.waiting == 2

    assert limiter._timer is None
    assert limiter.waiting == 0
