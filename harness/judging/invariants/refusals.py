"""
A refusal comes at once, says that it is one, and is not tried against.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Final

from harness.judging.entities import Record
from harness.judging.ruling import Finding, Ruling, finding, rule
from harness.judging.timeline import Timeline
from harness.scenario import Promise

AT_ONCE_S: Final = 0.25
"""A refusal that takes longer to reach its caller is not immediate."""

_REFUSALS_MIN: Final = 5
"""With fewer of them real time shows nothing: a busy machine delays any one."""

_TYPED: Final = frozenset({429, 503})
_CIRCUIT: Final = "circuit_breaker"
_LOCAL: Final = frozenset({_CIRCUIT, "rate_limiter", "bulkhead"})


def refusals_are_immediate(timeline: Timeline, promise: Promise) -> Ruling:
    """
    18: refusals are immediate and typed, and nothing is retried while open.
    """
    del promise
    told: dict[str, list[Record]] = defaultdict(list)
    kinds = ("operation_rejected", "attempt_started", "retry_scheduled")
    for kind in (*kinds, "chat_failed", "chat_answered"):
        for record in timeline.of(kind):
            if record.get("trace_id") is not None:
                told[str(record["trace_id"])].append(record)
    broken: list[Finding] = []
    waits: list[tuple[int, Record, Record]] = []
    judged = 0
    for records in told.values():
        if not any(each["kind"] == "operation_rejected" for each in records):
            continue
        records.sort(key=lambda each: int(each["seq"]))
        judged += 1
        broken += _retried_while_open(timeline, records)
        for refusal, end in _refused_chats(timeline, records):
            waits.append((int(end["time_us"]) - int(refusal["time_us"]), refusal, end))
            status = end.get("status")
            if status is not None and int(status) not in _TYPED:
                message = f"a refused chat ended with {status}, not with 429 or 503"
                broken.append(finding(message, [int(end["seq"]), int(refusal["seq"])]))
    broken += _slow(timeline, waits)
    figures = {"typical_s": median(each[0] for each in waits) / 1e6} if waits else {}
    return rule(
        "18 refusals are immediate",
        judged=judged,
        broken=broken,
        figures=figures,
        nothing="nothing was refused"
        if timeline.speaks
        else "the service says nothing of what it refuses",
    )


def _retried_while_open(
    timeline: Timeline, records: Sequence[Record]
) -> Iterator[Finding]:
    """
    Yield what a chat tried before the time that its refusal had named.
    """
    refusal: Record | None = None
    for record in records:
        time_us, seq = int(record["time_us"]), int(record["seq"])
        if record["kind"] in {"chat_failed", "chat_answered"}:
            refusal = None
            continue
        if refusal is not None:
            refused_us = int(refusal["time_us"])
            wait_s = float(refusal.get("retry_after_s") or 0.0)
            if record["kind"] == "retry_scheduled":
                again_us = time_us + round(float(record["delay_s"]) * 1e6)
            else:
                again_us = time_us
            is_early = again_us < refused_us + timeline.slack.at_least_us(wait_s)
            if is_early and not timeline.is_interrupted(refused_us, time_us):
                message = (
                    f"a call that was refused for {wait_s:.3f} s is tried again after "
                    f"{(again_us - refused_us) / 1e6:.3f} s"
                )
                yield finding(message, [seq, int(refusal["seq"])])
                refusal = None
        is_refusal = record["kind"] == "operation_rejected"
        if is_refusal and record.get("strategy") == _CIRCUIT:
            refusal = record
        elif record["kind"] == "attempt_started":
            refusal = None


def _refused_chats(
    timeline: Timeline, records: Sequence[Record]
) -> Iterator[tuple[Record, Record]]:
    """
    Yield each refusal that a chat ended with, and its end.
    """
    for before, record in itertools.pairwise(records):
        is_refusal = (
            before["kind"] == "operation_rejected" and before["strategy"] in _LOCAL
        )
        if not is_refusal or record["kind"] != "chat_failed":
            continue
        if not timeline.is_interrupted(int(before["time_us"]), int(record["time_us"])):
            yield before, record


def _slow(
    timeline: Timeline, waits: Sequence[tuple[int, Record, Record]]
) -> Iterator[Finding]:
    bound_us = timeline.slack.at_most_us(AT_ONCE_S)
    if timeline.slack.fixed_us:
        if len(waits) < _REFUSALS_MIN:
            return
        if median(waited_us for waited_us, _, _ in waits) <= bound_us:
            return
    for waited_us, refusal, end in waits:
        if waited_us > bound_us:
            message = f"a refused call was answered after {waited_us / 1e6:.3f} s"
            yield finding(message, [int(end["seq"]), int(refusal["seq"])])
