"""
What a reply of the model makes of a run, event by event.

A stream sends the events; a run that is polled goes through the same ones unseen.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from mock_server.surfaces.threads.state import Entry, Run, ThreadMemory, text_content
from mock_server.wire import (
    Chunk,
    End,
    FinishReason,
    Head,
    Pace,
    Part,
    Plan,
    Reply,
    ReplyToolCall,
    Usage,
    answer_headers,
    usage_value,
)
from mock_server.wire.headers import EVENT_STREAM_CONTENT
from mock_server.wire.tokens import cut_arguments, cut_text

_DONE = b"event: done\ndata: [DONE]\n\n"


@dataclass(frozen=True, slots=True)
class RunEvent:
    """
    Something that happened to a run, with what the API shows of it then.
    """

    name: str
    value: dict[str, Any]
    pace: Pace = Pace.NONE
    part: Part = Part.DELTA


def event_plan(events: Sequence[RunEvent], request_id: str) -> Plan:
    """
    Return the events as a stream.
    """
    head = Head(200, (EVENT_STREAM_CONTENT, *answer_headers(request_id)))
    chunks = [
        Chunk(
            b"event: %b\ndata: %b\n\n" % (e.name.encode(), orjson.dumps(e.value)),
            e.pace,
            e.part,
        )
        for e in events
    ]
    return (head, *chunks, Chunk(_DONE, part=Part.DONE), End())


def play_reply(
    run: Run, reply: Reply, memory: ThreadMemory, now_s: int
) -> Iterator[RunEvent]:
    """
    Let a run go through a reply, from being queued to its end or its calls.
    """
    if run.value["started_at"] is None:
        run.value["started_at"] = now_s
    run.enter("in_progress", now_s)
    yield _of_run(run, Pace.FIRST_TOKEN)
    text = reply.refusal if reply.text is None else reply.text
    if text is not None:
        yield from _play_text(run, text, reply, memory, now_s)
    usage = _add_usage(run.value["usage"], reply.usage)
    if reply.finish_reason == FinishReason.LENGTH:
        run.value["usage"] = usage
        run.value["incomplete_details"] = {"reason": "max_completion_tokens"}
        run.enter("incomplete", now_s)
    elif reply.tool_calls:
        yield from _play_calls(run, reply.tool_calls, memory, now_s)
        run.value["usage"] = usage
        run.enter("requires_action", now_s)
    else:
        run.value["usage"] = usage
        run.enter("completed", now_s)
    yield _of_run(run, part=Part.FINISH)


def play_outputs(run: Run, outputs: dict[str, str], now_s: int) -> Iterator[RunEvent]:
    """
    Give a run the outputs of its calls; it is queued again.
    """
    step = run.steps[-1]
    for call in step["step_details"]["tool_calls"]:
        call["function"]["output"] = outputs.get(call["id"])
    step["status"], step["completed_at"] = "completed", now_s
    run.thread.entries += output_entries(outputs)
    run.answered |= outputs.keys()
    run.outputs = {}
    run.value["required_action"] = None
    yield RunEvent("thread.run.step.completed", copy.deepcopy(step))
    run.enter("queued", now_s)
    yield _of_run(run)


def output_entries(outputs: dict[str, str]) -> list[Entry]:
    """
    Return the messages that tell the model what its tools answered.
    """
    return [
        Entry({"role": "tool", "tool_call_id": call_id, "content": output})
        for call_id, output in outputs.items()
    ]


def _play_text(
    run: Run, text: str, reply: Reply, memory: ThreadMemory, now_s: int
) -> Iterator[RunEvent]:
    shown = memory.add_message(run.thread, "assistant", text, now_s=now_s, run=run)
    details = {
        "type": "message_creation",
        "message_creation": {"message_id": shown["id"]},
    }
    step = _open_step(run, details, memory, now_s)
    yield from _of_step_begin(step)
    begun = {**shown, "status": "in_progress", "completed_at": None, "content": []}
    yield RunEvent("thread.message.created", begun)
    yield RunEvent("thread.message.in_progress", begun)
    for number, piece in enumerate(cut_text(text)):
        content: dict[str, Any] = {"index": 0, "type": "text", "text": {"value": piece}}
        if number == 0:
            content["text"]["annotations"] = []
        value = {
            "id": shown["id"],
            "object": "thread.message.delta",
            "delta": {"content": [content]},
        }
        yield RunEvent("thread.message.delta", value, Pace.TOKEN)
    name = "thread.message.completed"
    if reply.finish_reason == FinishReason.LENGTH:
        name = "thread.message.incomplete"
        shown |= {
            "status": "incomplete",
            "completed_at": None,
            "incomplete_at": now_s,
            "incomplete_details": {"reason": "max_tokens"},
        }
    shown["content"] = [text_content(text)]
    yield RunEvent(name, copy.deepcopy(shown))
    step |= {
        "status": "completed",
        "completed_at": now_s,
        "usage": _add_usage(None, reply.usage),
    }
    yield RunEvent("thread.run.step.completed", copy.deepcopy(step))


def _play_calls(
    run: Run, calls: Sequence[ReplyToolCall], memory: ThreadMemory, now_s: int
) -> Iterator[RunEvent]:
    shown = [_call_value(call) for call in calls]
    run.thread.entries.append(
        Entry({"role": "assistant", "content": None, "tool_calls": shown})
    )
    details: dict[str, Any] = {"type": "tool_calls", "tool_calls": []}
    step = _open_step(run, details, memory, now_s)
    yield from _of_step_begin(step)
    for index, call in enumerate(calls):
        named = {"name": call.name, "arguments": "", "output": None}
        start = {"index": index, "id": call.id, "type": "function", "function": named}
        yield _of_call(step, start)
        for piece in cut_arguments(call.arguments):
            more = {
                "index": index,
                "type": "function",
                "function": {"arguments": piece},
            }
            yield _of_call(step, more)
    details["tool_calls"] = [
        {**call, "function": {**call["function"], "output": None}} for call in shown
    ]
    run.value["required_action"] = {
        "type": "submit_tool_outputs",
        "submit_tool_outputs": {"tool_calls": shown},
    }


def _open_step(
    run: Run, details: dict[str, Any], memory: ThreadMemory, now_s: int
) -> dict[str, Any]:
    step = {
        "id": memory.part_id("step_", run.thread),
        "object": "thread.run.step",
        "created_at": now_s,
        "run_id": run.id,
        "assistant_id": run.value["assistant_id"],
        "thread_id": run.thread.id,
        "type": details["type"],
        "status": "in_progress",
        "cancelled_at": None,
        "completed_at": None,
        "expired_at": None,
        "failed_at": None,
        "last_error": None,
        "step_details": details,
        "metadata": {},
        "usage": None,
    }
    run.steps.append(step)
    return step


def _of_step_begin(step: dict[str, Any]) -> Iterator[RunEvent]:
    for name in ("created", "in_progress"):
        yield RunEvent(f"thread.run.step.{name}", copy.deepcopy(step))


def _of_call(step: dict[str, Any], call: dict[str, Any]) -> RunEvent:
    details = {"type": "tool_calls", "tool_calls": [call]}
    value = {
        "id": step["id"],
        "object": "thread.run.step.delta",
        "delta": {"step_details": details},
    }
    return RunEvent("thread.run.step.delta", value, Pace.TOKEN)


def _of_run(run: Run, pace: Pace = Pace.NONE, part: Part = Part.DELTA) -> RunEvent:
    return RunEvent(f"thread.run.{run.status}", copy.deepcopy(run.value), pace, part)


def _call_value(call: ReplyToolCall) -> dict[str, Any]:
    function = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": function}


def _add_usage(before: dict[str, int] | None, usage: Usage) -> dict[str, int]:
    value = usage_value(usage)
    return {
        name: value[name] + (before or {}).get(name, 0)
        for name in ("prompt_tokens", "completion_tokens", "total_tokens")
    }
