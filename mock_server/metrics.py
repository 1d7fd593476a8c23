"""
Counters and histograms of one mock, for Prometheus.

Counting is on the path of every request: plain numbers are added up there. They are
shown elsewhere, when somebody asks.
"""

from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Iterable, Mapping

OVERHEADS_MAX = 8192
"""The latest overheads of a surface, of which percentiles are taken."""

_OVERHEAD_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25)
_DURATION_BUCKETS_S = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)
_OK = (200, "complete")
_NOTED_MAX = 256
_INFINITY = "+Inf"


class Buckets:
    """
    A histogram.
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


def percentile(values: Iterable[float], share: float) -> float | None:
    """
    Return the value that so large a share of the values is at most; None of none.
    """
    ordered = sorted(values)
    if not ordered:
        return None
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class Metrics:
    """
    What is counted. Labels have few values: no key, no world, no path from outside.
    """

    def __init__(self) -> None:
        self._surfaces: dict[str, SurfaceMetrics] = {}
        self.faults: Counter[tuple[str, str]] = Counter()
        """Faults that hit a request: by name and surface."""

        self.emissions: Counter[str] = Counter()
        """Webhooks that were sent to the service: by its answer."""

    def surface(self, name: str) -> "SurfaceMetrics":
        """
        Return what is counted for every request of a surface.
        """
        found = self._surfaces.get(name)
        if found is None:
            found = self._surfaces[name] = SurfaceMetrics()
        return found

    @property
    def surfaces(self) -> "Mapping[str, SurfaceMetrics]":
        """
        All surfaces by their names, with every request counted.
        """
        for each in self._surfaces.values():
            each.count_noted()
        return self._surfaces

    def overhead_us(self) -> dict[str, float | None]:
        """
        Return what answers took beyond their plan, over all surfaces.
        """
        values_s = [s for each in self.surfaces.values() for s in each.overheads]
        return {
            name: None if found_s is None else round(found_s * 1e6, 1)
            for name, found_s in (
                ("p50", percentile(values_s, 0.5)),
                ("p99", percentile(values_s, 0.99)),
            )
        }


class SurfaceMetrics:
    """
    What is counted of one surface.
    """

    __slots__ = (
        "_noted_s",
        "duration_s",
        "ends",
        "in_flight",
        "overhead_s",
        "overheads",
    )

    def __init__(self) -> None:
        self.in_flight = 0
        self.ends: dict[tuple[int | None, str], int] = {}
        """How many requests ended so: by status and outcome."""

        self.duration_s = Buckets(_DURATION_BUCKETS_S)
        self.overhead_s = Buckets(_OVERHEAD_BUCKETS_S)
        self.overheads: deque[float] = deque(maxlen=OVERHEADS_MAX)
        self._noted_s: list[float] = []
        """What is still to be counted."""

    def note(self, elapsed_s: float) -> None:
        """
        Have a request counted that was answered with 200, with no delay planned.

        Many are counted together: one by one takes several times as long.
        """
        noted_s = self._noted_s
        noted_s.append(elapsed_s)
        if len(noted_s) >= _NOTED_MAX:
            self.count_noted()

    def count_noted(self) -> None:
        """
        Count what was noted; whoever reads the numbers does it first.
        """
        noted_s = self._noted_s
        if not noted_s:
            return
        self.ends[_OK] = self.ends.get(_OK, 0) + len(noted_s)
        for elapsed_s in noted_s:
            self.duration_s.observe(elapsed_s)
            self.overhead_s.observe(elapsed_s)
        self.overheads.extend(noted_s)
        noted_s.clear()

    def measure(
        self,
        status: int | None,
        outcome: str,
        elapsed_s: float,
        overhead_s: float | None,
    ) -> None:
        """
        Count a request that ended.

        Args:
            status: What was sent, if anything was.
            outcome: How it ended.
            elapsed_s: From the request to the end of its answer.
            overhead_s: What it took beyond its plan; None if it was not completed.
        """
        self.count_noted()
        end = (status, outcome)
        self.ends[end] = self.ends.get(end, 0) + 1
        self.duration_s.observe(elapsed_s)
        if overhead_s is not None:
            self.overhead_s.observe(overhead_s)
            self.overheads.append(overhead_s)
