"""
How many retries a destination takes, whoever makes them.

Each kind of budget keeps the traffic from multiplying when everything fails: by a
share of the calls made (the default), by a throttle that failures close, or by the
number of calls that retry at once.
"""

import math
from typing import Final, Protocol, assert_never

from harness.clock import Clock
from harness.resilience.options import (
    BudgetOptions,
    ConcurrencyBudgetOptions,
    RetryBudgetOptions,
    ThrottleBudgetOptions,
)
from harness.resilience.windows import TimeWindow

_BUCKETS: Final = 10
_ROUNDING: Final = 1e-9


class Budget(Protocol):
    """
    The right to make further attempts, shared by all who make them.
    """

    def begin(self) -> None:
        """
        Count a call that begins.
        """

    def withdraw(self) -> bool:
        """
        Take the right to one further attempt, if there is one.
        """

    def record(self, *, succeeded: bool) -> None:
        """
        Count an attempt that ended.
        """

    def end_hedge(self) -> None:
        """
        Count a further attempt that ran beside the first and is over.
        """

    def end(self, *, retries: int) -> None:
        """
        Count a call that ended, after so many further attempts, hedges left out.
        """


class RetryBudget:
    """
    Each call earns a share of a retry, and a small reserve is always there.
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

    def begin(self) -> None:
        """
        Count a call that begins; it earns its share.
        """
        self.deposit(1)

    def deposit(self, calls: int) -> None:
        """
        Count many calls at once.
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

    def record(self, *, succeeded: bool) -> None:
        """
        Look away: what calls earn does not depend on how they end.
        """

    def end_hedge(self) -> None:
        """
        Look away: what was spent stays spent until the window has passed.
        """

    def end(self, *, retries: int) -> None:
        """
        Look away: what was spent stays spent until the window has passed.
        """

    def balance(self) -> float:
        """
        Return how many retries may be made at this moment.
        """
        calls, retries = self._window.sums(self._clock.monotonic())
        options = self._options
        reserve = options.reserve_per_s * options.window_s
        return reserve + options.share * calls - retries


class ThrottleBudget:
    """
    Failures take a whole token, successes give back a fraction of one.

    There are no retries while half of the tokens or fewer are left.

    Attributes:
        tokens: How many are left.
    """

    def __init__(self, *, options: ThrottleBudgetOptions) -> None:
        self.tokens = options.tokens_max
        self._options = options

    def begin(self) -> None:
        """
        Look away: attempts count, not calls.
        """

    def withdraw(self) -> bool:
        """
        Return whether enough tokens are left.
        """
        return self.tokens > self._options.tokens_max / 2 + _ROUNDING

    def record(self, *, succeeded: bool) -> None:
        """
        Give back a fraction for a success, take one for a failure.
        """
        change = self._options.token_ratio if succeeded else -1.0
        self.tokens = min(max(self.tokens + change, 0.0), self._options.tokens_max)

    def end_hedge(self) -> None:
        """
        Look away: attempts count, not what they are made for.
        """

    def end(self, *, retries: int) -> None:
        """
        Look away: attempts count, not calls.
        """


class ConcurrencyBudget:
    """
    Of the calls under way a share may be retrying.

    Attributes:
        active: Calls under way.
        retrying: Further attempts that these calls took.
    """

    def __init__(self, *, options: ConcurrencyBudgetOptions) -> None:
        self.active = 0
        self.retrying = 0
        self._options = options

    def begin(self) -> None:
        """
        Count a call that begins.
        """
        self.active += 1

    def withdraw(self) -> bool:
        """
        Take a further attempt, if so many may be under way.
        """
        if self.retrying >= self.allowed():
            return False
        self.retrying += 1
        return True

    def record(self, *, succeeded: bool) -> None:
        """
        Look away: how attempts end does not matter.
        """

    def end_hedge(self) -> None:
        """
        Count a hedge that is over; its place is free again.
        """
        self.retrying -= 1

    def end(self, *, retries: int) -> None:
        """
        Count a call that ended; what it took is there again.
        """
        self.active -= 1
        self.retrying -= retries

    def allowed(self) -> int:
        """
        Return how many further attempts may be under way at this moment.
        """
        share = math.floor(self._options.share * self.active + _ROUNDING)
        return max(self._options.retries_min, share)


def make_budget(options: BudgetOptions | None, *, clock: Clock) -> Budget | None:
    """
    Return the budget that the options ask for.
    """
    match options:
        case None:
            return None
        case RetryBudgetOptions():
            return RetryBudget(options=options, clock=clock)
        case ThrottleBudgetOptions():
            return ThrottleBudget(options=options)
        case ConcurrencyBudgetOptions():
            return ConcurrencyBudget(options=options)
        case _:
            assert_never(options)
