"""
What was acknowledged stays, and what was reported once is never reported otherwise.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

from harness.judging.entities import Record
from harness.judging.ruling import Finding, Ruling, finding, rule
from harness.judging.timeline import Timeline
from harness.scenario import Promise

_NOT_FOUND: Final = 404
_SUCCESS: Final = range(200, 300)
_NOT_APPLIED: Final = frozenset(
    {
        "bad_signature",
        "missing_signature",
        "wrong_secret",
        "retired_secret",
        "stale_timestamp",
        "future_timestamp",
        "unknown_call",
    }
)
_ENDINGS: Final = {
    "chat.completed": "answered",
    "chat.failed": "failed",
}


def acknowledged_work_stays(timeline: Timeline, promise: Promise) -> Ruling:
    """
    24: what was acknowledged is there after a restart, and a reported end never changes.
    """
    ends = list(_reported_ends(timeline))
    accepted = [call for call in timeline.calls if call.accepted_us is not None]
    received = list(_acknowledged_results(timeline, promise))
    broken: list[Finding] = []
    for call in accepted:
        ending = call.ending
        if ending is not None and ending.get("status") == _NOT_FOUND:
            message = f"{call.call_id} was accepted, and is not known any more"
            broken.append(finding(message, [call.ended_seq, *timeline_kills(timeline)]))
    broken += _changed_ends(ends)
    broken += _lost_results(timeline, received)
    return rule(
        "24 acknowledged work stays",
        judged=len(accepted) + len(received) + len(ends),
        broken=broken,
        figures={"restarts": len(timeline.of("service_restarted"))},
        nothing="nothing was acknowledged that could change",
    )


def timeline_kills(timeline: Timeline) -> list[int]:
    """
    Return the records of the kills.
    """
    return [int(record["seq"]) for record in timeline.of("service_killed")]


def _reported_ends(timeline: Timeline) -> Iterator[tuple[tuple[str, Any], str, int]]:
    """
    Yield of what an end was reported, which one, and in which record.
    """
    for call in timeline.calls:
        if call.callback_id is None or call.ended_seq is None:
            continue
        if call.outcome in {"answered", "failed"} and _was_told(call.ending or {}):
            yield ("chat", call.callback_id), str(call.outcome), call.ended_seq
    for delivery in timeline.deliveries:
        # A signature that does not verify says nothing; nor does an unsigned body.
        if delivery.record.get("verified") is False:
            continue
        callback_id = delivery.record.get("callback_id")
        tool_call_id = delivery.record.get("tool_call_id")
        kind = delivery.event_type
        if kind in _ENDINGS and callback_id is not None:
            yield ("chat", callback_id), _ENDINGS[kind], delivery.seq
        elif kind.startswith("function_call.") and tool_call_id is not None:
            yield ("tool call", tool_call_id), kind.partition(".")[2], delivery.seq
    for attempt in timeline.attempts:
        for result in attempt.received.get("tool_results") or ():
            told = f"{result.get('content')!r} to the model"
            yield ("result of", result.get("tool_call_id")), told, attempt.seq


def _was_told(ending: Record) -> bool:
    """
    Say whether the service itself told how a chat ended.
    """
    code = ending.get("error_code")
    return ending.get("status") in _SUCCESS and code not in {
        "caller_timeout",
        "bad_callback_state",
        "no_status_url",
    }


def _changed_ends(ends: list[tuple[tuple[str, Any], str, int]]) -> Iterator[Finding]:
    known: dict[tuple[str, Any], tuple[str, int]] = {}
    for key, end, seq in sorted(ends, key=lambda each: each[2]):
        first, first_seq = known.setdefault(key, (end, seq))
        if first != end:
            what, id_ = key
            message = f"{what} {id_} was reported as {first}, and then as {end}"
            yield finding(message, [seq, first_seq])


def _acknowledged_results(timeline: Timeline, promise: Promise) -> Iterator[Record]:
    """
    Yield the results of deferred tools that the service acknowledged in time.
    """
    tools = promise.tools
    pending_s = None if tools is None else tools.pending_timeout
    total_s = promise.upstream.total_timeout if promise.upstream else None
    by_trace = {call.trace_id: call for call in timeline.calls}
    asked_us = {
        each.tool_call_id: each.time_us - int(each.record.get("actual_us") or 0)
        for each in reversed(timeline.executions)
    }
    for record in timeline.of("webhook_emitted"):
        tool_call_id = record.get("tool_call_id")
        call = by_trace.get(record.get("trace_id"))
        if tool_call_id not in asked_us or call is None or call.started_us is None:
            continue
        is_good = record.get("status") in _SUCCESS
        if not is_good or _NOT_APPLIED.intersection(record.get("faults") or ()):
            continue
        time_us = int(record["time_us"])
        ends_us = [
            from_us + timeline.slack.at_least_us(length_s)
            for from_us, length_s in (
                (asked_us[tool_call_id], pending_s),
                (call.started_us, total_s),
            )
            if length_s is not None
        ]
        if pending_s is not None and time_us < min(ends_us):
            yield record


def _lost_results(timeline: Timeline, received: list[Record]) -> Iterator[Finding]:
    """
    Yield the acknowledged results that were not there when their time was over.
    """
    expired: dict[str, list[Record]] = defaultdict(list)
    for record in timeline.of("pending_call_expired"):
        expired[str(record["tool_call_id"])].append(record)
    for delivery in timeline.deliveries:
        if delivery.event_type == "function_call.failed":
            expired[str(delivery.record.get("tool_call_id"))].append(delivery.record)
    seen: set[str] = set()
    for record in received:
        tool_call_id = str(record["tool_call_id"])
        if record.get("event_type") != "function_call.completed":
            seen.add(tool_call_id)
        after = [each for each in expired[tool_call_id] if each["seq"] > record["seq"]]
        if after and tool_call_id not in seen:
            seen.add(tool_call_id)
            message = (
                f"the result of {tool_call_id} was acknowledged, and the call ended "
                "without it"
            )
            yield finding(message, [int(after[0]["seq"]), int(record["seq"])])
