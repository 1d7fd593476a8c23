"""
The mock's one door to time.

Everything that waits, measures or stamps is given a :class:`Clock`. All of it follows
the running event loop, so that a loop whose clock jumps carries the mock with it.
"""

import asyncio
import time
from asyncio import get_running_loop
from typing import Protocol


class Clock(Protocol):
    """
    Time as the mock sees it.
    """

    def monotonic(self) -> float:
        """
        Return seconds since some fixed point; never goes back.
        """

    def wall(self) -> float:
        """
        Return Unix time in seconds; may be stepped by others.
        """

    async def sleep(self, delay_s: float) -> None:
        """
        Return after ``delay_s`` seconds; at once, but not before others ran, for 0.
        """

    def timeout(self, delay_s: float | None) -> asyncio.Timeout:
        """
        Return a context manager that raises :class:`TimeoutError` after ``delay_s``.
        """


class LoopClock:
    """
    The clock of the running event loop.

    Args:
        wall_epoch_s: None for the machine's wall clock. A number for a loop whose
            time is not real: wall time is then this plus the loop's time.
    """

    def __init__(self, wall_epoch_s: float | None = None) -> None:
        self._wall_epoch_s = wall_epoch_s
        self._loop: asyncio.AbstractEventLoop | None = None
        """The one that ran when it was last asked for."""

    def monotonic(self) -> float:
        """
        Return the loop's time, or the machine's where no loop runs.
        """
        loop = self._loop
        if loop is None or not loop.is_running():
            # Each time it is asked for, the system is asked which process this is.
            try:
                loop = self._loop = get_running_loop()
            except RuntimeError:
                return time.monotonic()  # noqa: TID251 - this is the door
        return loop.time()

    def wall(self) -> float:
        """
        Return Unix time in seconds.
        """
        if self._wall_epoch_s is None:
            return time.time()  # noqa: TID251 - this is the door
        return self._wall_epoch_s + self.monotonic()

    async def sleep(self, delay_s: float) -> None:
        """
        Return after ``delay_s`` seconds.
        """
        await asyncio.sleep(delay_s)  # noqa: TID251 - this is the door

    def timeout(self, delay_s: float | None) -> asyncio.Timeout:
        """
        Return a context manager that raises :class:`TimeoutError` after ``delay_s``.
        """
        return asyncio.timeout(delay_s)  # noqa: TID251 - this is the door
