"""
A histogram that is cheap to add to: on hot paths plain numbers are added up.
"""

from bisect import bisect_left

_INFINITY = "+Inf"


class Buckets:
    """
    Counts values by the smallest bound that they do not exceed.

    Args:
        bounds: In rising order; what is larger than the last is counted apart.
    """

    __slots__ = ("_bounds", "_counts", "_sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self._bounds = bounds
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def observe(self, value: float) -> None:
        """
        Count a value.
        """
        self._counts[bisect_left(self._bounds, value)] += 1
        self._sum += value

    @property
    def sum(self) -> float:
        """
        All values together.
        """
        return self._sum

    def cumulated(self) -> list[tuple[str, float]]:
        """
        Return how many values are at most as large as each bound.
        """
        total = 0
        found = []
        names = [*map(str, map(float, self._bounds)), _INFINITY]
        for name, number in zip(names, self._counts, strict=True):
            total += number
            found.append((name, float(total)))
        return found
