"""
What the service asks its own callers to wait.
"""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import pairwise

from harness.judging.circuits import StateSpan, circuits_of
from harness.judging.entities import Record, is_by_hand
from harness.judging.ruling import Finding, finding
from harness.judging.timeline import Timeline
from harness.scenario import Promise


def untrue_waits(timeline: Timeline, promise: Promise) -> tuple[int, list[Finding]]:
    """
    Return how many waits were named, and those that were too long or too short.

    Judged where the truth is known: an open circuit lets a call through at the end of
    its break. What a limiter or a half-open circuit names depends on who comes first;
    a break that lasts too long is not its callers' business.
    """
    break_s = promise.breaker.break_duration if promise.breaker else math.inf
    changes = {int(record["seq"]): record for record in timeline.of("circuit_changed")}
    refusals: dict[str, list[Record]] = defaultdict(list)
    for record in timeline.of("operation_rejected"):
        if record.get("circuit") and record.get("retry_after_s"):
            refusals[str(record["circuit"])].append(record)
    judged = 0
    broken: list[Finding] = []
    for name, circuit in circuits_of(timeline).items():
        for span, following in pairwise(circuit.spans):
            to_us = following.from_us
            is_left_alone = (
                span.state == "open"
                and following.state == "half_open"
                and not is_by_hand(changes.get(following.seq or 0, {}))
                and not timeline.is_interrupted(span.from_us, to_us)
            )
            if not is_left_alone:
                continue
            said = refusals[name]
            told = said[
                bisect_left(said, span.from_us, key=_time_us) : bisect_left(
                    said, to_us, key=_time_us
                )
            ]
            judged += len(told)
            said_s = changes.get(span.seq or 0, {}).get("break_duration_s") or 0.0
            due_us = span.from_us + timeline.slack.at_most_us(max(break_s, said_s))
            in_time = [each for each in told if _time_us(each) <= due_us]
            broken += _too_long(timeline, told, following)
            broken += _too_short(timeline, in_time)
    return judged, broken


def _time_us(record: Record) -> int:
    return int(record["time_us"])


def _too_long(
    timeline: Timeline, told: Sequence[Record], following: StateSpan
) -> Iterator[Finding]:
    for record in told:
        wait_s = float(record["retry_after_s"])
        was_us = following.from_us - _time_us(record)
        if was_us < timeline.slack.at_least_us(wait_s):
            message = (
                f"a call was told to wait {wait_s:.3f} s, and the circuit let others "
                f"through after {was_us / 1e6:.3f} s"
            )
            yield finding(message, [int(record["seq"]), following.seq])


def _too_short(timeline: Timeline, told: Sequence[Record]) -> Iterator[Finding]:
    for record in told:
        wait_s = float(record["retry_after_s"])
        refused_us = _time_us(told[-1]) - _time_us(record)
        if refused_us > timeline.slack.at_most_us(wait_s):
            message = (
                f"a call was told to wait {wait_s:.3f} s, and the circuit still refused "
                f"after {refused_us / 1e6:.3f} s"
            )
            yield finding(message, [int(record["seq"]), int(told[-1]["seq"])])
