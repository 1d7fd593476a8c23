"""
How many retries a destination takes.

Each call earns a share of a retry, and a small reserve is always there, so that a
destination with few calls can be retried at all. When everything fails, the traffic
grows by that share and no more.
"""

from typing import Final

from harness.clock import Clock
from harness.resilience.options import RetryBudgetOptions
from harness.resilience.windows import TimeWindow

_BUCKETS: Final = 10
_ROUNDING: Final = 1e-9


class RetryBudget:
    """
    The retries of one destination, shared by all who retry or hedge.
    """

    def __init__(self, *, options: RetryBudgetOptions, clock: Clock) -> None:
        self._options = options
        self._clock = clock
        self._window = TimeWindow(
            duration_s=options.window_s,
            buckets=_BUCKETS,
            columns=2,
            start_s=clock.monotonic(),
        )

    def deposit(self, calls: int = 1) -> None:
        """
        Count calls that were made; each earns its share.
        """
        self._window.add(self._clock.monotonic(), calls, 0)

    def withdraw(self) -> bool:
        """
        Take one retry, if there is one.
        """
        if self.balance() < 1 - _ROUNDING:
            return False
        self._window.add(self._clock.monotonic(), 0, 1)
        return True

    def balance(self) -> float:
        """
        Return how many retries may be made at this moment.
        """
        calls, retries = self._window.sums(self._clock.monotonic())
        options = self._options
        reserve = options.reserve_per_s * options.window_s
        return reserve + options.share * calls - retries
