"""
Keeps the number of calls under way, and of those waiting for that, within a limit.
"""

import asyncio
import collections
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from harness.bus import EventBus
from harness.clock import Clock
from harness.errors import BulkheadFullError
from harness.events import OperationRejected
from harness.resilience.attempt import Attempt, Handler
from harness.resilience.deadline import Deadline
from harness.resilience.limit_options import BulkheadOptions
from harness.resilience.strategy import StrategyKind

_Turn = asyncio.Future[None]


class Bulkhead:
    """
    The permits of one destination, granted first in, first out.

    Attributes:
        permits_max: How many calls may be under way.
        in_use: How many are.
    """

    kind = StrategyKind.BULKHEAD

    def __init__(
        self, name: str, *, options: BulkheadOptions, clock: Clock, bus: EventBus
    ) -> None:
        self.name = name
        self.permits_max = options.permits_max
        self.in_use = 0
        self._options = options
        self._clock = clock
        self._bus = bus
        self._queue: collections.OrderedDict[_Turn, None] = collections.OrderedDict()

    @property
    def waiting(self) -> int:
        """
        How many calls wait for a permit.
        """
        return len(self._queue)

    @contextlib.asynccontextmanager
    async def permit(self, *, deadline: Deadline | None = None) -> AsyncIterator[None]:
        """
        Hold a permit while inside.

        Raises:
            BulkheadFullError: Too many wait already, or the wait was too long.
        """
        await self.acquire(deadline=deadline)
        try:
            yield
        finally:
            self.release()

    async def acquire(self, *, deadline: Deadline | None = None) -> None:
        """
        Take a permit, to be given back with :meth:`release`.

        Raises:
            BulkheadFullError: Too many wait already, or the wait was too long.
        """
        if self.in_use < self.permits_max and not self._queue:
            self.in_use += 1
            return
        if len(self._queue) >= self._options.waiting_max:
            raise self._full()
        latest_s = self._clock.monotonic() + self._options.wait_max_s
        if deadline is not None:
            latest_s = min(latest_s, deadline.at_s)
        timeout = self._clock.timeout_at(latest_s)
        try:
            async with timeout:
                await self._wait()
        except TimeoutError as error:
            raise self._full() from error

    def release(self) -> None:
        """
        Give a permit back; the first in the queue gets it.
        """
        self.in_use -= 1
        self._hand_on()

    def change(self, *, permits_max: int) -> None:
        """
        Go on with another limit; who is inside stays, and who waits may come in.
        """
        self.permits_max = permits_max
        self._hand_on()

    def _hand_on(self) -> None:
        """
        Let in as many as there are permits for.
        """
        while self._queue and self.in_use < self.permits_max:
            turn, _ = self._queue.popitem(last=False)
            if not turn.done():
                self.in_use += 1
                turn.set_result(None)

    async def execute(self, inner: Handler, attempt: Attempt) -> Any:
        """
        Make an attempt when there is room for it.
        """
        try:
            await self.acquire(deadline=attempt.deadline)
        except BulkheadFullError as error:
            self._bus.publish(
                OperationRejected(
                    operation=attempt.operation,
                    strategy=self.kind.value,
                    reason=error.reason,
                    retry_after_s=error.retry_after_s,
                )
            )
            raise
        try:
            return await inner(attempt)
        finally:
            self.release()

    async def _wait(self) -> None:
        turn: _Turn = asyncio.get_running_loop().create_future()
        self._queue[turn] = None
        try:
            await turn
        except BaseException:
            if turn in self._queue:
                del self._queue[turn]
            elif turn.done() and not turn.cancelled():
                # Granted and cancelled in the same turn of the loop.
                self.release()
            raise

    def _full(self) -> BulkheadFullError:
        return BulkheadFullError(
            bulkhead=self.name,
            permits_max=self.permits_max,
            waiting_max=self._options.waiting_max,
        )
