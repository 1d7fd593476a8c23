"""
How many calls at once a peer takes: three published rules, as pure as they are known.

AIMD is that of TCP; Vegas and Gradient2 are those of Netflix's concurrency-limits.
Each looks at one sample per window: a latency, how many calls were under way, and
whether any was dropped.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol, assert_never

from harness.resilience.limit_options import AdaptiveLimiterOptions, LimitStrategy

_CLAMP_FACTOR_LOW: Final = 0.1
_CLAMP_FACTOR_HIGH: Final = 2.0
_GRADIENT_MIN: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitSample:
    """
    What one window saw.
    """

    latency_s: float
    in_flight: int
    dropped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class LimitRange:
    """
    What a limit may be.
    """

    lowest: float
    highest: float

    def clamp(self, limit: float) -> float:
        """
        Return the nearest limit that is allowed.
        """
        return min(max(limit, self.lowest), self.highest)


class LimitRule(Protocol):
    """
    A way to find the limit.
    """

    limit: float

    def update(self, sample: LimitSample) -> str:
        """
        Take a sample in, change the limit or not, and return the reason.
        """


def _is_in_use(limit: float, sample: LimitSample) -> bool:
    """
    Return whether enough of the limit is in use to learn that it could be higher.
    """
    return sample.in_flight * 2 >= limit


class AimdRule:
    """
    One more while it goes well, a share less when calls are dropped.
    """

    def __init__(
        self,
        limit: float,
        *,
        allowed: LimitRange,
        backoff_ratio: float = 0.9,
        timeout_s: float = 5.0,
    ) -> None:
        self.limit = limit
        self._allowed = allowed
        self._backoff_ratio = backoff_ratio
        self._timeout_s = timeout_s

    def update(self, sample: LimitSample) -> str:
        """
        Add one or take a share away.
        """
        if sample.dropped or sample.latency_s > self._timeout_s:
            self.limit = self._allowed.clamp(self.limit * self._backoff_ratio)
            return "dropped"
        if _is_in_use(self.limit, sample):
            self.limit = self._allowed.clamp(self.limit + 1)
        return "no_queue"


def _less_by_log(limit: float) -> float:
    return limit - math.log10(limit)


class VegasRule:
    """
    Grow while the latency tells of no queue, shrink when the queue is long.
    """

    def __init__(
        self,
        limit: float,
        *,
        allowed: LimitRange,
        smoothing: float = 1.0,
        decrease: Callable[[float], float] = _less_by_log,
        probe_multiplier: int = 30,
    ) -> None:
        self.limit = limit
        self._allowed = allowed
        self._smoothing = smoothing
        self._decrease = decrease
        self._probe_multiplier = probe_multiplier
        self._updates = 0
        self._quiet_s = 0.0

    def update(self, sample: LimitSample) -> str:
        """
        Compare the latency with the lowest one seen.
        """
        self._updates += 1
        if self._updates > self._probe_multiplier * self.limit:
            # The lowest latency is forgotten now and then: the peer may have moved.
            self._updates, self._quiet_s = 0, 0.0
        if sample.latency_s > 0 and not 0 < self._quiet_s <= sample.latency_s:
            self._quiet_s = sample.latency_s
            if not sample.dropped:
                return "no_queue"
        target, reason = self._target(sample)
        clamped = self._allowed.clamp(max(target, 1.0))
        self.limit += self._smoothing * (clamped - self.limit)
        return reason

    def _target(self, sample: LimitSample) -> tuple[float, str]:
        limit = self.limit
        if sample.dropped:
            return self._decrease(limit), "dropped"
        # Without a latency nothing is known of a queue.
        if sample.latency_s <= 0 or not _is_in_use(limit, sample):
            return limit, "no_queue"
        queue = math.ceil(limit * (1 - self._quiet_s / sample.latency_s))
        step = max(1, int(math.log10(limit)))
        if queue <= step:
            return limit + 6 * step, "no_queue"
        if queue < 3 * step:
            return limit + math.log10(limit), "no_queue"
        if queue > 6 * step:
            return self._decrease(limit), "queue"
        return limit, "queue"


class _LongAverage:
    """
    An average that forgets slowly, and starts as a plain one.
    """

    def __init__(self, *, window: int, warmup: int) -> None:
        self.value = 0.0
        self._factor = 2.0 / (window + 1)
        self._warmup = warmup
        self._samples = 0

    def add(self, sample: float) -> float:
        """
        Take a sample in and return the average.
        """
        self._samples += 1
        share = 1 / self._samples if self._samples <= self._warmup else self._factor
        self.value += share * (sample - self.value)
        return self.value


class Gradient2Rule:
    """
    Compare the latency of the moment with that of the last while.
    """

    def __init__(
        self,
        limit: float,
        *,
        allowed: LimitRange,
        queue: float = 4.0,
        smoothing: float = 0.2,
        tolerance: float = 1.5,
        long_window: int = 600,
        warmup: int = 10,
    ) -> None:
        self.limit = limit
        self._allowed = allowed
        self._queue = queue
        self._smoothing = smoothing
        self._tolerance = tolerance
        self._long = _LongAverage(window=long_window, warmup=warmup)

    def update(self, sample: LimitSample) -> str:
        """
        Shrink in proportion to how much slower it got, and leave room for a queue.
        """
        gradient = None if sample.latency_s <= 0 else self._gradient(sample.latency_s)
        if sample.dropped:
            # The publication knows no drops: as the steepest gradient, but without the
            # room for a queue, which would let a small limit grow.
            self._move_towards(self.limit * _GRADIENT_MIN)
            return "dropped"
        if gradient is not None and _is_in_use(self.limit, sample):
            self._move_towards(self.limit * gradient + self._queue)
        return "gradient"

    def _gradient(self, latency_s: float) -> float:
        long_s = self._long.add(latency_s)
        if long_s / latency_s > 2:  # noqa: PLR2004 - as published
            # Recovering from a long outage: forget it faster.
            self._long.value *= 0.95
        return max(_GRADIENT_MIN, min(1.0, self._tolerance * long_s / latency_s))

    def _move_towards(self, target: float) -> None:
        smoothed = self.limit + self._smoothing * (target - self.limit)
        self.limit = self._allowed.clamp(smoothed)


def make_rule(options: AdaptiveLimiterOptions) -> LimitRule:
    """
    Return the rule that the options ask for.
    """
    allowed = LimitRange(
        lowest=max(options.base * _CLAMP_FACTOR_LOW, 1.0),
        highest=options.base * _CLAMP_FACTOR_HIGH,
    )
    match options.strategy:
        case LimitStrategy.AIMD:
            return AimdRule(options.base, allowed=allowed, timeout_s=options.timeout_s)
        case LimitStrategy.VEGAS:
            return VegasRule(options.base, allowed=allowed)
        case LimitStrategy.GRADIENT2:
            return Gradient2Rule(options.base, allowed=allowed)
        case _:
            assert_never(options.strategy)
