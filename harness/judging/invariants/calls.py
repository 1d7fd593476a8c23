"""
Calls end once, and no success comes from nothing.
"""

from harness.judging.entities import Attempt, Call
from harness.judging.ruling import Finding, Ruling, finding, rule
from harness.judging.timeline import Timeline
from harness.scenario import Promise

_KNOWN_OUTCOMES = frozenset({"answered", "failed", "refused", "unknown"})
_OK = 200


def arrivals_end_once(timeline: Timeline, promise: Promise) -> Ruling:
    """
    1: every arrival ends as exactly one of answered, failed, refused, dropped, unknown.
    """
    del promise
    broken, unknown = [], []
    for call in timeline.calls:
        ends = len(call.endings) + (call.dropped_seq is not None)
        events = [call.ended_seq, call.dropped_seq, call.offered_seq]
        events += [int(ending["seq"]) for ending in call.endings[1:]]
        if ends > 1:
            message = f"{call.call_id} ended {ends} times"
            broken.append(finding(message, events[-1:] + events))
        elif ends == 1 and call.outcome not in _KNOWN_OUTCOMES | {"dropped"}:
            message = f"{call.call_id} ended as {call.outcome!r}, which is no outcome"
            broken.append(finding(message, events))
        elif ends == 0 and timeline.end_reason == "finished":
            message = f"{call.call_id} was offered and never ended"
            broken.append(finding(message, events))
        elif ends == 0:
            message = f"{call.call_id} was under way when the log broke off"
            unknown.append(finding(message, events))
    return rule(
        "1 arrivals end once",
        judged=len(timeline.calls) - len(unknown),
        broken=broken,
        unknown=unknown,
        nothing="no call was offered",
    )


def success_needs_an_answer(timeline: Timeline, promise: Promise) -> Ruling:
    """
    2: no success without a complete upstream answer in its trace.
    """
    del promise
    judged = 0
    broken: list[Finding] = []
    for call in _answered(timeline):
        if not call.attempts and not _can_tell(timeline):
            continue
        judged += 1
        if _has_whole_answer(call) or _broken_answers(call):
            # A broken answer taken for a whole one is the next invariant's.
            continue
        message = (
            f"{call.call_id} was answered, and no upstream attempt in its trace was"
            if call.attempts
            else f"{call.call_id} was answered, and nothing reached the model API"
        )
        broken.append(finding(message, [call.ended_seq, *_events(call.attempts)]))
    return rule(
        "2 no success without an answer",
        judged=judged,
        broken=broken,
        nothing="no answered call could be joined to its upstream attempts",
    )


def truncated_is_no_success(timeline: Timeline, promise: Promise) -> Ruling:
    """
    3: a truncated or otherwise broken answer is never a success.
    """
    del promise
    judged = 0
    broken: list[Finding] = []
    for call in timeline.calls:
        bad = _broken_answers(call)
        if not bad or call.ending is None:
            continue
        judged += 1
        if call.outcome == "answered" and not _has_whole_answer(call):
            last = bad[-1]
            why = ", ".join(last.faults) or str(last.outcome)
            message = f"{call.call_id} was answered from a broken answer ({why})"
            broken.append(finding(message, [call.ended_seq, *_events(bad)]))
    return rule(
        "3 a broken answer is no success",
        judged=judged,
        broken=broken,
        nothing="no answer was broken",
    )


def _answered(timeline: Timeline) -> list[Call]:
    return [call for call in timeline.calls if call.outcome == "answered"]


def _can_tell(timeline: Timeline) -> bool:
    """
    Say whether a call without attempts shows that none were made.
    """
    return timeline.joins and not timeline.of("journal_dropped")


def _has_whole_answer(call: Call) -> bool:
    """
    Say whether the last turn got a whole answer before the caller did.
    """
    turn = max((attempt.turn for attempt in call.attempts), default=0)
    return any(attempt.is_whole for attempt in call.attempts if attempt.turn == turn)


def _broken_answers(call: Call) -> list[Attempt]:
    """
    Return the attempts of the last turn whose answer began well and cannot be used.
    """
    turn = max((attempt.turn for attempt in call.attempts), default=0)
    return [
        attempt
        for attempt in call.attempts
        if attempt.turn == turn
        and attempt.ended is not None
        and attempt.status == _OK
        and not attempt.is_whole
        and attempt.outcome not in {"abandoned", "hung"}
    ]


def _events(attempts: list[Attempt]) -> list[int]:
    return [attempt.ended_seq or attempt.seq for attempt in attempts]
