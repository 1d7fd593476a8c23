"""
Distributions of a delay.

A sampler turns a draw, a number in [0, 1), into seconds: the same draw always gives
the same delay, whoever asks.
"""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Protocol

_STANDARD = NormalDist()
_Z99 = _STANDARD.inv_cdf(0.99)
_DRAW_MIN = 1e-9
"""The tails beyond it are cut: no delay is infinite."""


class Sampler(Protocol):
    """
    A delay of which only the distribution is known.
    """

    def sample_s(self, draw: float) -> float:
        """
        Return the seconds at this quantile.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """
    Always the same.
    """

    delay_s: float

    def sample_s(self, draw: float) -> float:
        """
        Return the delay.
        """
        del draw
        return self.delay_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """
    Anything between two bounds, equally likely.
    """

    low_s: float
    high_s: float

    def sample_s(self, draw: float) -> float:
        """
        Return the seconds at this quantile.
        """
        return self.low_s + draw * (self.high_s - self.low_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Normal:
    """
    A bell curve, cut off at zero and at four deviations.
    """

    mean_s: float
    deviation_s: float

    def sample_s(self, draw: float) -> float:
        """
        Return the seconds at this quantile.
        """
        score = max(-4.0, min(4.0, _score(draw)))
        return max(0.0, self.mean_s + score * self.deviation_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogNormal:
    """
    A long tail, given by its median and its 99th percentile.
    """

    median_s: float
    p99_s: float

    def sample_s(self, draw: float) -> float:
        """
        Return the seconds at this quantile.
        """
        if self.median_s == self.p99_s:
            return self.median_s
        sigma = math.log(self.p99_s / self.median_s) / _Z99
        return self.median_s * math.exp(_score(draw) * sigma)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """
    The delays of a record, one after the other; then none.
    """

    delays_s: tuple[float, ...]

    def nth_s(self, number: int) -> float:
        """
        Return the delay of that number, from 0.
        """
        return self.delays_s[number] if number < len(self.delays_s) else 0.0


def _score(draw: float) -> float:
    return _STANDARD.inv_cdf(max(_DRAW_MIN, min(1 - _DRAW_MIN, draw)))
