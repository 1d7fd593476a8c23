"""
The one door to time.

Everything that waits, measures or stamps is given a :class:`Clock`. Durations come
from ``monotonic``, which nobody can set; ``wall`` only stamps what people and
other machines read. Both follow the running event loop, so that a loop whose clock
jumps carries all of the program with it.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Protocol


class Clock(Protocol):
    """
    Time as the program sees it.
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

    def timeout_at(self, when_s: float | None) -> asyncio.Timeout:
        """
        Return a context manager that raises :class:`TimeoutError` at ``when_s``.

        Args:
            when_s: A point on the scale of :meth:`monotonic`, or None for never.
        """

    def call_at(
        self, when_s: float, callback: Callable[[], None]
    ) -> asyncio.TimerHandle:
        """
        Call back at ``when_s`` and return a handle that can cancel that.

        For state machines that are no tasks; whoever can wait should rather sleep.
        """


class LoopClock:
    """
    The clock of an event loop.

    Args:
        wall_epoch_s: None for the machine's wall clock. A number for a loop whose
            time is not real: wall time is then this plus the loop's time.
        loop: The loop whose time it is. None asks for the running one each time,
            which costs a system call.
    """

    def __init__(
        self,
        wall_epoch_s: float | None = None,
        *,
        loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        self._wall_epoch_s = wall_epoch_s
        self._loop = loop

    def monotonic(self) -> float:
        """
        Return the loop's time, or the machine's where no loop runs.
        """
        if self._loop is not None:
            return self._loop.time()
        try:
            return asyncio.get_running_loop().time()
        except RuntimeError:
            return time.monotonic()  # noqa: TID251

    def wall(self) -> float:
        """
        Return Unix time in seconds.
        """
        if self._wall_epoch_s is None:
            return time.time()  # noqa: TID251
        return self._wall_epoch_s + self.monotonic()

    async def sleep(self, delay_s: float) -> None:
        """
        Return after ``delay_s`` seconds.
        """
        await asyncio.sleep(delay_s)  # noqa: TID251

    def timeout(self, delay_s: float | None) -> asyncio.Timeout:
        """
        Return a context manager that raises :class:`TimeoutError` after ``delay_s``.
        """
        return asyncio.timeout(delay_s)  # noqa: TID251

    def timeout_at(self, when_s: float | None) -> asyncio.Timeout:
        """
        Return a context manager that raises :class:`TimeoutError` at ``when_s``.
        """
        return asyncio.timeout_at(when_s)  # noqa: TID251

    def call_at(
        self, when_s: float, callback: Callable[[], None]
    ) -> asyncio.TimerHandle:
        """
        Call back at ``when_s`` and return a handle that can cancel that.
        """
        return asyncio.get_running_loop().call_at(when_s, callback)


async def wait_set(event: asyncio.Event, *, clock: Clock, timeout_s: float) -> bool:
    """
    Wait for an event, but not for ever, and return whether it is set.
    """
    timeout = clock.timeout(timeout_s)
    try:
        async with timeout:
            await event.wait()
    except TimeoutError:
        if not timeout.expired():
            raise
    return event.is_set()
