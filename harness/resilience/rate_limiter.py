"""
Lets calls out at a rate, in the order in which they asked.

When a permit is asked for, the time of its grant is known. If that is too late, the
call is refused at once and nothing is consumed. Waiters are strictly first in, first
out, whatever they cost; there is one timer, for the head. A waiter that leaves makes
all behind it move up.
"""

import asyncio
import collections
import math
from collections.abc import Iterator, Sequence
from typing import Any

from harness.bus import EventBus
from harness.clock import Clock
from harness.errors import LimitExceededError, RateLimitedError
from harness.events import OperationRejected, RateLimiterPaused, RateLimiterWaited
from harness.resilience.attempt import Attempt, Handler
from harness.resilience.deadline import Deadline
from harness.resilience.limit_options import RateLimiterOptions
from harness.resilience.meter import ROUNDING_S, Meter
from harness.resilience.outcome import Outcome
from harness.resilience.strategy import StrategyKind

_MINUTE_S = 60.0

Costs = Sequence[float]
"""What a call costs at each meter: requests, and tokens if they are limited."""


class _Waiter:
    """
    A call in the queue.
    """

    __slots__ = ("costs", "granted", "latest_s")

    def __init__(
        self, costs: Costs, *, latest_s: float, granted: asyncio.Future[None]
    ) -> None:
        self.costs = costs
        self.latest_s = latest_s
        self.granted = granted


class RateLimiter:
    """
    The rate of one destination.

    Args:
        name: The destination, as it stands in events.
    """

    kind = StrategyKind.RATE_LIMITER

    def __init__(
        self, name: str, *, options: RateLimiterOptions, clock: Clock, bus: EventBus
    ) -> None:
        self.name = name
        self.granted_permits = 0
        self.returned_permits = 0
        self._options = options
        self._clock = clock
        self._bus = bus
        self._meters = _meters(options)
        self._queue: collections.OrderedDict[_Waiter, None] = collections.OrderedDict()
        self._queued = [0.0] * len(self._meters)
        self._plan: tuple[float, list[Meter]] | None = None
        self._paused_until_s = -math.inf
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> int:
        """
        How many calls wait for their turn.
        """
        return len(self._queue)

    def available(self) -> float:
        """
        Return how many requests may go out at this moment.
        """
        now_s = self._clock.monotonic()
        return 0.0 if self._start_s(now_s) > now_s else self._meters[0].available(now_s)

    def acquire_nowait(self, *, cost: float = 1.0, tokens: float = 0.0) -> None:
        """
        Take a permit if there is one at this moment.

        Raises:
            LimitExceededError: The cost is above the burst.
            RateLimitedError: There is none, or others wait.
        """
        now_s = self._clock.monotonic()
        costs = self._costs(cost, tokens)
        self._take_or_refuse(costs, now_s, latest_s=now_s)

    async def acquire(
        self,
        *,
        cost: float = 1.0,
        tokens: float = 0.0,
        timeout_s: float | None = None,
        deadline: Deadline | None = None,
    ) -> float:
        """
        Take a permit, wait for it if need be, and return the seconds waited.

        Args:
            cost: What the call costs in requests.
            tokens: What it costs at the second limit, if there is one.
            timeout_s: How long to wait at most; the limit of the options holds too.
            deadline: When the permit is no longer of use.

        Raises:
            LimitExceededError: The cost is above the burst.
            RateLimitedError: The permit would come too late. Nothing was consumed.
        """
        now_s = self._clock.monotonic()
        costs = self._costs(cost, tokens)
        wait_max_s = self._options.wait_max_s
        if timeout_s is not None:
            wait_max_s = min(wait_max_s, timeout_s)
        latest_s = now_s + wait_max_s
        if deadline is not None:
            latest_s = min(latest_s, deadline.at_s)
        if self._take_or_refuse(costs, now_s, latest_s=latest_s):
            return 0.0
        await self._wait(costs, latest_s)
        waited_s = self._clock.monotonic() - now_s
        self._bus.publish(RateLimiterWaited(limiter=self.name, waited_s=waited_s))
        return waited_s

    async def execute(self, inner: Handler, attempt: Attempt) -> Any:
        """
        Make an attempt when it is its turn; pause when the peer asks for it.
        """
        try:
            if not self._take_single():
                await self.acquire(tokens=attempt.tokens, deadline=attempt.deadline)
        except RateLimitedError as error:
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
            self._learn(attempt)

    def pause(self, pause_s: float) -> None:
        """
        Let nothing out for so long, within the limit of the options.

        Waiters whose turn then comes too late are refused at once.
        """
        now_s = self._clock.monotonic()
        bounded_s = min(pause_s, self._options.pause_max_s)
        if now_s + bounded_s <= self._paused_until_s:
            return
        self._paused_until_s = now_s + bounded_s
        self._bus.publish(RateLimiterPaused(limiter=self.name, pause_s=bounded_s))
        self._retime(now_s)

    def change(self, *, rate_per_s: float, burst: float) -> None:
        """
        Go on at another rate with what is there; the queue is timed again.
        """
        now_s = self._clock.monotonic()
        self._meters[0].change(now_s, rate_per_s=rate_per_s, burst=burst)
        self._retime(now_s)

    def resync(
        self, *, requests: float | None = None, tokens: float | None = None
    ) -> None:
        """
        Believe the peer when it says that less is left than we think.
        """
        now_s = self._clock.monotonic()
        is_changed = False
        for meter, left in zip(self._meters, (requests, tokens), strict=False):
            if left is not None and left < meter.available(now_s):
                meter.set_available(now_s, left)
                is_changed = True
        if is_changed:
            # Answers are many: the queue is only timed again when that matters.
            self._retime(now_s)

    # Granting -----------------------------------------------------------------------

    def _costs(self, cost: float, tokens: float) -> Costs:
        costs = (cost,) if len(self._meters) == 1 else (cost, tokens)
        for meter, wanted in zip(self._meters, costs, strict=True):
            if wanted > meter.burst:
                raise LimitExceededError(limit="burst", value=meter.burst)
        return costs

    def _take_single(self) -> bool:
        """
        Take one request if it is free and requests alone are limited: the short way.
        """
        if self._queue or len(self._meters) > 1:
            return False
        now_s = self._clock.monotonic()
        if self._paused_until_s > now_s or not self._meters[0].take_nowait(now_s, 1.0):
            return False
        self.granted_permits += 1
        return True

    def _take_or_refuse(self, costs: Costs, now_s: float, *, latest_s: float) -> bool:
        grant_s = self._grant_at(costs, now_s)
        if not self._queue and grant_s <= now_s + ROUNDING_S:
            self._take(costs, now_s)
            return True
        is_full = len(self._queue) >= self._options.waiting_max
        if grant_s > latest_s + ROUNDING_S or is_full or latest_s <= now_s:
            raise RateLimitedError(
                limiter=self.name, retry_after_s=max(grant_s - now_s, 0.0)
            )
        return False

    def _take(self, costs: Costs, now_s: float) -> None:
        self.granted_permits += 1
        for meter, cost in zip(self._meters, costs, strict=True):
            meter.take(now_s, cost)

    def _give_back(self, costs: Costs) -> None:
        self.returned_permits += 1
        for meter, cost in zip(self._meters, costs, strict=True):
            meter.give_back(cost)

    def _start_s(self, now_s: float) -> float:
        return max(now_s, self._paused_until_s)

    def _grant_at(self, costs: Costs, now_s: float) -> float:
        start_s = self._start_s(now_s)
        if len(self._meters) == 1:
            return self._meters[0].grant_at(start_s, costs[0], queued=self._queued[0])
        if not self._queue:
            return _grant_at(self._meters, start_s, costs)
        if self._plan is None:
            meters = [meter.copy() for meter in self._meters]
            for _waiter, planned_s in self._planned(meters, start_s):
                start_s = planned_s
            self._plan = (start_s, meters)
        after_s, meters = self._plan
        return _grant_at(meters, max(start_s, after_s), costs)

    def _planned(
        self, meters: Sequence[Meter], start_s: float
    ) -> Iterator[tuple[_Waiter, float]]:
        """
        Yield each waiter with its grant time and take its costs from ``meters``.

        A waiter that is refused meanwhile takes nothing: those behind it move up.
        """
        for waiter in list(self._queue):
            start_s_of_waiter = _grant_at(meters, start_s, waiter.costs)
            yield waiter, start_s_of_waiter
            if waiter not in self._queue:
                continue
            start_s = start_s_of_waiter
            for meter, cost in zip(meters, waiter.costs, strict=True):
                meter.take(start_s, cost)

    # Waiting ------------------------------------------------------------------------

    async def _wait(self, costs: Costs, latest_s: float) -> None:
        granted = asyncio.get_running_loop().create_future()
        waiter = _Waiter(costs, latest_s=latest_s, granted=granted)
        self._append(waiter)
        try:
            await granted
        except BaseException:
            self._leave(waiter)
            raise

    def _leave(self, waiter: _Waiter) -> None:
        granted = waiter.granted
        if waiter in self._queue:
            self._remove(waiter)
        elif granted.done() and not granted.cancelled() and not granted.exception():
            # Granted and cancelled in the same turn of the loop.
            self._give_back(waiter.costs)
        self._plan = None
        self._arm()

    def _append(self, waiter: _Waiter) -> None:
        if self._plan is not None:
            after_s, meters = self._plan
            start_s = max(self._start_s(self._clock.monotonic()), after_s)
            grant_s = _grant_at(meters, start_s, waiter.costs)
            for meter, cost in zip(meters, waiter.costs, strict=True):
                meter.take(grant_s, cost)
            self._plan = (grant_s, meters)
        self._queue[waiter] = None
        for index, cost in enumerate(waiter.costs):
            self._queued[index] += cost
        if len(self._queue) == 1:
            self._arm()

    def _remove(self, waiter: _Waiter) -> None:
        del self._queue[waiter]
        for index, cost in enumerate(waiter.costs):
            self._queued[index] -= cost
        if not self._queue:
            self._plan = None
            # Sums of floats that cancel out are not exactly zero.
            self._queued = [0.0] * len(self._meters)

    def _retime(self, now_s: float) -> None:
        self._plan = None
        meters = [meter.copy() for meter in self._meters]
        for waiter, grant_s in self._planned(meters, self._start_s(now_s)):
            too_small = [
                meter.burst
                for meter, cost in zip(meters, waiter.costs, strict=True)
                if cost > meter.burst
            ]
            if too_small:
                self._refuse(
                    waiter, LimitExceededError(limit="burst", value=too_small[0])
                )
            elif grant_s > waiter.latest_s + ROUNDING_S:
                self._refuse(
                    waiter,
                    RateLimitedError(limiter=self.name, retry_after_s=grant_s - now_s),
                )
        self._arm()

    def _refuse(
        self, waiter: _Waiter, error: RateLimitedError | LimitExceededError
    ) -> None:
        self._remove(waiter)
        if not waiter.granted.done():
            waiter.granted.set_exception(error)

    # The one timer ------------------------------------------------------------------

    def _arm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._queue:
            return
        now_s = self._clock.monotonic()
        grant_s = _grant_at(
            self._meters, self._start_s(now_s), next(iter(self._queue)).costs
        )
        self._timer = self._clock.call_at(grant_s, self._grant_due)

    def _grant_due(self) -> None:
        self._timer = None
        now_s = self._clock.monotonic()
        start_s = self._start_s(now_s)
        while self._queue:
            waiter = next(iter(self._queue))
            grant_s = _grant_at(self._meters, start_s, waiter.costs)
            if grant_s > now_s + ROUNDING_S:
                break
            self._remove(waiter)
            if not waiter.granted.done():
                self._take(waiter.costs, now_s)
                waiter.granted.set_result(None)
        self._arm()

    def _learn(self, attempt: Attempt) -> None:
        quota = attempt.quota
        if quota is not None:
            self.resync(requests=quota.requests, tokens=quota.tokens)
            if quota.next_in_s > 1 / self._meters[0].rate_per_s:
                # It refills more slowly than we let out.
                self.pause(quota.next_in_s)
        classified = attempt.classified
        if (
            classified is not None
            and classified.outcome is Outcome.BACKPRESSURE
            and classified.retry_after_s is not None
        ):
            self.pause(classified.retry_after_s)


def _meters(options: RateLimiterOptions) -> list[Meter]:
    meters = [Meter(rate_per_s=options.rate_per_s, burst=options.burst)]
    if options.token_rate_per_s is not None:
        burst = options.token_burst or options.token_rate_per_s * _MINUTE_S
        meters.append(Meter(rate_per_s=options.token_rate_per_s, burst=burst))
    return meters


def _grant_at(meters: Sequence[Meter], start_s: float, costs: Costs) -> float:
    return max(
        meter.grant_at(start_s, cost) for meter, cost in zip(meters, costs, strict=True)
    )
