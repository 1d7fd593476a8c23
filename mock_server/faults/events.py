"""
Faults of a stream: events that are missing, too many, or in the wrong order.
"""

from typing import Any, ClassVar, Literal

import orjson
from msgspec.structs import replace
from pydantic import Field

from mock_server.faults.api_errors import server_error
from mock_server.faults.fault import Fault, FaultContext, Target
from mock_server.faults.sse import (
    SseEvent,
    body_of,
    end_place,
    event_places,
    numbered,
    set_header,
    value_of,
    with_body,
    with_value,
)
from mock_server.units import Duration
from mock_server.wire import Chunk, End, Pace, Part, Plan, Repeat, Step, Wait

_ONE_BODY = "a plain answer is one body, not events"
_COMMENT = b": keep-alive\n\n"


class StreamFault(Fault):
    """
    Base of the faults that need events.
    """

    targets: ClassVar[frozenset[Target]] = frozenset({Target.UPSTREAM})
    streams_only: ClassVar[str] = _ONE_BODY
    breaks_answer: ClassVar[bool] = True


class MissingDone(StreamFault):
    """
    Ends without the end marker: ``[DONE]``, or the last event where there is none.
    """

    name: ClassVar[str] = "missing_done"

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the stream without its last event.
        """
        del context
        places = event_places(plan, Part.DONE) or event_places(plan)[-1:]
        return tuple(step for place, step in enumerate(plan) if place not in places)


class DoneWithoutFinish(StreamFault):
    """
    Sends the end marker and never said why the model stopped.
    """

    name: ClassVar[str] = "done_without_finish"

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the stream without its finish.
        """
        del context
        return tuple(
            step
            for step in plan
            if not (isinstance(step, Chunk) and step.part is Part.FINISH)
        )


class StallWithComments(Fault):
    """
    Stops in the middle and keeps the connection alive with nothing but comments.
    """

    name: ClassVar[str] = "stall_with_comments"
    targets: ClassVar[frozenset[Target]] = frozenset({Target.UPSTREAM})
    plain: ClassVar[str] = "the headers, then one blank at a time, then the body"

    after_events: int = Field(default=1, ge=0)
    """How many events of a stream come before."""

    duration: Duration | None = 30.0
    """How long nothing else comes; null is for ever."""

    interval: Duration = Field(default=5.0, gt=0)
    """The time before each comment."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the plan with the comments in it.
        """
        data = _COMMENT if context.stream else b" "
        pause: tuple[Step, ...]
        if self.duration is None:
            pause = (Repeat(data, self.interval),)
        else:
            beats, rest_s = divmod(self.duration, self.interval)
            pause = (Wait(self.interval), Chunk(data)) * int(beats)
            pause = (*pause, Wait(rest_s)) if rest_s else pause
        if not context.stream:
            # Blanks before JSON are JSON; the length is no longer known.
            plan = set_header(plan, "content-length", None)
        events = event_places(plan)
        before = self.after_events if context.stream else 0
        place = events[before] if before < len(events) else end_place(plan)
        return (*plan[:place], *pause, *plan[place:])


class ErrorEvent(StreamFault):
    """
    Sends an error in the middle of the stream, as the API does when it fails late.
    """

    name: ClassVar[str] = "error_event"
    streams_only: ClassVar[str] = f"{_ONE_BODY}; error_in_200 is its twin"

    after_events: int = Field(default=2, ge=0)
    """How many events come before."""

    form: Literal["nested", "flat", "failed_only"] = "nested"
    """Of the responses API: how the error is written, and which events come."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the stream up to the error.
        """
        del context
        places = event_places(plan)
        before = places[: self.after_events]
        events = [value for place in places if (value := value_of(plan[place]))]
        is_named = any(
            isinstance(step, Chunk) and step.data.startswith(b"event: ")
            for step in plan
        )
        head = plan[: places[0]] if places else plan
        kept = plan[len(head) : before[-1] + 1] if before else ()
        if not is_named:
            data = orjson.dumps({"error": server_error()})
            return (*head, *kept, Chunk(SseEvent(None, data).encode()), End())
        number = len(before)
        failure = _failed_events(events, number, self.form)
        return (*head, *kept, *failure, End())


def _failed_events(
    events: list[dict[str, Any]], number: int, form: str
) -> tuple[Chunk, ...]:
    """
    Return the events with which a response fails.
    """
    chunks: tuple[Chunk, ...] = ()
    error = server_error()
    if form != "failed_only":
        said = {"error": error} if form == "nested" else error
        value = {**said, "type": "error", "sequence_number": number}
        chunks = (Chunk(SseEvent(b"error", orjson.dumps(value)).encode()),)
        number += 1
    responses = [event["response"] for event in events if "response" in event]
    if responses and isinstance(responses[0], dict):
        response = {
            **responses[0],
            "status": "failed",
            "error": {"code": error["code"], "message": error["message"]},
        }
        value = {
            "type": "response.failed",
            "response": response,
            "sequence_number": number,
        }
        data = orjson.dumps(value)
        chunks = (*chunks, Chunk(SseEvent(b"response.failed", data).encode()))
    return chunks


class _NthEvent(StreamFault):
    """
    Base of the faults of one event.
    """

    event: int = Field(default=3, ge=1)
    """Which event, from 1; the last one that it can be if there are fewer."""

    def place(self, plan: Plan, *, last: int = 0) -> int | None:
        """
        Return where the event is, the end marker and as many before it excepted.
        """
        places = [
            place for place in event_places(plan) if value_of(plan[place]) is not None
        ]
        if len(places) <= last:
            return None
        return places[min(self.event, len(places) - last) - 1]


class DuplicateEvent(_NthEvent):
    """
    Sends one event twice, byte for byte.
    """

    name: ClassVar[str] = "duplicate_event"

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the stream with the event twice.
        """
        del context
        place = self.place(plan)
        if place is None:
            return plan
        return (*plan[: place + 1], *plan[place:])


class DropEvent(_NthEvent):
    """
    Leaves one event out.
    """

    name: ClassVar[str] = "drop_event"

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the stream without the event.
        """
        del context
        place = self.place(plan)
        return plan if place is None else (*plan[:place], *plan[place + 1 :])


class ReorderEvents(_NthEvent):
    """
    Sends an event after the one that follows it.
    """

    name: ClassVar[str] = "reorder_events"

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the stream with the two exchanged.
        """
        del context
        place = self.place(plan, last=1)
        if place is None:
            return plan
        following = next(p for p in event_places(plan) if p > place)
        changed = list(plan)
        changed[place], changed[following] = changed[following], changed[place]
        return tuple(changed)


class GiantEvent(Fault):
    """
    Sends one event that is far larger than a reader's buffer.
    """

    name: ClassVar[str] = "giant_event"
    targets: ClassVar[frozenset[Target]] = frozenset({Target.UPSTREAM})
    plain: ClassVar[str] = "the whole body is so large"

    event: int = Field(default=2, ge=1)
    """Which event of a stream, from 1."""

    padding_bytes: int = Field(default=2_000_000, ge=1, le=100_000_000)
    """By how much it is too large; a key of its own holds them."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the answer with the padding in it.
        """
        padding = b'"padding":"' + b"x" * self.padding_bytes + b'",'
        if not context.stream:
            body = body_of(plan)
            return with_body(plan, body.replace(b"{", b"{" + padding, 1))
        places = [p for p in event_places(plan) if value_of(plan[p]) is not None]
        if not places:
            return plan
        place = places[min(self.event, len(places)) - 1]
        step = plan[place]
        if not isinstance(step, Chunk):
            return plan
        large = replace(step, data=step.data.replace(b"{", b"{" + padding, 1))
        return (*plan[:place], large, *plan[place + 1 :])


class EmptyDeltas(StreamFault):
    """
    Sends thousands of events that add nothing, before the first that does.
    """

    name: ClassVar[str] = "empty_deltas"
    breaks_answer: ClassVar[bool] = False

    deltas: int = Field(default=5000, ge=1, le=100_000)
    """How many."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the stream with the empty events in it.
        """
        del context
        places = event_places(plan, Part.DELTA)
        if not places:
            return plan
        place = places[0]
        step, value = plan[place], value_of(plan[place])
        if value is None or not isinstance(step, Chunk):
            return plan
        for choice in value.get("choices", ()):
            choice["delta"] = {}
        if isinstance(value.get("delta"), str):
            value["delta"] = ""
        empty = replace(with_value(step, value), pace=Pace.NONE)
        filled = (*plan[:place], *(empty,) * self.deltas, *plan[place:])
        return numbered(filled) if "sequence_number" in value else filled
