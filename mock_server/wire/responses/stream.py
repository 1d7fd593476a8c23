"""
A response as a stream of events.

Every event has a number, counted from 0. An item keeps its id, its type and its place
from its first event to its last, and the response its id: clients check that.
"""

from collections.abc import Iterator
from typing import Any, Final

from mock_server.encoding import to_json_bytes
from mock_server.wire.errors import ApiError, FailureForm, error_value
from mock_server.wire.headers import EVENT_STREAM_CONTENT, answer_headers
from mock_server.wire.logprobs import logprobs_value
from mock_server.wire.plan import Chunk, End, Head, Pace, Part, Plan
from mock_server.wire.responses.request import Item, ResponsesRequest
from mock_server.wire.responses.response import Response, Status
from mock_server.wire.tokens import cut_arguments, cut_text, cut_tokens

_OBFUSCATION: Final = "tR8mZx2LqW5vYc0NdKs7HbJf4GpUa9ExTi6MoCw1SyVkDlQnBh3PzXrFg"
_OBFUSCATED_LENGTH: Final = 16
"""The obfuscation hides the length of a piece by filling it up to a multiple."""

Fields = dict[str, Any]


def response_events(response: Response) -> tuple[Chunk, ...]:
    """
    Return all events of a response, in their order.
    """
    return tuple(_Encoder(response.request).encode(response))


def stream_plan(events: tuple[Chunk, ...], request_id: str) -> Plan:
    """
    Return an answer that is these events; there is no end marker.
    """
    return (stream_head(request_id), *events, End())


def stream_head(request_id: str) -> Head:
    """
    Return the head of a stream.
    """
    return Head(200, (EVENT_STREAM_CONTENT, *answer_headers(request_id)))


class _Encoder:
    """
    Encodes the events of one stream and numbers them.
    """

    def __init__(self, request: ResponsesRequest) -> None:
        self._obfuscates = request.obfuscates
        self._top_logprobs = request.top_logprobs
        self._number = 0
        self._has_output = False

    def encode(self, response: Response) -> Iterator[Chunk]:
        is_background = response.request.is_background
        first = Status.QUEUED if is_background else Status.IN_PROGRESS
        yield self._lifecycle("created", response, first, Part.START)
        if is_background:
            yield self._lifecycle("queued", response, first, Part.START)
        yield self._lifecycle(
            "in_progress", response, Status.IN_PROGRESS, Part.START, pace=Pace.NONE
        )
        if response.error is not None:
            yield from self._failure(response, response.error)
            return
        for index, item in enumerate(response.output):
            yield from self._item(index, item)
        final = response.final_status
        yield self._lifecycle(final, response, final, Part.FINISH)

    def _lifecycle(
        self,
        name: str,
        response: Response,
        status: Status,
        part: Part,
        *,
        pace: Pace = Pace.NONE,
    ) -> Chunk:
        return self._event(
            f"response.{name}", {"response": response.value(status)}, part, pace=pace
        )

    def _failure(self, response: Response, error: ApiError) -> Iterator[Chunk]:
        form = error.failure or FailureForm.NESTED
        told: Fields = error_value(error)
        if form is FailureForm.FLAT:
            told = {
                "code": error.code,
                "message": error.message,
                "param": error.param,
            }
        pace = Pace.FIRST_TOKEN
        if form is not FailureForm.FAILED_ONLY:
            yield self._event("error", told, Part.FINISH, pace=pace)
            pace = Pace.NONE
        if form is not FailureForm.ERROR_ONLY:
            yield self._lifecycle(
                "failed", response, Status.FAILED, Part.FINISH, pace=pace
            )

    def _item(self, index: int, item: Item) -> Iterator[Chunk]:
        place = {"item_id": item["id"], "output_index": index}
        begun = {**item, "status": "in_progress"} if "status" in item else {**item}
        match item["type"]:
            case "message":
                begun["content"] = []
                yield self._added(index, begun)
                for number, part in enumerate(item["content"]):
                    yield from self._content({**place, "content_index": number}, part)
            case "reasoning":
                begun["summary"] = []
                yield self._added(index, begun)
                for number, part in enumerate(item["summary"]):
                    yield from self._summary({**place, "summary_index": number}, part)
            case "custom_tool_call":
                begun["input"] = ""
                yield self._added(index, begun)
                name = "response.custom_tool_call_input"
                yield from self._call(name, "input", place, item["input"])
            case _:
                begun["arguments"] = ""
                yield self._added(index, begun)
                name = "response.function_call_arguments"
                yield from self._call(name, "arguments", place, item["arguments"])
        fields = {"output_index": index, "item": item}
        yield self._event("response.output_item.done", fields, Part.FRAME)

    def _added(self, index: int, item: Item) -> Chunk:
        pace = Pace.NONE if self._has_output else Pace.FIRST_TOKEN
        self._has_output = True
        fields = {"output_index": index, "item": item}
        return self._event("response.output_item.added", fields, Part.FRAME, pace=pace)

    def _content(self, place: Fields, part: Item) -> Iterator[Chunk]:
        is_text = part["type"] == "output_text"
        key = "text" if is_text else "refusal"
        name = "response.output_text" if is_text else "response.refusal"
        begun = {**part, key: "", **({"logprobs": []} if is_text else {})}
        fields = {**place, "part": begun}
        yield self._event("response.content_part.added", fields, Part.FRAME)
        top = self._top_logprobs if is_text else None
        for piece in cut_text(part[key]) if top is None else cut_tokens(part[key]):
            logprobs = [] if top is None else logprobs_value(piece, top)
            more = {"logprobs": logprobs} if is_text else {}
            yield self._delta(f"{name}.delta", place, piece, more)
        more = {"logprobs": part["logprobs"]} if is_text else {}
        fields = {**place, key: part[key], **more}
        yield self._event(f"{name}.done", fields, Part.FRAME)
        fields = {**place, "part": part}
        yield self._event("response.content_part.done", fields, Part.FRAME)

    def _summary(self, place: Fields, part: Item) -> Iterator[Chunk]:
        name = "response.reasoning_summary"
        fields = {**place, "part": {**part, "text": ""}}
        yield self._event(f"{name}_part.added", fields, Part.FRAME)
        for piece in cut_text(part["text"]):
            yield self._delta(f"{name}_text.delta", place, piece, {})
        fields = {**place, "text": part["text"]}
        yield self._event(f"{name}_text.done", fields, Part.FRAME)
        yield self._event(f"{name}_part.done", {**place, "part": part}, Part.FRAME)

    def _call(self, name: str, key: str, place: Fields, text: str) -> Iterator[Chunk]:
        for piece in cut_arguments(text):
            yield self._delta(f"{name}.delta", place, piece, {}, Pace.ARGUMENT)
        yield self._event(f"{name}.done", {**place, key: text}, Part.FRAME)

    def _delta(
        self,
        name: str,
        place: Fields,
        piece: str,
        more: Fields,
        pace: Pace = Pace.TOKEN,
    ) -> Chunk:
        fields = {**place, "delta": piece, **more}
        if self._obfuscates:
            wanted = _OBFUSCATED_LENGTH - len(piece) % _OBFUSCATED_LENGTH
            start = self._number * 7 % (len(_OBFUSCATION) - _OBFUSCATED_LENGTH)
            fields["obfuscation"] = _OBFUSCATION[start : start + wanted]
        return self._event(name, fields, Part.DELTA, pace=pace)

    def _event(
        self, name: str, fields: Fields, part: Part, *, pace: Pace = Pace.NONE
    ) -> Chunk:
        value = {"type": name, "sequence_number": self._number, **fields}
        self._number += 1
        data = b"event: %b\ndata: %b\n\n" % (name.encode(), to_json_bytes(value))
        return Chunk(data, pace, part)
