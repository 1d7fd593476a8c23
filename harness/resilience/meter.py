"""
A token bucket as one number: the generic cell rate algorithm.

The number is the time at which the bucket would be full again. It needs no timer and
no refilling: what is there follows from the time.
"""

import math
from typing import Final

ROUNDING_S: Final = 1e-6
"""A grant may come so much early; floats do not sum exactly."""


class Meter:
    """
    What may pass at ``rate_per_s``, with up to ``burst`` at once.

    Attributes:
        full_at_s: When the bucket is full again if nothing else is taken.
    """

    __slots__ = ("burst", "full_at_s", "rate_per_s")

    def __init__(
        self, *, rate_per_s: float, burst: float, full_at_s: float = -math.inf
    ) -> None:
        self.rate_per_s = rate_per_s
        self.burst = burst
        self.full_at_s = full_at_s

    def copy(self) -> "Meter":
        """
        Return a meter in the same state, to plan with.
        """
        return Meter(
            rate_per_s=self.rate_per_s, burst=self.burst, full_at_s=self.full_at_s
        )

    def grant_at(self, now_s: float, cost: float, *, queued: float = 0.0) -> float:
        """
        Return when ``cost`` may pass, behind ``queued`` that passes first.
        """
        base_s = max(self.full_at_s, now_s)
        wanted_s = (queued + cost - self.burst) / self.rate_per_s
        return max(now_s, base_s + wanted_s)

    def take_nowait(self, now_s: float, cost: float) -> bool:
        """
        Let ``cost`` pass if it may at this moment.
        """
        base_s = max(self.full_at_s, now_s)
        if base_s + (cost - self.burst) / self.rate_per_s > now_s + ROUNDING_S:
            return False
        self.full_at_s = base_s + cost / self.rate_per_s
        return True

    def take(self, now_s: float, cost: float) -> None:
        """
        Let ``cost`` pass.
        """
        self.full_at_s = max(self.full_at_s, now_s) + cost / self.rate_per_s

    def give_back(self, cost: float) -> None:
        """
        Undo a take whose permit was not used.
        """
        self.full_at_s -= cost / self.rate_per_s

    def available(self, now_s: float) -> float:
        """
        Return how much may pass at once.
        """
        missing = max(self.full_at_s - now_s, 0.0) * self.rate_per_s
        return max(self.burst - missing, 0.0)

    def set_available(self, now_s: float, available: float) -> None:
        """
        Let exactly so much be there.
        """
        missing = self.burst - min(max(available, 0.0), self.burst)
        self.full_at_s = now_s + missing / self.rate_per_s

    def change(self, now_s: float, *, rate_per_s: float, burst: float) -> None:
        """
        Go on at another rate with what is there.
        """
        available = self.available(now_s)
        self.rate_per_s = rate_per_s
        self.burst = burst
        self.set_available(now_s, available)
