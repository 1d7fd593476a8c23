"""
The pace of a recorded stream, carried over to the mock's own.

The mock cuts a reply into pieces of its own. So that the replay takes as long, and
stalls where the record did, each of its pieces is given the moment at which its last
character had come.
"""

from bisect import bisect_left
from typing import Any, Final

import orjson

from mock_server.recorder.chat import REFUSAL, TEXT, ChatAnswer, Lane
from mock_server.recorder.recorded import RecordedReply, Timing
from mock_server.wire import (
    Chunk,
    Pace,
    Reply,
    ReplyToolCall,
    StreamForm,
    Usage,
    chunk_plan,
)

_EVENT_START: Final = b"data: "


def spread_evenly(reply: RecordedReply, total_s: float, *, stream: bool) -> Timing:
    """
    Return delays that take so long together, where no more is known of them.
    """
    if not stream or reply.error is not None:
        return Timing(time_to_first_token_s=total_s)
    answer = ChatAnswer(
        text=reply.text, refusal=reply.refusal, tool_calls=reply.tool_calls
    )
    count = len(_pieces_of(answer))
    delay_s = total_s / (count + 1)
    return Timing(time_to_first_token_s=delay_s, inter_token_s=(delay_s,) * count)


def pace_like(
    answer: ChatAnswer,
    *,
    started_s: float,
    pieces: list[tuple[Lane, int]] | None = None,
) -> Timing:
    """
    Return the delays that make the mock's stream of a reply as slow as the record.

    Args:
        answer: What was recorded.
        started_s: When it was asked for.
        pieces: The lane and the length of each further output of the mock's own
            stream; by default that of a chat completion.
    """
    first_s = max(0.0, answer.first_s - started_s)
    if not answer.is_streamed:
        return Timing(time_to_first_token_s=first_s)
    delays = []
    done: dict[Lane, int] = {}
    last_s = answer.first_s
    for lane, length in _pieces_of(answer) if pieces is None else pieces:
        done[lane] = done.get(lane, 0) + length
        at_s = max(last_s, _moment(answer.arrivals.get(lane, []), done[lane], last_s))
        delays.append(at_s - last_s)
        last_s = at_s
    return Timing(time_to_first_token_s=first_s, inter_token_s=tuple(delays))


def _moment(
    arrivals: list[tuple[float, int]], characters: int, otherwise_s: float
) -> float:
    """
    Return when so many characters of a lane had come.
    """
    place = bisect_left(arrivals, characters, key=lambda arrival: arrival[1])
    return arrivals[place][0] if place < len(arrivals) else otherwise_s


def _pieces_of(answer: ChatAnswer) -> list[tuple[Lane, int]]:
    """
    Return the lane and the length of every further output of the mock's stream.
    """
    reply = Reply(
        id="",
        created_s=0,
        model="",
        text=answer.text,
        refusal=answer.refusal,
        tool_calls=tuple(
            ReplyToolCall(call.id, call.name, call.arguments)
            for call in answer.tool_calls
        ),
        usage=Usage(0, 0),
        system_fingerprint="",
    )
    plan = chunk_plan(reply, request_id="", form=StreamForm(include_obfuscation=False))
    return [
        _lane_of(step.data)
        for step in plan
        if isinstance(step, Chunk) and step.pace in {Pace.TOKEN, Pace.ARGUMENT}
    ]


def _lane_of(data: bytes) -> tuple[Lane, int]:
    chunk: Any = orjson.loads(data.removeprefix(_EVENT_START))
    delta = chunk["choices"][0]["delta"]
    for call in delta.get("tool_calls") or ():
        return call["index"], len(call["function"]["arguments"])
    if (refusal := delta.get("refusal")) is not None:
        return REFUSAL, len(refusal)
    return TEXT, len(delta.get("content") or "")
