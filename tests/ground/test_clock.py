"""
Waiting on the one clock.
"""

import asyncio

import pytest

from harness.clock import LoopClock, wait_set

pytestmark = pytest.mark.virtual_time


async def test_an_event_that_is_set_ends_the_wait(clock: LoopClock) -> None:
    """
    Whoever waits goes on as soon as the event is set, and is told that it is.
    """
    event = asyncio.Event()
    started_s = clock.monotonic()
    clock.call_at(started_s + 3, event.set)

    assert await wait_set(event, clock=clock, timeout_s=10)
    assert clock.monotonic() - started_s == 3
    assert await wait_set(event, clock=clock, timeout_s=0)


async def test_the_wait_ends_without_the_event(clock: LoopClock) -> None:
    """
    When the time is over the wait is over, and nothing is raised.
    """
    started_s = clock.monotonic()

    assert not await wait_set(asyncio.Event(), clock=clock, timeout_s=10)
    assert clock.monotonic() - started_s == 10


async def test_an_outer_timeout_is_not_swallowed(clock: LoopClock) -> None:
    """
    A time limit around the wait is somebody else's, and reaches them.
    """
    with pytest.raises(TimeoutError):
        async with clock.timeout(1):
            await wait_set(asyncio.Event(), clock=clock, timeout_s=10)
