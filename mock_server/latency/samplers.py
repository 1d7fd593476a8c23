"""
Distributions of a delay.

A sampler turns a draw, a number in [0, 1), into seconds: the same draw always gives
the same delay, whoever asks.
"""

import math
from dataclasses import dataclass
from heapq import heappop, heappush
from statistics import NormalDist
from typing import Protocol

_STANDARD = NormalDist()
_Z99 = _STANDARD.inv_cdf(0.99)
_DRAW_MIN = 1e-9
"""The tails beyond it are cut: no delay is infinite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """
    What a delay may depend on besides chance.
    """

    now_s: float = 0.0
    """Of scenario time."""

    prompt_tokens: int = 0


CALM = Situation()


class Sampler(Protocol):
    """
    A delay of which only the distribution is known.
    """

    def sample_s(self, draw: float, situation: Situation = CALM) -> float:
        """
        Return the seconds at this quantile.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """
    Always the same.
    """

    delay_s: float

    def sample_s(self, draw: float, situation: Situation = CALM) -> float:
        """
        Return the delay.
        """
        del draw, situation
        return self.delay_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Uniform:
    """
    Anything between two bounds, equally likely.
    """

    low_s: float
    high_s: float

    def sample_s(self, draw: float, situation: Situation = CALM) -> float:
        """
        Return the seconds at this quantile.
        """
        del situation
        return self.low_s + draw * (self.high_s - self.low_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Normal:
    """
    A bell curve, cut off at zero and at four deviations.
    """

    mean_s: float
    deviation_s: float

    def sample_s(self, draw: float, situation: Situation = CALM) -> float:
        """
        Return the seconds at this quantile.
        """
        del situation
        score = max(-4.0, min(4.0, _score(draw)))
        return max(0.0, self.mean_s + score * self.deviation_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogNormal:
    """
    A long tail, given by its median and its 99th percentile.
    """

    median_s: float
    p99_s: float

    def sample_s(self, draw: float, situation: Situation = CALM) -> float:
        """
        Return the seconds at this quantile.
        """
        del situation
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """
    Measured percentiles, with straight lines between them.
    """

    points: tuple[tuple[float, float], ...]
    """A share of the requests and the seconds that they took at most, ascending."""

    def sample_s(self, draw: float, situation: Situation = CALM) -> float:
        """
        Return the seconds at this quantile.
        """
        del situation
        share, delay_s = self.points[0]
        if draw <= share:
            return delay_s
        for next_share, next_delay_s in self.points[1:]:
            if draw <= next_share:
                part = (draw - share) / (next_share - share)
                return delay_s + part * (next_delay_s - delay_s)
            share, delay_s = next_share, next_delay_s
        return delay_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Mixture:
    """
    One of several samplers, each for its share of the requests.
    """

    parts: tuple[tuple[float, Sampler], ...]

    def sample_s(self, draw: float, situation: Situation = CALM) -> float:
        """
        Return the seconds at this quantile: the draw picks the part, and where in it.
        """
        low = 0.0
        for share, sampler in self.parts:
            if draw < low + share:
                return sampler.sample_s((draw - low) / share, situation)
            low += share
        return self.parts[-1][1].sample_s(1 - _DRAW_MIN, situation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spell:
    """
    Another sampler, and now and then all of it so many times slower.
    """

    of: Sampler
    every_s: float
    lasts_s: float
    times: float

    def sample_s(self, draw: float, situation: Situation = CALM) -> float:
        """
        Return the seconds at this quantile and at this time.
        """
        delay_s = self.of.sample_s(draw, situation)
        is_slow = situation.now_s % self.every_s < self.lasts_s
        return delay_s * self.times if is_slow else delay_s


class Machine:
    """
    A machine that works on several requests at once and lets all others wait.

    Args:
        base_s: What every request takes.
        per_prompt_token_s: What each token of its prompt adds.
        slowdown: By what share of it each other request slows one down.
        slots: How many are worked on at once.
    """

    def __init__(
        self, *, base_s: float, per_prompt_token_s: float, slowdown: float, slots: int
    ) -> None:
        self._base_s = base_s
        self._per_prompt_token_s = per_prompt_token_s
        self._slowdown = slowdown
        self._slots = slots
        self._ends_s: list[float] = []
        """When each of those will be done that are worked on, the first one first."""

    def sample_s(self, draw: float, situation: Situation = CALM) -> float:
        """
        Return the seconds until a request that comes at this time is done.
        """
        del draw
        ends_s, now_s = self._ends_s, situation.now_s
        while ends_s and ends_s[0] <= now_s:
            heappop(ends_s)
        start_s = heappop(ends_s) if len(ends_s) >= self._slots else now_s
        own_s = self._base_s + self._per_prompt_token_s * situation.prompt_tokens
        end_s = start_s + own_s * (1 + self._slowdown * len(ends_s))
        heappush(ends_s, end_s)
        return end_s - now_s


def _score(draw: float) -> float:
    return _STANDARD.inv_cdf(max(_DRAW_MIN, min(1 - _DRAW_MIN, draw)))
