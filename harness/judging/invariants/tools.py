"""
Tools run once, and each call of the model is answered once.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from harness.judging.entities import Attempt, Call, Execution, Record, is_json_object
from harness.judging.ruling import Finding, Ruling, finding, rule
from harness.judging.timeline import Timeline
from harness.scenario import Promise


def one_effect_per_tool_call(timeline: Timeline, promise: Promise) -> Ruling:
    """
    10: at most one effect per tool call, and none that was not asked for in earnest.

    A service that was killed cannot know whether a tool has run, and may not run it
    again to find out: neither under the same key nor under another one.
    """
    del promise
    asked: dict[str, tuple[Record, Attempt]] = {
        str(tool_call.get("tool_call_id")): (tool_call, attempt)
        for attempt in timeline.attempts
        for tool_call in attempt.tool_calls
    }
    runs: dict[str, list[Execution]] = defaultdict(list)
    broken: list[Finding] = []
    unknown = 0
    for execution in timeline.executions:
        id_ = execution.tool_call_id
        if id_ is None:
            unknown += 1
            continue
        runs[id_].append(execution)
        if len(runs[id_]) > 1:
            events = [execution.seq, *(each.seq for each in runs[id_])]
            message = f"{execution.tool} ran {len(runs[id_])} times for {id_}"
            broken.append(finding(message, events))
        if id_ in asked and not is_json_object(asked[id_][0].get("arguments")):
            attempt = asked[id_][1]
            message = f"{execution.tool} ran with arguments that are no JSON object"
            broken.append(finding(message, [execution.seq, attempt.ended_seq]))
        elif id_ in asked and not _is_offered(*asked[id_]):
            attempt = asked[id_][1]
            message = f"{execution.tool} ran for a call of a tool that was not offered"
            broken.append(finding(message, [execution.seq, attempt.ended_seq]))
    broken += _under_other_keys(timeline)
    return rule(
        "10 one effect per tool call",
        judged=sum(map(len, runs.values())),
        broken=broken,
        figures={"without_key": unknown},
        nothing="no tool ran under a key",
    )


def _is_offered(tool_call: Record, attempt: Attempt) -> bool:
    offered = attempt.received.get("offered_tools")
    return not offered or tool_call.get("name") in offered


def _under_other_keys(timeline: Timeline) -> Iterator[Finding]:
    """
    Yield what ran under more keys than the model had asked for it.
    """
    for call in timeline.calls:
        asked = Counter(
            (str(tool_call.get("name")), _canonical(tool_call.get("arguments")))
            for attempt in call.attempts
            for tool_call in attempt.tool_calls
        )
        ran: dict[tuple[str, str], dict[str, Execution]] = defaultdict(dict)
        for execution in call.executions:
            if execution.tool_call_id is None:
                continue
            what = execution.tool, _canonical(execution.record.get("arguments"))
            keys = ran[what]
            is_first = execution.tool_call_id not in keys
            keys.setdefault(execution.tool_call_id, execution)
            if is_first and 0 < asked[what] < len(keys):
                message = (
                    f"{execution.tool} ran under {len(keys)} keys in {call.call_id}, "
                    f"and was asked for {asked[what]} times"
                )
                others = [each.seq for each in keys.values()]
                yield finding(message, [execution.seq, *others])


def _canonical(arguments: Any) -> str:
    """
    Return arguments in a form in which equal ones are equal.
    """
    try:
        values = json.loads(arguments) if isinstance(arguments, str) else arguments
        return json.dumps(values, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return str(arguments)


def every_tool_call_is_answered(timeline: Timeline, promise: Promise) -> Ruling:
    """
    11: the next request carries exactly one result per tool call, in order.
    """
    del promise
    judged = 0
    broken: list[Finding] = []
    for call in timeline.calls:
        for asking, answering in _turns(call):
            asked = [str(each.get("tool_call_id")) for each in asking.tool_calls]
            if len(set(asked)) < len(asked):
                # Ids that a fault doubled cannot be answered one by one.
                continue
            judged += 1
            results = [
                str(each.get("tool_call_id"))
                for each in answering.received.get("tool_results") or ()
            ]
            counts = Counter(results)
            wrong = [id_ for id_ in asked if counts[id_] != 1]
            in_order = [id_ for id_ in results if id_ in asked]
            if wrong:
                message = (
                    f"tool call {wrong[0]} has {counts[wrong[0]]} results in the "
                    f"next request {answering.request_id}"
                )
                broken.append(finding(message, [answering.seq, asking.ended_seq]))
            elif in_order != asked:
                message = f"request {answering.request_id} has its results out of order"
                broken.append(finding(message, [answering.seq, asking.ended_seq]))
    return rule(
        "11 every tool call is answered once",
        judged=judged,
        broken=broken,
        nothing="no tool call was followed by another request",
    )


def _turns(call: Call) -> list[tuple[Attempt, Attempt]]:
    """
    Return each answer with tool calls and the first request of the next turn.
    """
    pairs = []
    for asking in call.attempts:
        if not asking.is_whole or not asking.tool_calls:
            continue
        following = [
            other
            for other in call.attempts
            if other.received_us >= (asking.ended_us or 0)
            and (
                other.turn == asking.turn + 1
                # A request that the model API found malformed has no turn. What a
                # fault made of the calls may be impossible to answer.
                or (other.received.get("turn") == 0 and not asking.faults)
            )
        ]
        if not following or asking.is_ambiguous:
            continue
        # An answer that the service lost, to a crash or a timeout, was asked for again.
        was_replaced = any(
            other.turn == asking.turn
            and other is not asking
            and asking.received_us < other.received_us < following[0].received_us
            for other in call.attempts
        )
        if not was_replaced:
            pairs.append((asking, following[0]))
    return pairs
