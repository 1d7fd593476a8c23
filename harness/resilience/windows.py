"""
Sums over the last while: over a number of samples, or over a stretch of time.

Both take constant memory. A window of time moves on in steps, its buckets; with one
bucket it tumbles.
"""

import collections
import math
from collections.abc import Sequence

_STEP_TOLERANCE = 1e-6
"""Share of a bucket by which a time may miss its edge; floats do not sum exactly."""


class CountWindow:
    """
    Sums over the last ``size`` additions.
    """

    def __init__(self, *, size: int, columns: int) -> None:
        self._size = size
        self._sums = [0] * columns
        self._rows: collections.deque[Sequence[int]] = collections.deque()

    def add(self, now_s: float, *values: int) -> None:
        """
        Take one sample in, and the oldest out if the window is full.
        """
        del now_s
        self._rows.append(values)
        for column, value in enumerate(values):
            self._sums[column] += value
        if len(self._rows) > self._size:
            for column, value in enumerate(self._rows.popleft()):
                self._sums[column] -= value

    def sums(self, now_s: float) -> Sequence[int]:
        """
        Return the sum of each column.
        """
        del now_s
        return self._sums

    def clear(self, now_s: float) -> None:
        """
        Start again from nothing.
        """
        del now_s
        self._rows.clear()
        self._sums = [0] * len(self._sums)


class TimeWindow:
    """
    Sums over the last ``duration_s`` seconds, in ``buckets`` steps.
    """

    def __init__(
        self, *, duration_s: float, buckets: int, columns: int, start_s: float
    ) -> None:
        self._bucket_s = duration_s / buckets
        self._buckets_max = buckets
        self._start_s = start_s
        self._sums = [0] * columns
        self._buckets: collections.deque[tuple[int, list[int]]] = collections.deque()

    def add(self, now_s: float, *values: int) -> None:
        """
        Take one sample in.
        """
        index = self._move_on(now_s)
        if not self._buckets or self._buckets[-1][0] != index:
            self._buckets.append((index, [0] * len(self._sums)))
        newest = self._buckets[-1][1]
        for column, value in enumerate(values):
            newest[column] += value
            self._sums[column] += value

    def sums(self, now_s: float) -> Sequence[int]:
        """
        Return the sum of each column.
        """
        self._move_on(now_s)
        return self._sums

    def clear(self, now_s: float) -> None:
        """
        Start again from nothing.
        """
        self._start_s = now_s
        self._buckets.clear()
        self._sums = [0] * len(self._sums)

    def _move_on(self, now_s: float) -> int:
        steps = (now_s - self._start_s) / self._bucket_s
        index = math.floor(steps + _STEP_TOLERANCE)
        while self._buckets and self._buckets[0][0] <= index - self._buckets_max:
            for column, value in enumerate(self._buckets.popleft()[1]):
                self._sums[column] -= value
        return index


Window = CountWindow | TimeWindow
