"""
How many calls go out: per second, at once, and as many as the peer takes.
"""

from dataclasses import dataclass
from enum import StrEnum

from harness.errors import check_options


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimiterOptions:
    """
    How many calls per second go out, and how long one waits for its turn.
    """

    rate_per_s: float = 100.0
    burst: float = 200.0
    """So much may go out at once after a quiet time."""

    wait_max_s: float = 30.0
    """Whoever would wait longer is refused at once."""

    waiting_max: int = 10_000
    """So many wait at a time; further ones are refused."""

    token_rate_per_s: float | None = None
    """A second limit, on the tokens of the calls; None for none."""

    token_burst: float | None = None
    """So many tokens may go out at once; None for a minute's worth."""

    pause_max_s: float = 60.0
    """A pause that the peer asks for never exceeds this."""

    def __post_init__(self) -> None:
        check_options(
            self,
            rate_per_s=self.rate_per_s > 0,
            burst=self.burst >= 1,
            wait_max_s=self.wait_max_s >= 0,
            waiting_max=self.waiting_max >= 0,
            token_rate_per_s=self.token_rate_per_s is None or self.token_rate_per_s > 0,
            token_burst=self.token_burst is None
            or (self.token_rate_per_s is not None and self.token_burst >= 1),
            pause_max_s=self.pause_max_s >= 0,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BulkheadOptions:
    """
    How many calls are under way at once, and how many wait for that.
    """

    permits_max: int = 100
    waiting_max: int = 1_000
    wait_max_s: float = 30.0
    """Whoever has waited so long is refused."""

    def __post_init__(self) -> None:
        check_options(
            self,
            permits_max=self.permits_max >= 1,
            waiting_max=self.waiting_max >= 0,
            wait_max_s=self.wait_max_s >= 0,
        )


class LimitStrategy(StrEnum):
    """
    How an adaptive limiter finds its limit.
    """

    AIMD = "aimd"
    """One more while it goes well, a tenth less when calls are dropped."""

    VEGAS = "vegas"
    """By the length of the queue that the latency tells of."""

    GRADIENT2 = "gradient2"
    """By how the latency of the moment compares with that of the last while."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AdaptiveLimiterOptions:
    """
    How many calls are under way at once, found out while calling.
    """

    strategy: LimitStrategy = LimitStrategy.GRADIENT2
    base: int = 100
    """The limit to start with; it stays between a tenth of this and twice this."""

    window_s: float = 1.0
    """Samples are collected at least so long before the limit may change."""

    samples_min: int = 10
    """And at least so many are."""

    quantile: float = 0.5
    """Which latency of a window counts. Between 0 and 1."""

    timeout_s: float = 30.0
    """A window with a latency above this counts as one that dropped calls."""

    waiting_max: int = 1_000
    wait_max_s: float = 30.0

    def __post_init__(self) -> None:
        check_options(
            self,
            base=self.base >= 1,
            window_s=self.window_s > 0,
            samples_min=self.samples_min >= 1,
            quantile=0 <= self.quantile <= 1,
            timeout_s=self.timeout_s > 0,
            waiting_max=self.waiting_max >= 0,
            wait_max_s=self.wait_max_s >= 0,
        )
