"""
The sections about what stands between the service and the model API.

Each has the fields of one strategy and tells its options. What makes no sense together
is refused with the names that stand in the file.
"""

from collections.abc import Mapping
from typing import Annotated, Final, Self

from pydantic import Field, model_validator

from harness.errors import OptionsError
from harness.resilience import (
    AdaptiveLimiterOptions,
    BulkheadOptions,
    CircuitBreakerOptions,
    HedgingOptions,
    LimitStrategy,
    RateLimiterOptions,
    RetryBudgetOptions,
)
from harness.settings.section import Section
from harness.settings.text import Count, Duration, PositiveDuration, Rate

Ratio = Annotated[float, Field(gt=0, le=1)]

_PROBE_LEASE_S: Final = 60.0
_MINUTE_S: Final = 60.0
_BREAKER_MISTAKES: Final[Mapping[str, str]] = {
    "window_calls": "window_calls is below minimum_throughput: no share would be judged",
    "break_max_s": "break_max is shorter than break_duration",
}
"""What can be wrong with values that make sense one by one, in the words of the file."""


class BreakerSettings(Section):
    """
    When a circuit opens, and how it closes again.

    It opens by any of three rules: failures in a row, the share of calls that fail,
    and the share of calls that are slow.
    """

    enabled: bool = True
    """False lets every call through."""

    failure_threshold: Count = 5
    """So many failures in a row open the circuit."""

    failure_ratio: Ratio | None = None
    """Share of the calls in the window that must fail; null switches this rule off."""

    minimum_throughput: Count = 10
    """Below so many calls in the window no share is judged."""

    slow_ratio: Ratio | None = None
    """Share of the calls in the window that must be slow; null switches this rule off."""

    slow_call: PositiveDuration = 30.0
    """A call that takes longer is slow."""

    window_calls: Count | None = None
    """The window is the last so many calls; null for the last ``sampling_duration``."""

    sampling_duration: PositiveDuration = 30.0
    """Length of a window of time."""

    break_duration: PositiveDuration = 30.0
    """How long an open circuit refuses before it lets a probe through."""

    break_factor: Annotated[float, Field(ge=1)] = 1.0
    """Growth of the break each time a probe fails."""

    break_max: PositiveDuration | None = None
    """No break is longer, grown or asked for; null for ten times the first."""

    break_jitter: Annotated[float, Field(ge=0, le=1)] = 0.0
    """A random share of the break is added, so that instances do not probe together."""

    probes_max: Count = 3
    """Probes under way at once while half-open."""

    successes_to_close: Count = 3
    """So many successful probes close the circuit."""

    def options(self, *, attempt_timeout_s: float) -> CircuitBreakerOptions | None:
        """
        Return what the circuit breaker is told; None leaves it out.
        """
        return self._options(attempt_timeout_s) if self.enabled else None

    def _options(self, attempt_timeout_s: float) -> CircuitBreakerOptions:
        return CircuitBreakerOptions(
            failure_threshold=self.failure_threshold,
            failure_ratio=self.failure_ratio,
            minimum_throughput=self.minimum_throughput,
            slow_ratio=self.slow_ratio,
            slow_call_s=self.slow_call,
            slow_minimum_throughput=self.minimum_throughput,
            window_calls=self.window_calls,
            sampling_duration_s=self.sampling_duration,
            break_duration_s=self.break_duration,
            break_factor=self.break_factor,
            break_max_s=self.break_max,
            break_jitter=self.break_jitter,
            probes_max=self.probes_max,
            successes_to_close=self.successes_to_close,
            # A probe that is still within its timeout is not lost.
            probe_lease_s=max(_PROBE_LEASE_S, 2 * attempt_timeout_s),
        )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        try:
            self._options(0.0)
        except OptionsError as error:
            told = [_BREAKER_MISTAKES.get(name, name) for name in error.fields]
            raise ValueError("; ".join(told)) from None
        return self


class RateLimitSettings(Section):
    """
    How fast the model API may be asked.
    """

    enabled: bool = True
    """False asks as fast as chats come in."""

    rate: Rate = 100.0
    """Attempts per second in the long run."""

    burst: Count = 200
    """Attempts that may be made at once."""

    tokens_per_minute: Count | None = None
    """Tokens asked and answered per minute, estimated; null for no such limit."""

    wait_max: Duration = 30.0
    """Longest wait for a permit; a longer one is refused at once."""

    def options(self) -> RateLimiterOptions | None:
        """
        Return what the rate limiter is told; None leaves it out.
        """
        if not self.enabled:
            return None
        tokens = self.tokens_per_minute
        return RateLimiterOptions(
            rate_per_s=self.rate,
            burst=self.burst,
            wait_max_s=self.wait_max,
            token_rate_per_s=None if tokens is None else tokens / _MINUTE_S,
            token_burst=tokens,
        )


class ConcurrencySettings(Section):
    """
    How many requests to one model are under way at once.
    """

    enabled: bool = False
    """True limits them to ``requests_max``."""

    requests_max: Count = 100
    """Requests under way at once."""

    adaptive: LimitStrategy | None = None
    """Finds the limit while asking, between a tenth of ``requests_max`` and twice that."""

    waiting_max: Count = 1_000
    """Requests that wait for their turn; further ones are refused."""

    wait_max: Duration = 30.0
    """Longest wait for a turn."""

    def bulkhead_options(self) -> BulkheadOptions | None:
        """
        Return what the bulkhead is told; None leaves it out.
        """
        if not self.enabled or self.adaptive is not None:
            return None
        return BulkheadOptions(
            permits_max=self.requests_max,
            waiting_max=self.waiting_max,
            wait_max_s=self.wait_max,
        )

    def adaptive_options(
        self, *, attempt_timeout_s: float
    ) -> AdaptiveLimiterOptions | None:
        """
        Return what the adaptive limiter is told; None leaves it out.
        """
        if not self.enabled or self.adaptive is None:
            return None
        return AdaptiveLimiterOptions(
            strategy=self.adaptive,
            base=self.requests_max,
            timeout_s=attempt_timeout_s,
            waiting_max=self.waiting_max,
            wait_max_s=self.wait_max,
        )


class HedgingSettings(Section):
    """
    Second attempts beside slow ones, for requests without tools that are not streamed.
    """

    enabled: bool = False
    """True makes them, out of the retry budget, where no tools are offered."""

    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.95
    """The first has to take longer than this share of recent requests."""

    delay_min: Duration = 0.05
    """And longer than this."""

    def options(self) -> HedgingOptions | None:
        """
        Return what the hedging is told; None leaves it out.
        """
        if not self.enabled:
            return None
        return HedgingOptions(quantile=self.quantile, delay_min_s=self.delay_min)


class RetryBudgetSettings(Section):
    """
    How far retries may multiply the requests to the model API.
    """

    enabled: bool = True
    """False lets every request be retried as often as ``attempts_max`` says."""

    share: Annotated[float, Field(ge=0)] = 0.2
    """Retries earned per request."""

    reserve: Rate = 3.0
    """Retries that are there even without requests."""

    window: PositiveDuration = 10.0
    """What is earned and spent counts for so long."""

    def options(self) -> RetryBudgetOptions | None:
        """
        Return what the retries are told; None for no limit but their number.
        """
        if not self.enabled:
            return None
        return RetryBudgetOptions(
            share=self.share, reserve_per_s=self.reserve, window_s=self.window
        )
