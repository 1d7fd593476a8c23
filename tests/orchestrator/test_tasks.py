"""
Work that outlives the request that began it has an owner.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from harness.clock import LoopClock
from harness.errors import OverloadedError, StoppingError
from harness.orchestrator import OwnedTasks

pytestmark = pytest.mark.virtual_time


@asynccontextmanager
async def owning(clock: LoopClock, *, grace_s: float) -> AsyncIterator[OwnedTasks]:
    """
    Run an owner of at most two tasks while inside.
    """
    owner = OwnedTasks(name="things_max", tasks_max=2, clock=clock)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(owner.run())
        await owner.wait_ready()
        yield owner
        await owner.stop(grace_s=grace_s)


async def test_end_waits_for_what_runs(clock: LoopClock) -> None:
    """
    Within the grace time work is finished.
    """
    async with owning(clock, grace_s=5) as owner:
        task = owner.start(clock.sleep(3), name="work")

    assert task.done()
    assert not task.cancelled()


async def test_end_cancels_what_takes_longer(clock: LoopClock) -> None:
    """
    After the grace time work is cancelled, and the end does not wait for it.
    """
    started_s = clock.monotonic()
    async with owning(clock, grace_s=5) as owner:
        task = owner.start(clock.sleep(3600), name="work")

    assert task.cancelled()
    assert clock.monotonic() - started_s == pytest.approx(5)


async def test_room_is_limited(clock: LoopClock) -> None:
    """
    Beyond the limit there is no room, until something ends.
    """
    async with owning(clock, grace_s=60) as owner:
        first = owner.start(clock.sleep(1), name="work")
        owner.start(clock.sleep(9), name="work")
        with pytest.raises(OverloadedError, match="things_max"):
            owner.check_room()
        await first
        await clock.sleep(0)

        owner.check_room()
        assert len(owner) == 1


async def test_nothing_begins_after_the_end(clock: LoopClock) -> None:
    """
    Before the start and after the end nothing can be begun.
    """
    owner = OwnedTasks(name="things_max", tasks_max=2, clock=clock)
    with pytest.raises(StoppingError):
        owner.start(clock.sleep(1), name="early")
    async with owning(clock, grace_s=0) as ended:
        pass
    with pytest.raises(StoppingError):
        ended.start(clock.sleep(1), name="late")

    assert len(ended) == 0
