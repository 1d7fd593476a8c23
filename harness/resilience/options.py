"""
How a pipeline behaves: one frozen object per strategy, which refuses nonsense.

A strategy whose options are None is switched off.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from harness.errors import check_options
from harness.resilience.limit_options import (
    AdaptiveLimiterOptions,
    BulkheadOptions,
    RateLimiterOptions,
)


def _is_count_or_none(value: int | None) -> bool:
    return value is None or value >= 1


def _is_ratio_or_none(value: float | None) -> bool:
    return value is None or 0 < value <= 1


class Jitter(StrEnum):
    """
    The random part of a delay.
    """

    FULL = "full"
    """Anything between nothing and the envelope."""

    EQUAL = "equal"
    """Half of the envelope, and anything up to the other half."""

    DECORRELATED = "decorrelated"
    """Anything between the base and three times the delay before."""

    PROPORTIONAL = "proportional"
    """The envelope, give or take a share of it."""

    NONE = "none"
    """The envelope itself: callers that failed together come back together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BackoffOptions:
    """
    How long to wait before a retry.
    """

    base_s: float = 0.5
    """Envelope of the first delay."""

    max_s: float = 8.0
    """The envelope never exceeds this; the jitter is drawn within what is left."""

    multiplier: float = 2.0
    """Growth of the envelope per retry."""

    jitter: Jitter = Jitter.FULL
    jitter_share: float = 0.2
    """For :attr:`Jitter.PROPORTIONAL` alone. Between 0 and 1."""

    def __post_init__(self) -> None:
        check_options(
            self,
            base_s=self.base_s >= 0,
            max_s=self.max_s >= self.base_s,
            multiplier=self.multiplier >= 1,
            jitter_share=0 <= self.jitter_share <= 1,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryBudgetOptions:
    """
    How many retries a destination takes, whoever makes them.
    """

    share: float = 0.2
    """Retries earned per call."""

    reserve_per_s: float = 3.0
    """Retries that are there even without calls, per second of the window."""

    window_s: float = 10.0
    """What is earned and spent counts for so long."""

    def __post_init__(self) -> None:
        check_options(
            self,
            share=self.share >= 0,
            reserve_per_s=self.reserve_per_s >= 0,
            window_s=self.window_s > 0,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ThrottleBudgetOptions:
    """
    Retries stop while failures outweigh successes, as gRPC does it.
    """

    tokens_max: float = 10.0
    """A failed attempt takes one; there are no retries at half of these or fewer."""

    token_ratio: float = 0.1
    """What an attempt that succeeds gives back."""

    def __post_init__(self) -> None:
        check_options(
            self,
            tokens_max=self.tokens_max > 0,
            token_ratio=self.token_ratio > 0,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ConcurrencyBudgetOptions:
    """
    Of the calls under way a share may be retrying, as Envoy does it.
    """

    share: float = 0.2
    retries_min: int = 3
    """So many may be under way however few calls there are."""

    def __post_init__(self) -> None:
        check_options(
            self, share=0 <= self.share <= 1, retries_min=self.retries_min >= 0
        )


BudgetOptions = RetryBudgetOptions | ThrottleBudgetOptions | ConcurrencyBudgetOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryOptions:
    """
    Whether and when an attempt that failed is followed by another.
    """

    attempts_max: int = 3
    """Attempts per call, the first included."""

    backoff: BackoffOptions = BackoffOptions()
    budget: BudgetOptions | None = RetryBudgetOptions()
    """What keeps retries from multiplying the traffic; None for nothing."""

    retry_after_max_s: float = 120.0
    """A peer that asks for a longer wait is not asked again."""

    retry_after_jitter_share: float = 0.1
    """Added to a wait that was asked for, as a share of it; at most one second."""

    waits_for_circuit: bool = False
    """Whether a call may wait once for an open circuit, if that fits its deadline."""

    def __post_init__(self) -> None:
        check_options(
            self,
            attempts_max=self.attempts_max >= 1,
            retry_after_max_s=self.retry_after_max_s >= 0,
            retry_after_jitter_share=0 <= self.retry_after_jitter_share <= 1,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitBreakerOptions:
    """
    When a circuit opens, for how long, and what closes it.
    """

    failure_threshold: int | None = 5
    """So many failures in a row open the circuit. None switches this rule off."""

    failure_ratio: float | None = None
    """Share of the window that must fail. Between 0 and 1; None switches it off."""

    minimum_throughput: int = 10
    """Below so many samples in the window the failure ratio is not judged."""

    slow_ratio: float | None = None
    """Share of the window that must be slow. Between 0 and 1; None switches it off."""

    slow_call_s: float = 30.0
    """A call that takes longer is slow."""

    slow_minimum_throughput: int = 10
    """Below so many samples in the window the slow ratio is not judged."""

    window_calls: int | None = None
    """The window is the last so many samples; None for a window of time."""

    sampling_duration_s: float = 30.0
    """Length of a window of time."""

    window_buckets: int = 10
    """Steps in which a window of time moves on; 1 makes it tumble."""

    backpressure_threshold: int | None = None
    """So many 429 or 529 in a row count as one failure. None: they never count."""

    break_duration_s: float = 30.0
    """How long an open circuit refuses before it lets probes through."""

    break_factor: float = 1.0
    """Growth of the break each time a probe fails."""

    break_max_s: float | None = None
    """A break that grows or is asked for never exceeds this; None: ten times the first."""

    break_jitter: float = 0.0
    """A random share of the break is added, so that instances do not probe together."""

    honours_retry_after: bool = True
    """Whether the break is at least what the answer that opened it asked for."""

    auto_half_open: bool = False
    """Half-open by timer at the end of the break, and not at the next admission."""

    probes_max: int = 3
    """Probes under way at a time."""

    successes_to_close: int = 3
    """Probes that must succeed before the circuit closes."""

    probe_lease_s: float = 60.0
    """A probe without an outcome for so long loses its slot."""

    def __post_init__(self) -> None:
        check_options(
            self,
            failure_threshold=_is_count_or_none(self.failure_threshold),
            failure_ratio=_is_ratio_or_none(self.failure_ratio),
            minimum_throughput=self.minimum_throughput >= 1,
            slow_ratio=_is_ratio_or_none(self.slow_ratio),
            slow_call_s=self.slow_call_s > 0,
            slow_minimum_throughput=self.slow_minimum_throughput >= 1,
            window_calls=_is_count_or_none(self.window_calls)
            and self._window_can_be_judged(),
            sampling_duration_s=self.sampling_duration_s > 0,
            window_buckets=self.window_buckets >= 1,
            backpressure_threshold=_is_count_or_none(self.backpressure_threshold),
            break_duration_s=self.break_duration_s > 0,
            break_factor=self.break_factor >= 1,
            break_max_s=self.break_max_s is None
            or self.break_max_s >= self.break_duration_s,
            break_jitter=0 <= self.break_jitter <= 1,
            probes_max=self.probes_max >= 1,
            successes_to_close=self.successes_to_close >= 1,
            probe_lease_s=self.probe_lease_s > 0,
        )

    def _window_can_be_judged(self) -> bool:
        if self.window_calls is None:
            return True
        needed = 1
        if self.failure_ratio is not None:
            needed = self.minimum_throughput
        if self.slow_ratio is not None:
            needed = max(needed, self.slow_minimum_throughput)
        return self.window_calls >= needed


@dataclass(frozen=True, slots=True, kw_only=True)
class HedgingOptions:
    """
    When a second attempt runs beside the first.
    """

    quantile: float = 0.95
    """The first has to take longer than this share of recent calls."""

    delay_min_s: float = 0.05
    """And longer than this."""

    samples_min: int = 20
    """Nothing is hedged before so many calls have succeeded."""

    samples_max: int = 200
    """So many recent calls are looked at."""

    def __post_init__(self) -> None:
        check_options(
            self,
            quantile=0 < self.quantile < 1,
            delay_min_s=self.delay_min_s >= 0,
            samples_min=self.samples_min >= 1,
            samples_max=self.samples_max >= self.samples_min,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineOptions:
    """
    A pipeline as data, in the order that is right; None switches a strategy off.
    """

    total_timeout_s: float | None = 120.0
    """The time for a whole call, retries and waits included."""

    retry: RetryOptions | None = RetryOptions()
    hedging: HedgingOptions | None = None
    circuit_breaker: CircuitBreakerOptions | None = CircuitBreakerOptions()
    adaptive_limiter: AdaptiveLimiterOptions | None = None
    bulkhead: BulkheadOptions | None = None
    rate_limiter: RateLimiterOptions | None = field(default_factory=RateLimiterOptions)
    attempt_timeout_s: float | None = 30.0
    """The time for one attempt, counted from when all permits are there."""

    def __post_init__(self) -> None:
        check_options(
            self,
            total_timeout_s=self.total_timeout_s is None or self.total_timeout_s > 0,
            attempt_timeout_s=self._attempt_timeout_makes_sense(),
            bulkhead=self._probes_fit(),
        )

    def _attempt_timeout_makes_sense(self) -> bool:
        if self.attempt_timeout_s is None:
            return True
        if self.total_timeout_s is None:
            return self.attempt_timeout_s > 0
        return 0 < self.attempt_timeout_s <= self.total_timeout_s

    def _probes_fit(self) -> bool:
        if self.bulkhead is None or self.circuit_breaker is None:
            return True
        return self.circuit_breaker.probes_max <= self.bulkhead.permits_max


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelinesOptions:
    """
    How many destinations are remembered, and for how long.
    """

    destinations_max: int = 256
    idle_s: float = 3600.0
    """A destination that was not asked for so long may be forgotten."""

    def __post_init__(self) -> None:
        check_options(
            self,
            destinations_max=self.destinations_max >= 1,
            idle_s=self.idle_s > 0,
        )
