"""
Work that outlives the request that began it, and its owner.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from harness.clock import Clock, wait_set
from harness.errors import OverloadedError, StoppingError

ResultT = TypeVar("ResultT")


class OwnedTasks:
    """
    Owns tasks between the start and the end of :meth:`run`.

    Args:
        name: The limit's name, told when it is reached.
        tasks_max: How many may run at once.
        clock: Bounds how long the end waits for them.
    """

    def __init__(self, *, name: str, tasks_max: int, clock: Clock) -> None:
        self._name = name
        self._tasks_max = tasks_max
        self._clock = clock
        self._group: asyncio.TaskGroup | None = None
        self._running: set[asyncio.Task[Any]] = set()
        self._is_stopping = False
        self._ready = asyncio.Event()
        self._closing = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._running)

    async def run(self) -> None:
        """
        Own tasks until :meth:`stop`; those that are left then are cancelled.
        """
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                self._ready.set()
                await self._closing.wait()
                for task in self._running:
                    task.cancel()
        finally:
            self._group = None

    async def wait_ready(self) -> None:
        """
        Return once tasks can be started.
        """
        await self._ready.wait()

    def check_room(self) -> None:
        """
        Refuse what could not be started.

        Raises:
            OverloadedError: As many tasks as allowed are running.
            StoppingError: The end is near.
        """
        self._check_open()
        if len(self._running) >= self._tasks_max:
            raise OverloadedError(limit=self._name, value=self._tasks_max)

    def start(
        self, work: Coroutine[Any, Any, ResultT], *, name: str
    ) -> asyncio.Task[ResultT]:
        """
        Run ``work`` as a task of this owner; it must not raise.

        Raises:
            StoppingError: The end is near; the work is not begun.
        """
        try:
            group = self._check_open()
        except StoppingError:
            work.close()
            raise
        task = group.create_task(work, name=name)
        self._running.add(task)
        self._idle.clear()
        task.add_done_callback(self._forget)
        return task

    async def stop(self, *, grace_s: float) -> int:
        """
        End :meth:`run` once all tasks have ended, at the latest after ``grace_s``.

        From the beginning of that time on nothing is begun any more.

        Returns:
            How many tasks had to be cancelled.
        """
        self._is_stopping = True
        await wait_set(self._idle, clock=self._clock, timeout_s=grace_s)
        left = len(self._running)
        self._closing.set()
        return left

    def _check_open(self) -> asyncio.TaskGroup:
        if self._group is None or self._is_stopping:
            raise StoppingError
        return self._group

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if not self._running:
            self._idle.set()
