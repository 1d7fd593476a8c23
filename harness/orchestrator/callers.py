"""
The callers who wait for their chats: so many at once, and none beyond the end.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from harness.clock import Clock, wait_set
from harness.errors import OverloadedError, StoppingError


class WaitingCallers:
    """
    Gives each waiting caller a place, and takes the places back at the end.

    Args:
        callers_max: How many may wait at once.
        clock: Bounds how long the end waits for them.
    """

    def __init__(self, *, callers_max: int, clock: Clock) -> None:
        self._callers_max = callers_max
        self._clock = clock
        self._places: set[asyncio.Timeout] = set()
        self._is_stopping = False
        self._idle = asyncio.Event()
        self._idle.set()

    def __len__(self) -> int:
        return len(self._places)

    def check_room(self) -> None:
        """
        Refuse a caller for whom there would be no place.

        Raises:
            OverloadedError: As many as allowed are waiting.
            StoppingError: The end is near.
        """
        if self._is_stopping:
            raise StoppingError
        if len(self._places) >= self._callers_max:
            raise OverloadedError(limit="chats_max", value=self._callers_max)

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """
        Hold a place while inside.

        Raises:
            StoppingError: It was taken back, and what went on inside was cancelled.
        """
        place = self._clock.timeout_at(None)
        try:
            async with place:
                self._places.add(place)
                self._idle.clear()
                yield
        except TimeoutError as error:
            if not place.expired():
                raise
            raise StoppingError from error
        finally:
            self._places.discard(place)
            if not self._places:
                self._idle.set()

    async def stop(self, *, grace_s: float) -> int:
        """
        Let nobody in, and take back the places that are not free after ``grace_s``.

        Returns:
            How many were taken back.
        """
        self._is_stopping = True
        await wait_set(self._idle, clock=self._clock, timeout_s=grace_s)
        left = tuple(self._places)
        for place in left:
            place.reschedule(self._clock.monotonic())
        await self._idle.wait()
        return len(left)
