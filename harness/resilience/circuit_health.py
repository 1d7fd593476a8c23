"""
What the outcomes of a circuit add up to, and which rules say that it should open.
"""

from collections.abc import Sequence
from enum import StrEnum

from harness.resilience.options import CircuitBreakerOptions
from harness.resilience.windows import CountWindow, TimeWindow, Window

_COLUMNS = 3
_NOTHING: Sequence[int] = (0,) * _COLUMNS


class TripRule(StrEnum):
    """
    Why a circuit opens.
    """

    CONSECUTIVE_FAILURES = "consecutive_failures"
    FAILURE_RATIO = "failure_ratio"
    SLOW_RATIO = "slow_ratio"


class CircuitHealth:
    """
    The run of failures and the window of one circuit.

    Attributes:
        failures: Failures in a row, whatever the state of the circuit was.
    """

    def __init__(self, *, options: CircuitBreakerOptions, now_s: float) -> None:
        self.failures = 0
        self._options = options
        self._window = _window_for(options, now_s)

    def change(self, options: CircuitBreakerOptions, now_s: float) -> None:
        """
        Judge by other rules; a window of another shape begins empty.
        """
        if _shape_of(options) != _shape_of(self._options):
            self._window = _window_for(options, now_s)
        self._options = options

    def record(self, now_s: float, *, failed: bool, slow: bool) -> tuple[TripRule, ...]:
        """
        Take an outcome in and return the rules that ask for the circuit to open.
        """
        self.count(failed=failed)
        if self._window is not None:
            self._window.add(now_s, 1, failed, slow)
        elif not failed:
            return ()
        return self._broken_rules(now_s, failed=failed)

    def count(self, *, failed: bool) -> None:
        """
        Take an outcome into the run of failures alone, as that of a probe.
        """
        self.failures = self.failures + 1 if failed else 0

    def samples(self, now_s: float) -> Sequence[int]:
        """
        Return how many outcomes are in the window, how many failed, how many were slow.
        """
        return _NOTHING if self._window is None else self._window.sums(now_s)

    def forget_samples(self, now_s: float) -> None:
        """
        Empty the window and keep the run of failures.
        """
        if self._window is not None:
            self._window.clear(now_s)

    def forget(self, now_s: float) -> None:
        """
        Start again from nothing.
        """
        self.failures = 0
        self.forget_samples(now_s)

    def _broken_rules(self, now_s: float, *, failed: bool) -> tuple[TripRule, ...]:
        options = self._options
        broken = []
        threshold = options.failure_threshold
        # After failures alone: a success has just ended the run.
        if failed and threshold is not None and self.failures >= threshold:
            broken.append(TripRule.CONSECUTIVE_FAILURES)
        if self._window is not None:
            samples, failures, slow = self._window.sums(now_s)
            if _reaches(
                failures, samples, options.failure_ratio, options.minimum_throughput
            ):
                broken.append(TripRule.FAILURE_RATIO)
            if _reaches(
                slow, samples, options.slow_ratio, options.slow_minimum_throughput
            ):
                broken.append(TripRule.SLOW_RATIO)
        return tuple(broken)


def _window_for(options: CircuitBreakerOptions, now_s: float) -> Window | None:
    if options.failure_ratio is None and options.slow_ratio is None:
        return None
    if options.window_calls is not None:
        return CountWindow(size=options.window_calls, columns=_COLUMNS)
    return TimeWindow(
        duration_s=options.sampling_duration_s,
        buckets=options.window_buckets,
        columns=_COLUMNS,
        start_s=now_s,
    )


def _shape_of(options: CircuitBreakerOptions) -> tuple[float, ...]:
    if options.failure_ratio is None and options.slow_ratio is None:
        return ()
    if options.window_calls is not None:
        return (options.window_calls,)
    return (options.sampling_duration_s, options.window_buckets)


def _reaches(part: int, whole: int, ratio: float | None, whole_min: int) -> bool:
    return ratio is not None and whole >= whole_min and part / whole >= ratio
