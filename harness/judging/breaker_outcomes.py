"""
When the outcomes of attempts may have been noticed, and in which order.
"""

import heapq
from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Iterator

from harness.judging.causality import NEVER_US, Health, Span


def ended_us(span: Span) -> int:
    """
    Return when an attempt was answered.
    """
    return span.attempt.ended_us or 0


def noticed_us(span: Span) -> int:
    """
    Return when the service had noticed the answer, as far as that shows.
    """
    return span.noticed_by_us if span.noticed_by_us < NEVER_US else ended_us(span)


class Successes:
    """
    When successes may have been noticed, over all models.

    A service with one circuit for all of them is judged as gently as one with many.
    """

    def __init__(self, spans: Iterable[Span], *, timeout_s: float | None) -> None:
        possible = [
            (span.attempt.received_us, _latest_us(span, timeout_s=timeout_s), span)
            for span in spans
            if span.health in {Health.SUCCESS, Health.UNKNOWN}
        ]
        possible.sort(key=lambda each: each[0])
        self._earliest_us = [earliest_us for earliest_us, _, _ in possible]
        self._latest_us = [latest_us for _, latest_us, _ in possible]
        self._latest_so_far_us: list[int] = []
        for latest_us in self._latest_us:
            before_us = self._latest_so_far_us[-1] if self._latest_so_far_us else -1
            self._latest_so_far_us.append(max(before_us, latest_us))
        self._spans = [span for _, _, span in possible]

    def may_fall(self, from_us: int, to_us: int) -> bool:
        """
        Say whether one may have been noticed in between.
        """
        count = bisect_right(self._earliest_us, to_us)
        return count > 0 and self._latest_so_far_us[count - 1] >= from_us

    def count(self, from_us: int, to_us: int) -> int:
        """
        Return how many may have been noticed in between.
        """
        end = bisect_right(self._earliest_us, to_us)
        return sum(1 for _ in self._noticed_since(from_us, end))

    def nth_end_us(self, from_us: int, number: int, *, early_us: int) -> int:
        """
        Return when so many may have been noticed since then, at the earliest.
        """
        started = bisect_right(self._earliest_us, from_us)
        ends = [
            self._end_us(index, early_us)
            for index in self._noticed_since(from_us, started)
        ]
        ends = heapq.nsmallest(number, ends)
        for index in range(started, len(self._spans)):
            if len(ends) >= number and self._earliest_us[index] > ends[-1]:
                break
            insort(ends, self._end_us(index, early_us))
            del ends[number:]
        return ends[number - 1] if len(ends) >= number else NEVER_US

    def _noticed_since(self, from_us: int, end: int) -> Iterator[int]:
        """
        Yield those of the first ``end`` that may have been noticed since then.
        """
        for index in range(end - 1, -1, -1):
            if self._latest_so_far_us[index] < from_us:
                return
            if self._latest_us[index] >= from_us:
                yield index

    def _end_us(self, index: int, early_us: int) -> int:
        attempt = self._spans[index].attempt
        return max(attempt.received_us, (attempt.ended_us or 0) - early_us)


def _latest_us(span: Span, *, timeout_s: float | None) -> int:
    ended_us = span.attempt.ended_us
    if span.noticed_by_us < NEVER_US or timeout_s is None or ended_us is None:
        return span.noticed_by_us
    # An answer that nothing follows was noticed or given up within the timeout.
    return ended_us + round(timeout_s * 1e6)


class FailureRuns:
    """
    Whether so many failures came in a row.

    A success of an attempt that was under way when they did changes nothing.
    """

    def __init__(
        self,
        spans: Iterable[Span],
        threshold: int,
        *,
        in_order_of: Callable[[Span], int],
    ) -> None:
        self._ended = sorted(
            (span for span in spans if span.attempt.ended_us is not None),
            key=in_order_of,
        )
        self._time_us = in_order_of
        self._threshold = threshold
        self._position = 0
        self._failures = 0
        self._tripped_us: int | None = None

    def tripped_by(self, time_us: int) -> bool:
        """
        Say whether they had come by then; times are asked for in their order.
        """
        while self._position < len(self._ended):
            span = self._ended[self._position]
            told_us = self._time_us(span)
            if told_us >= time_us:
                break
            self._position += 1
            if span.health is Health.FAILURE:
                self._failures += 1
                if self._failures >= self._threshold:
                    self._tripped_us = told_us
            elif span.health is not Health.NEUTRAL:
                tripped_us = self._tripped_us
                if tripped_us is None or span.attempt.received_us > tripped_us:
                    self._failures, self._tripped_us = 0, None
        return self._tripped_us is not None
