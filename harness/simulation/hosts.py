"""
Hosts: programs with a disk that can lose their power.
"""

import asyncio
import contextvars
import shutil
from collections.abc import Callable, Coroutine
from enum import Enum
from pathlib import Path
from typing import Any

from harness.errors import UsageError
from harness.simulation.jumping import SimTask
from harness.simulation.life import LIFE, Life
from harness.simulation.loop import SimLoop

Main = Callable[[], Coroutine[Any, Any, None]]


class Ending(Enum):
    """
    How a life of a host ended.
    """

    FINISHED = "finished"
    """Its program returned."""
    STOPPED = "stopped"
    """It was told to stop, and tidied up."""
    CRASHED = "crashed"
    """Its power failed: nothing was tidied up."""


class Host:
    """
    One simulated machine with one program.

    Whatever the program starts belongs to the host. After a crash none of it runs
    again, not even a ``finally``; what the dying step still does until it next
    waits reaches neither the network nor the disk.

    Args:
        name: Names the host in links.
        disk: A directory. After a crash it holds what had been written until then,
            and what the dead program has open leads nowhere.
    """

    def __init__(self, *, loop: SimLoop, name: str, disk: Path | None = None) -> None:
        self.name = name
        self.disk = disk
        self._loop = loop
        self._life = Life(host=name, number=0, is_alive=False)
        self._task: SimTask[None] | None = None
        self._ending = Ending.STOPPED
        self._error: BaseException | None = None
        self._ended = asyncio.Event()

    @property
    def life(self) -> Life:
        """
        The life that is, or was the last.
        """
        return self._life

    @property
    def is_up(self) -> bool:
        """
        Whether the program runs.
        """
        return self._task is not None

    def start(self, main: Main) -> None:
        """
        Begin a life: run ``main`` on this host.

        Raises:
            UsageError: The host is up.
        """
        if self._task is not None:
            message = f"host {self.name!r} is up"
            raise UsageError(message)
        self._life = Life(host=self.name, number=self._life.number + 1)
        self._error = None
        self._ended.clear()
        context = contextvars.copy_context()
        context.run(LIFE.set, self._life)
        self._task = self._loop.make_task(
            main(), name=f"{self.name}#{self._life.number}", context=context
        )
        self._task.add_done_callback(self._finish)

    async def stop(self) -> None:
        """
        Cancel the program and return once it has tidied up.
        """
        if self._task is not None:
            self._task.cancel()
            await self.wait_ended()

    def crash(self, *, silently: bool = False) -> None:
        """
        Cut the power, in the middle of whatever the program does.

        Args:
            silently: Leave the connections half-open, as a machine does that is
                gone; otherwise they are reset, as by a kernel whose process died.

        Raises:
            UsageError: The host is down.
        """
        if self._task is None:
            message = f"host {self.name!r} is down"
            raise UsageError(message)
        # The task is let go only once it is buried: nobody else may hold it.
        self._loop.end_life(self._life, silently=silently)
        self._task = None
        if self.disk is not None:
            _detach(self.disk, kept_as=f"{self.disk.name}.life-{self._life.number}")
        self._end(Ending.CRASHED)

    async def wait_ended(self) -> Ending:
        """
        Return how this life ended, once it has; raise what the program raised.
        """
        await self._ended.wait()
        if self._error is not None:
            raise self._error
        return self._ending

    def _finish(self, task: asyncio.Task[None]) -> None:
        if task is not self._task:
            return
        self._task = None
        if task.cancelled():
            self._end(Ending.STOPPED)
        else:
            self._error = task.exception()
            self._end(Ending.FINISHED)

    def _end(self, ending: Ending) -> None:
        self._ending = ending
        self._ended.set()


def _detach(disk: Path, *, kept_as: str) -> None:
    # Open files follow the directory that is renamed; the copy has what was
    # written, at the old path.
    old = disk.rename(disk.with_name(kept_as))
    shutil.copytree(old, disk)
