"""
The JSON inside an answer, whatever carries it: a plain body or the events of a stream.

Both APIs stream JSON objects in ``data:`` lines, one of them with ``event:`` lines too;
an editor here sees the objects and nothing else.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from msgspec.structs import replace

from mock_server.wire import Chunk, End, Head, Part, Plan, Step

Edit = Callable[[dict[str, Any]], None]
"""Changes an object in place."""

_DATA = b"data: "
_EVENT = b"event: "


@dataclass(frozen=True, slots=True)
class SseEvent:
    """
    One event of a stream.
    """

    name: bytes | None
    """What the ``event:`` line says, if there is one."""

    data: bytes

    @property
    def value(self) -> dict[str, Any] | None:
        """
        The object; None if there is none, as in the end marker.
        """
        try:
            value = orjson.loads(self.data)
        except orjson.JSONDecodeError:
            return None
        return value if isinstance(value, dict) else None

    def encode(self) -> bytes:
        """
        Return the event as it stands on the wire.
        """
        start = b"" if self.name is None else _EVENT + self.name + b"\n"
        return start + _DATA + self.data + b"\n\n"


def read_event(data: bytes) -> SseEvent | None:
    """
    Return the event that a chunk holds; None if it is no event of one data line.
    """
    name = None
    rest = data
    if rest.startswith(_EVENT):
        line, _, rest = rest.partition(b"\n")
        name = line.removeprefix(_EVENT)
    if not rest.startswith(_DATA) or not rest.endswith(b"\n\n"):
        return None
    return SseEvent(name, rest[len(_DATA) : -2])


def value_of(step: Step) -> dict[str, Any] | None:
    """
    Return the object that an event of a stream carries.
    """
    if not isinstance(step, Chunk):
        return None
    event = read_event(step.data)
    return None if event is None else event.value


def with_value(chunk: Chunk, value: Mapping[str, Any]) -> Chunk:
    """
    Return the chunk with another object.
    """
    event = read_event(chunk.data)
    name = None if event is None else event.name
    kind = value.get("type")
    if name is not None and isinstance(kind, str):
        name = kind.encode()
    return replace(chunk, data=SseEvent(name, orjson.dumps(value)).encode())


def edit_answer(plan: Plan, edit: Edit, *, stream: bool) -> Plan:
    """
    Return the plan with each of its objects changed.
    """
    if stream:
        return edit_events(plan, lambda _, value: edit(value))
    body = body_of(plan)
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        return plan
    if not isinstance(value, dict):
        return plan
    edit(value)
    return with_body(plan, orjson.dumps(value))


def edit_events(plan: Plan, edit: Callable[[Chunk, dict[str, Any]], None]) -> Plan:
    """
    Return the plan with the object of each event changed.
    """
    return tuple(_edited(step, edit) for step in plan)


def _edited(step: Step, edit: Callable[[Chunk, dict[str, Any]], None]) -> Step:
    value = value_of(step)
    if value is None or not isinstance(step, Chunk):
        return step
    edit(step, value)
    return with_value(step, value)


def body_of(plan: Plan) -> bytes:
    """
    Return all bytes of the body.
    """
    return b"".join(step.data for step in plan if isinstance(step, Chunk))


def with_body(plan: Plan, body: bytes) -> Plan:
    """
    Return a plan with another body, under a length that fits.
    """
    changed: list[Step] = []
    is_sent = False
    for step in plan:
        match step:
            case Head(status=status, headers=headers):
                kept = tuple(h for h in headers if h[0].lower() != "content-length")
                length = ("content-length", str(len(body)))
                changed.append(Head(status, (*kept, length)))
            case Chunk():
                if body and not is_sent:
                    changed.append(replace(step, data=body))
                is_sent = True
            case _:
                changed.append(step)
    return tuple(changed)


def with_headers(
    plan: Plan,
    change: Callable[[tuple[tuple[str, str], ...]], tuple[tuple[str, str], ...]],
) -> Plan:
    """
    Return a plan with other headers.
    """
    return tuple(
        Head(step.status, change(step.headers)) if isinstance(step, Head) else step
        for step in plan
    )


def set_header(plan: Plan, name: str, value: str | None) -> Plan:
    """
    Return a plan in which a header has this value; None leaves it out.
    """

    def change(headers: tuple[tuple[str, str], ...]) -> tuple[tuple[str, str], ...]:
        kept = tuple(h for h in headers if h[0].lower() != name)
        return kept if value is None else (*kept, (name, value))

    return with_headers(plan, change)


def event_places(plan: Plan, *parts: Part) -> list[int]:
    """
    Return where the events of a stream are, of all parts or of these.
    """
    return [
        place
        for place, step in enumerate(plan)
        if isinstance(step, Chunk) and (not parts or step.part in parts)
    ]


def end_place(plan: Plan) -> int:
    """
    Return where the end is, or the place behind the last step.
    """
    for place, step in enumerate(plan):
        if isinstance(step, End):
            return place
    return len(plan)


def numbered(plan: Plan) -> Plan:
    """
    Return the plan with the sequence numbers of its events in their order.
    """
    number = -1

    def edit(_: Chunk, value: dict[str, Any]) -> None:
        nonlocal number
        if "sequence_number" in value:
            number += 1
            value["sequence_number"] = number

    return edit_events(plan, edit)


def calls_in(value: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """
    Yield the pieces of tool calls that an object carries, in any of its choices.
    """
    for message in messages_in(value):
        calls = message.get("tool_calls")
        if isinstance(calls, list):
            yield from (call for call in calls if isinstance(call, dict))


def messages_in(value: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """
    Yield the messages or deltas of an object's choices.
    """
    for choice in choices_in(value):
        message = choice.get("delta", choice.get("message"))
        if isinstance(message, dict):
            yield message


def choices_in(value: Mapping[str, Any]) -> list[dict[str, Any]]:
    """
    Return the choices of an object.
    """
    choices = value.get("choices")
    if not isinstance(choices, list):
        return []
    return [choice for choice in choices if isinstance(choice, dict)]


def items_in(value: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """
    Yield the output items of a response, or of one of its events.
    """
    item = value.get("item")
    if isinstance(item, dict):
        yield item
    response = value.get("response", value)
    output = response.get("output") if isinstance(response, dict) else None
    if isinstance(output, list):
        yield from (item for item in output if isinstance(item, dict))
