"""
Deadlines and how they travel.
"""

import asyncio

import pytest

from harness.clock import LoopClock
from harness.errors import DeadlineExceededError
from harness.resilience import (
    Deadline,
    current_deadline,
    deadline_scope,
    earlier,
)

pytestmark = pytest.mark.virtual_time


async def test_tells_what_is_left(clock: LoopClock) -> None:
    """
    A deadline counts down with the monotonic clock and expires at its very moment.
    """
    deadline = Deadline.after(clock, 1.5)
    assert deadline.remaining_ms() == 1500
    deadline.check()

    await clock.sleep(1.5)

    assert deadline.expired
    assert deadline.remaining_s() == pytest.approx(0)
    await clock.sleep(1)
    assert deadline.remaining_ms() == 0
    with pytest.raises(DeadlineExceededError) as caught:
        deadline.check()
    assert caught.value.deadline_in_s == pytest.approx(-1)


async def test_inner_scope_never_lasts_longer(clock: LoopClock) -> None:
    """
    A later deadline inside an earlier one changes nothing; tasks inherit it.
    """
    outer, inner = Deadline.after(clock, 1), Deadline.after(clock, 5)

    async def ask() -> Deadline | None:
        return current_deadline()

    with deadline_scope(outer), deadline_scope(inner) as effective:
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(ask())

    assert effective is outer
    assert task.result() is outer
    assert current_deadline() is None


async def test_earlier_of_two(clock: LoopClock) -> None:
    """
    The earlier deadline counts, and none is no deadline.
    """
    early, late = Deadline.after(clock, 1), Deadline.after(clock, 2)

    assert earlier(late, early) is early is earlier(early, None)
    assert earlier(None, None) is None
