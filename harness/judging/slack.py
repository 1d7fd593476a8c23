"""
How much a bound gives way, for the error of clocks and schedulers.
"""

from dataclasses import dataclass

_LIVE_FIXED_US = 50_000
_LIVE_SHARE = 0.05
TRANSIT_US = 50_000
"""What a message may take between two hosts, a new connection included, also where
clocks are one: an upper bound on what another host saw gives so much way."""

_ROUNDING_US = 2
"""Two times in whole microseconds may make a duration so much shorter or longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Slack:
    """
    A fixed part and a share of what is bounded.
    """

    fixed_us: int
    share: float

    @classmethod
    def live(cls) -> "Slack":
        """
        Return what real time asks for: 50 ms and 5 %.
        """
        return cls(fixed_us=_LIVE_FIXED_US, share=_LIVE_SHARE)

    @classmethod
    def virtual(cls) -> "Slack":
        """
        Return what virtual time asks for: nothing.
        """
        return cls(fixed_us=0, share=0.0)

    def at_least_us(self, duration_s: float) -> int:
        """
        Return the shortest time that still counts as the duration.
        """
        return round(duration_s * 1e6 * (1 - self.share)) - self.fixed_us - _ROUNDING_US

    def at_most_us(self, duration_s: float) -> int:
        """
        Return the longest time that still counts as the duration.
        """
        return round(duration_s * 1e6 * (1 + self.share)) + self.fixed_us + _ROUNDING_US
