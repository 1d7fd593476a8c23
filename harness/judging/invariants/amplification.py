"""
Retries do not multiply the traffic when everything fails.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict, deque
from itertools import accumulate, pairwise
from typing import Final

from harness.judging.invariants.upstream import operations_of
from harness.judging.ruling import Finding, Ruling, finding, rule, skipped
from harness.judging.timeline import Timeline
from harness.scenario import Promise

_STEPS_SHARE: Final = 0.8
"""
A window that moves in ten steps looks back for nine tenths of its length; the rest is
for the time between an answer and the service's noticing it.
"""


def amplification_is_bounded(timeline: Timeline, promise: Promise) -> Ruling:
    """
    8: in any window attempts are at most (1 + budget) · calls + reserve.
    """
    name = "8 amplification is bounded"
    budget = None if promise.upstream is None else promise.upstream.retry_budget
    if budget is None:
        return skipped(name, "no retry budget is promised")
    reserve = budget.reserve * budget.window
    back_us = round(_STEPS_SHARE * budget.window * 1e6)
    requests = _Requests(timeline)
    broken: list[Finding] = []
    judged, fullest = 0, 0.0
    for retries in _retries_of_models(timeline).values():
        recent: deque[tuple[int, int]] = deque()
        for planned_us, seq in retries:
            recent.append((planned_us, seq))
            while recent[0][0] <= planned_us - back_us:
                recent.popleft()
            from_us = round(planned_us - budget.window * 1e6)
            if timeline.is_interrupted(from_us, planned_us):
                # A restarted service has its reserve again.
                recent.clear()
                continue
            judged += 1
            calls = requests.between(from_us, planned_us + _NOTICES_US)
            allowed = reserve + budget.share * calls
            fullest = max(fullest, len(recent) / (allowed or 1.0))
            if len(recent) > allowed + 1e-9:
                message = (
                    f"retry (event {seq}) is number {len(recent)} within "
                    f"{back_us / 1e6:g} s; {calls} requests and the reserve allow "
                    f"{allowed:.1f}"
                )
                broken.append(finding(message, [seq, *(each for _, each in recent)]))
                recent.clear()
    return rule(
        name,
        judged=judged,
        broken=broken,
        figures={"budget_used_max": round(fullest, 3)},
        nothing="nothing was retried",
    )


_NOTICES_US: Final = 1_000_000
"""Requests that began so much later may have earned a retry before it was planned."""


class _Requests:
    """
    How many requests to the model a stretch of time may have begun, at most.

    A call that overlaps it may have begun all of its requests in it, also those that
    were refused before they reached the model API.
    """

    def __init__(self, timeline: Timeline) -> None:
        begun = [
            (
                call.started_us,
                timeline.end_us if call.ended_us is None else call.ended_us,
                1 + sum(1 for each in call.attempts if each.tool_calls),
            )
            for call in timeline.calls
            if call.started_us is not None
        ]
        begun.sort()
        self._starts_us = [start_us for start_us, _, _ in begun]
        self._started = [0, *accumulate(weight for _, _, weight in begun)]
        ended = sorted((end_us, weight) for _, end_us, weight in begun)
        self._ends_us = [end_us for end_us, _ in ended]
        self._ended = [0, *accumulate(weight for _, weight in ended)]

    def between(self, from_us: int, to_us: int) -> int:
        """
        Return the bound for a stretch of time.
        """
        started = self._started[bisect_right(self._starts_us, to_us)]
        return started - self._ended[bisect_left(self._ends_us, from_us)]


def _retries_of_models(timeline: Timeline) -> dict[str, list[tuple[int, int]]]:
    """
    Return when each retry was planned and its record, by model, in the order of time.

    It was planned when the attempt before had failed, however long it then waited.
    """
    retries: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for attempts in operations_of(timeline).values():
        for before, attempt in pairwise(attempts):
            ended_us = before.ended_us
            is_after = ended_us is not None and ended_us <= attempt.received_us
            planned_us = ended_us if is_after and ended_us else attempt.received_us
            retries[attempt.model].append((planned_us, attempt.seq))
    for each in retries.values():
        each.sort()
    return retries
