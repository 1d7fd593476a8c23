"""
Finds out how many calls at once a peer takes, and lets out that many.

The concurrency is what is controlled; the rate follows from it by Little's law. For
model calls the signal is the time to the first chunk, because the total latency
follows the length of the answer.
"""

import math
from typing import Any, Final

from harness.bus import EventBus
from harness.clock import Clock
from harness.errors import BulkheadFullError
from harness.events import ConcurrencyLimitChanged, OperationRejected
from harness.resilience.attempt import Attempt, Handler
from harness.resilience.bulkhead import Bulkhead
from harness.resilience.limit_options import AdaptiveLimiterOptions, BulkheadOptions
from harness.resilience.limit_rules import LimitSample, make_rule
from harness.resilience.outcome import Classified, Outcome
from harness.resilience.strategy import StrategyKind

WINDOW_SAMPLES_MAX: Final = 1_000
"""Further latencies of a window are counted and not kept."""


class _Window:
    """
    The samples since the limit was last looked at; it begins with the first one.
    """

    def __init__(self) -> None:
        self.start_s = 0.0
        self.latencies_s: list[float] = []
        self.samples = 0
        self.in_flight = 0
        self.dropped = False

    def add(
        self, now_s: float, latency_s: float | None, *, in_flight: int, dropped: bool
    ) -> None:
        """
        Take in how one call went.
        """
        if not self.samples:
            self.start_s = now_s
        self.samples += 1
        self.in_flight = max(self.in_flight, in_flight)
        self.dropped = self.dropped or dropped
        if latency_s is not None and len(self.latencies_s) < WINDOW_SAMPLES_MAX:
            self.latencies_s.append(latency_s)


class AdaptiveLimiter:
    """
    The concurrency of one destination.

    Attributes:
        bulkhead: Holds the permits, and as many as the limit is at the moment.
    """

    kind = StrategyKind.ADAPTIVE_LIMITER

    def __init__(
        self, name: str, *, options: AdaptiveLimiterOptions, clock: Clock, bus: EventBus
    ) -> None:
        self.name = name
        self._options = options
        self._clock = clock
        self._bus = bus
        self._rule = make_rule(options)
        self.bulkhead = Bulkhead(
            name,
            options=BulkheadOptions(
                permits_max=options.base,
                waiting_max=options.waiting_max,
                wait_max_s=options.wait_max_s,
            ),
            clock=clock,
            bus=bus,
        )
        self._window = _Window()
        self._latency_s = 0.0

    @property
    def limit(self) -> int:
        """
        How many calls may be under way at this moment.
        """
        return self.bulkhead.permits_max

    @property
    def in_flight(self) -> int:
        """
        How many are.
        """
        return self.bulkhead.in_use

    @property
    def rate_per_s(self) -> float | None:
        """
        The rate that the limit comes to, None before a latency is known.
        """
        return None if self._latency_s <= 0 else self.limit / self._latency_s

    async def execute(self, inner: Handler, attempt: Attempt) -> Any:
        """
        Make an attempt when there is room for it, and learn from how it went.
        """
        try:
            await self.bulkhead.acquire(deadline=attempt.deadline)
        except BulkheadFullError as error:
            self._bus.publish(
                OperationRejected(
                    operation=attempt.operation,
                    strategy=self.kind.value,
                    reason=error.reason,
                )
            )
            raise
        in_flight = self.bulkhead.in_use
        try:
            return await inner(attempt)
        finally:
            try:
                # First, so that a smaller limit lets nobody else in.
                self._learn(attempt, in_flight)
            finally:
                self.bulkhead.release()

    def record_latency(
        self, latency_s: float | None, *, in_flight: int | None = None, dropped: bool
    ) -> None:
        """
        Take in how one call went; at the end of a window the limit may change.

        Args:
            latency_s: Of the call, or to its first chunk; None if it says nothing.
            in_flight: How many calls were under way; None for as many as are.
            dropped: Whether the peer asked for fewer calls, or did not answer in time.
        """
        now_s = self._clock.monotonic()
        window = self._window
        under_way = self.bulkhead.in_use if in_flight is None else in_flight
        window.add(now_s, latency_s, in_flight=under_way, dropped=dropped)
        is_over = now_s - window.start_s >= self._options.window_s
        if is_over and window.samples >= self._options.samples_min:
            self._window = _Window()
            self._judge(window)

    def _learn(self, attempt: Attempt, in_flight: int) -> None:
        classified = attempt.classified
        if classified is None or classified.outcome is Outcome.IGNORED:
            return
        dropped = _is_dropped(classified, committed=attempt.committed)
        if classified.outcome is Outcome.FAILURE and not dropped:
            return
        first_s = attempt.time_to_first_chunk_s
        latency_s = attempt.duration_s if first_s is None else first_s
        self.record_latency(
            None if dropped else latency_s, in_flight=in_flight, dropped=dropped
        )

    def _judge(self, window: _Window) -> None:
        if window.latencies_s:
            ordered = sorted(window.latencies_s)
            index = math.ceil(self._options.quantile * len(ordered)) - 1
            self._latency_s = ordered[max(index, 0)]
        before = self.limit
        reason = self._rule.update(
            LimitSample(
                latency_s=self._latency_s,
                in_flight=window.in_flight,
                dropped=window.dropped,
            )
        )
        after = max(math.floor(self._rule.limit), 1)
        if after == before:
            return
        self.bulkhead.change(permits_max=after)
        self._bus.publish(
            ConcurrencyLimitChanged(
                limiter=self.name, from_limit=before, to_limit=after, reason=reason
            )
        )


def _is_dropped(classified: Classified, *, committed: bool) -> bool:
    if classified.outcome is Outcome.BACKPRESSURE:
        return True
    if classified.outcome is not Outcome.FAILURE:
        return False
    asked_to_wait = classified.retry_after_s is not None
    return classified.reason == "timeout" or asked_to_wait or committed
