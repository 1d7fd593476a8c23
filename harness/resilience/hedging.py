"""
Makes a second attempt beside a slow first one, and takes whichever succeeds first.

Only for calls that may be made twice at once: without tools, without side effects.
The loser is cancelled and awaited, so that nothing goes on behind the caller's back.
"""

import asyncio
import collections
import contextlib
import math
from dataclasses import dataclass
from typing import Any

from harness.bus import EventBus
from harness.clock import Clock
from harness.events import HedgeStarted
from harness.resilience.attempt import Attempt, Handler
from harness.resilience.budget import Budget
from harness.resilience.options import HedgingOptions
from harness.resilience.strategy import StrategyKind


@dataclass(frozen=True, slots=True)
class _Ended:
    """
    How an attempt ended.
    """

    attempt: Attempt
    result: Any = None
    error: Exception | None = None


class Hedging:
    """
    The hedges of one destination.

    Args:
        budget: Shared with the retries; None for no limit.
        counts_calls: Whether to tell the budget of calls, because no retry does.
    """

    kind = StrategyKind.HEDGING

    def __init__(
        self,
        *,
        options: HedgingOptions,
        budget: Budget | None,
        clock: Clock,
        bus: EventBus,
        counts_calls: bool = False,
    ) -> None:
        self._options = options
        self._budget = budget
        self._counted = budget if counts_calls else None
        self._clock = clock
        self._bus = bus
        self._latencies_s: collections.deque[float] = collections.deque(
            maxlen=options.samples_max
        )

    async def execute(self, inner: Handler, attempt: Attempt) -> Any:
        """
        Make an attempt, and another one beside it if it takes unusually long.

        When both fail the error of the first one leaves.
        """
        counted = self._counted
        if counted is None:
            return await self._execute(inner, attempt)
        counted.begin()
        try:
            return await self._execute(inner, attempt)
        finally:
            counted.end(retries=0)

    async def _execute(self, inner: Handler, attempt: Attempt) -> Any:
        delay_s = self._delay_s() if attempt.execution.may_hedge else None
        if delay_s is None:
            result = await inner(attempt)
        else:
            ended = await self._race(inner, attempt, delay_s)
            attempt.classified = ended.attempt.classified
            if ended.error is not None:
                raise ended.error
            result = ended.result
        # From when the first attempt was made: waiting for permits is no latency.
        self._latencies_s.append(self._clock.monotonic() - attempt.started_s)
        return result

    async def _race(self, inner: Handler, attempt: Attempt, delay_s: float) -> _Ended:
        async with asyncio.TaskGroup() as tasks:
            first = tasks.create_task(_run(inner, attempt), name="first attempt")
            is_slow = await self._is_slow(first, attempt, delay_s)
            if not is_slow or not self._may_start(attempt):
                return await first
            hedge = attempt.another()
            self._bus.publish(
                HedgeStarted(
                    operation=attempt.operation,
                    attempt_number=hedge.number,
                    delay_s=delay_s,
                )
            )
            second = tasks.create_task(_run(inner, hedge), name="hedge")
            budget = self._budget
            if budget is not None:
                # Also where it is cancelled before it began.
                second.add_done_callback(lambda _: budget.end_hedge())
            done, pending = await asyncio.wait(
                {first, second}, return_when=asyncio.FIRST_COMPLETED
            )
            winner = _winner(done, first)
            if winner.error is None:
                # Leaving the group waits for the loser to be gone.
                for loser in pending:
                    loser.cancel()
                return winner
            await asyncio.wait({first, second})
            return _winner({first, second}, first)

    async def _is_slow(
        self, first: asyncio.Task[_Ended], attempt: Attempt, delay_s: float
    ) -> bool:
        """
        Wait until the first attempt takes longer than most; False if it does not.
        """
        if await self._ends_within(first, delay_s):
            return False
        if attempt.execution.attempts < attempt.number:
            # It still waits for permits: another one would wait behind it.
            return False
        left_s = attempt.started_s + delay_s - self._clock.monotonic()
        return left_s <= 0 or not await self._ends_within(first, left_s)

    async def _ends_within(self, task: asyncio.Task[_Ended], delay_s: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with self._clock.timeout(delay_s):
                await asyncio.wait({task})
        # It may have ended in the very moment in which the time was over.
        return task.done()

    def _may_start(self, attempt: Attempt) -> bool:
        if attempt.committed:
            return False
        if attempt.deadline is not None and attempt.deadline.expired:
            return False
        return self._budget is None or self._budget.withdraw()

    def _delay_s(self) -> float | None:
        if len(self._latencies_s) < self._options.samples_min:
            return None
        ordered = sorted(self._latencies_s)
        index = math.ceil(self._options.quantile * len(ordered)) - 1
        return max(ordered[index], self._options.delay_min_s)


async def _run(inner: Handler, attempt: Attempt) -> _Ended:
    try:
        return _Ended(attempt, result=await inner(attempt))
    except Exception as error:  # noqa: BLE001 - it is raised by who looks at the result
        return _Ended(attempt, error=error)


def _winner(done: set[asyncio.Task[_Ended]], first: asyncio.Task[_Ended]) -> _Ended:
    ended = [task.result() for task in sorted(done, key=lambda task: task is not first)]
    return next((one for one in ended if one.error is None), ended[0])
