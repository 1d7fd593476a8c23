"""
The bulkhead: a bounded number at once, a bounded number waiting.
"""

import asyncio
from collections.abc import Callable

import pytest

from harness.clock import LoopClock
from harness.errors import BulkheadFullError
from harness.randomness import Randomness
from harness.resilience import Bulkhead, Deadline

pytestmark = pytest.mark.virtual_time

MakeBulkhead = Callable[..., Bulkhead]


async def test_at_most_so_many_at_once(
    make_bulkhead: MakeBulkhead, clock: LoopClock
) -> None:
    """
    Never more than the permits are in use, and all get in, in the order they came.
    """
    bulkhead = make_bulkhead(permits_max=3)
    inside_max = 0
    order: list[int] = []

    async def call(number: int) -> None:
        nonlocal inside_max
        async with bulkhead.permit():
            order.append(number)
            inside_max = max(inside_max, bulkhead.in_use)
            await clock.sleep(1)

    async with asyncio.TaskGroup() as tasks:
        for number in range(10):
            tasks.create_task(call(number))

    assert inside_max == 3
    assert order == list(range(10))
    assert bulkhead.in_use == 0


async def test_full_waiting_room_refuses_at_once(
    make_bulkhead: MakeBulkhead, clock: LoopClock
) -> None:
    """
    When as many wait as may wait, the next one is refused without waiting.
    """
    bulkhead = make_bulkhead(permits_max=1, waiting_max=0)
    started_s = clock.monotonic()

    async with bulkhead.permit():
        with pytest.raises(BulkheadFullError):
            await bulkhead.acquire()

    assert clock.monotonic() == started_s


@pytest.mark.parametrize(("deadline_s", "waited_s"), [(100, 5), (2, 2)])
async def test_wait_is_bounded(
    make_bulkhead: MakeBulkhead, clock: LoopClock, deadline_s: float, waited_s: float
) -> None:
    """
    A wait ends at its maximum or at the deadline, and leaves nobody in the queue.
    """
    bulkhead = make_bulkhead(permits_max=1, wait_max_s=5)
    await bulkhead.acquire()
    started_s = clock.monotonic()

    with pytest.raises(BulkheadFullError):
        await bulkhead.acquire(deadline=Deadline.after(clock, deadline_s))

    assert clock.monotonic() - started_s == pytest.approx(waited_s)
    assert bulkhead.waiting == 0


async def test_permit_granted_to_a_cancelled_caller_is_handed_on(
    make_bulkhead: MakeBulkhead, clock: LoopClock
) -> None:
    """
    A caller that is cancelled in the turn in which it got its permit loses none.
    """
    bulkhead = make_bulkhead(permits_max=1)
    await bulkhead.acquire()

    async with asyncio.TaskGroup() as tasks:
        unlucky = tasks.create_task(bulkhead.acquire())
        patient = tasks.create_task(bulkhead.acquire())
        await clock.sleep(1)
        bulkhead.release()
        unlucky.cancel()

    assert patient.done()
    assert not patient.cancelled()
    assert bulkhead.in_use == 1


async def test_no_permit_is_lost_over_many_interleavings(
    make_bulkhead: MakeBulkhead, clock: LoopClock, randomness: Randomness
) -> None:
    """
    After 10,000 calls, cancelled at any moment, all permits are back.
    """
    draws = randomness.stream("interleavings")
    bulkhead = make_bulkhead(permits_max=4, waiting_max=50, wait_max_s=3)

    async def call() -> None:
        try:
            async with bulkhead.permit():
                assert bulkhead.in_use <= 4
                await clock.sleep(draws.choice([0, 0, 1, 2]))
        except BulkheadFullError:
            return

    async with asyncio.TaskGroup() as tasks:
        for number in range(10_000):
            task = tasks.create_task(call())
            if draws.random() < 0.4:
                asyncio.get_running_loop().call_later(
                    draws.choice([0, 1, 2, 3]), task.cancel
                )
            if number % 20 == 0:
                await clock.sleep(draws.choice([0, 1]))

    assert bulkhead.in_use == 0
    assert bulkhead.waiting == 0


async def test_a_smaller_limit_holds_for_those_who_come(
    make_bulkhead: MakeBulkhead, clock: LoopClock
) -> None:
    """
    A limit that shrinks interrupts nobody; one that grows lets waiters in.
    """
    bulkhead = make_bulkhead(permits_max=4)
    for _ in range(4):
        await bulkhead.acquire()
    bulkhead.change(permits_max=2)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(bulkhead.acquire())
        await clock.sleep(1)
        bulkhead.release()
        bulkhead.release()
        await clock.sleep(1)
        assert not waiting.done()

        bulkhead.change(permits_max=3)

    assert bulkhead.in_use == 3
