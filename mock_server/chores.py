"""
What the mock does later, while nobody waits for an answer.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from mock_server.clock import Clock

logger = logging.getLogger(__name__)

Work = Callable[[], Awaitable[None]]


class Chore:
    """
    Something that is to be done.
    """

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def begin(self, task: asyncio.Task[None]) -> None:
        """
        Belong to this task.
        """
        self._task = task

    def cancel(self) -> None:
        """
        Leave it undone, or unfinished.
        """
        if self._task is not None:
            self._task.cancel()


class Chores:
    """
    Owns the tasks of all that is done later.

    Args:
        clock: For the waits.
        chores_max: How many may wait; one more is not done, and counted.
    """

    def __init__(self, clock: Clock, *, chores_max: int) -> None:
        self._clock = clock
        self._chores_max = chores_max
        self._group: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._tasks)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """
        Own the tasks; what is not done at the end is left undone.
        """
        failure: Exception | None = None
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                yield
            except Exception as error:  # noqa: BLE001 - raised below
                # Inside the group it would come out wrapped in another exception.
                failure = error
            finally:
                self._group = None
                self.forget()
        if failure is not None:
            raise failure

    def after(self, delay_s: float, work: Work) -> Chore:
        """
        Do something after a while.
        """
        chore = Chore()
        if self._group is None or len(self._tasks) >= self._chores_max:
            self.dropped += 1
            return chore
        task = self._group.create_task(self._do(delay_s, work), name="mock chore")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        chore.begin(task)
        return chore

    def forget(self) -> None:
        """
        Leave everything undone.
        """
        for task in self._tasks:
            task.cancel()

    async def _do(self, delay_s: float, work: Work) -> None:
        await self._clock.sleep(delay_s)
        try:
            await work()
        except Exception:
            # One chore that fails must not take the mock along.
            logger.exception("a chore failed")
