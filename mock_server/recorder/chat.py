"""
A chat completion, plain or streamed, put together from what came over the wire.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from mock_server.recorder.events import Piece, events_in
from mock_server.recorder.recorded import RecordedCall, UnreadableError

Lane = str | int
"""Where an output goes: ``text``, ``refusal``, or the index of a tool call."""

TEXT: Final = "text"
REFUSAL: Final = "refusal"

_CALLS_MAX: Final = 128
_DONE: Final = "[DONE]"


@dataclass(slots=True)
class ChatAnswer:
    """
    An answer, and when each part of it came.
    """

    text: str | None = None
    refusal: str | None = None
    tool_calls: tuple[RecordedCall, ...] = ()
    finish_reason: str | None = None
    usage: dict[str, Any] | None = None
    first_s: float = 0.0
    """When the first output came."""

    is_streamed: bool = False
    arrivals: dict[Lane, list[tuple[float, int]]] = field(default_factory=dict)
    """By lane: the moments, and how many characters there were by then."""


def read_plain(body: bytes, at_s: float) -> ChatAnswer:
    """
    Return a plain answer that was there, whole, at that moment.

    Raises:
        UnreadableError: It is no chat completion.
    """
    value = parse_mapping(body)
    choices = value.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    message = first.get("message") if isinstance(first, dict) else None
    if not isinstance(first, dict) or not isinstance(message, dict):
        text = "the answer has no message"
        raise UnreadableError(text)
    calls = message.get("tool_calls")
    return ChatAnswer(
        text=text_of(message.get("content")),
        refusal=text_of(message.get("refusal")),
        tool_calls=tuple(
            _call_of(call)
            for call in (calls if isinstance(calls, list) else ())
            if isinstance(call, dict)
        ),
        finish_reason=text_of(first.get("finish_reason")),
        usage=mapping_of(value.get("usage")),
        first_s=at_s,
    )


def read_stream(pieces: Iterable[Piece]) -> ChatAnswer:
    """
    Return a streamed answer.

    Raises:
        UnreadableError: It broke off, or holds an error.
    """
    assembly = _Assembly()
    for event in events_in(pieces):
        if event.data.startswith(_DONE):
            break
        assembly.take(parse_mapping(event.data.encode()), event.at_s)
    return assembly.finish()


class _Assembly:
    """
    Puts the chunks of a stream together.
    """

    def __init__(self) -> None:
        self._answer = ChatAnswer(is_streamed=True)
        self._texts: dict[Lane, list[str]] = {}
        self._calls: dict[int, dict[str, str]] = {}
        self._is_begun = False

    def take(self, chunk: dict[str, Any], at_s: float) -> None:
        """
        Add a chunk.
        """
        if "error" in chunk:
            message = "the stream ended with an error"
            raise UnreadableError(message)
        answer = self._answer
        answer.usage = mapping_of(chunk.get("usage")) or answer.usage
        for choice in chunk.get("choices") or ():
            # Of several choices a script can repeat one.
            if not isinstance(choice, dict) or choice.get("index", 0) != 0:
                continue
            if not self._is_begun:
                self._is_begun = True
                answer.first_s = at_s
            answer.finish_reason = (
                text_of(choice.get("finish_reason")) or answer.finish_reason
            )
            self._take_delta(mapping_of(choice.get("delta")) or {}, at_s)

    def _take_delta(self, delta: dict[str, Any], at_s: float) -> None:
        self._add(TEXT, delta.get("content"), at_s)
        self._add(REFUSAL, delta.get("refusal"), at_s)
        for call in delta.get("tool_calls") or ():
            if isinstance(call, dict):
                self._take_call(call, at_s)

    def _take_call(self, call: dict[str, Any], at_s: float) -> None:
        index = call.get("index", 0)
        if not isinstance(index, int) or not 0 <= index < _CALLS_MAX:
            message = f"a tool call has the index {index!r}"
            raise UnreadableError(message)
        known = self._calls.setdefault(index, {"id": "", "name": ""})
        known["id"] = known["id"] or text_of(call.get("id")) or ""
        part = mapping_of(call.get("function")) or mapping_of(call.get("custom")) or {}
        known["name"] = known["name"] or text_of(part.get("name")) or ""
        self._add(index, part.get("arguments", part.get("input")) or "", at_s)

    def _add(self, lane: Lane, text: object, at_s: float) -> None:
        if not isinstance(text, str):
            return
        self._texts.setdefault(lane, []).append(text)
        arrivals = self._answer.arrivals.setdefault(lane, [])
        before = arrivals[-1][1] if arrivals else 0
        arrivals.append((at_s, before + len(text)))

    def finish(self) -> ChatAnswer:
        """
        Return the whole answer.
        """
        answer = self._answer
        if answer.finish_reason is None:
            message = "the stream broke off before its finish reason"
            raise UnreadableError(message)
        # A refusal begins with an empty piece, and so may a text that never comes.
        answer.text = self._joined(TEXT)
        answer.refusal = self._joined(REFUSAL) or None
        answer.tool_calls = tuple(
            RecordedCall(
                id=call["id"],
                name=call["name"],
                arguments=self._joined(index) or "",
            )
            for index, call in sorted(self._calls.items())
        )
        if not answer.text and (answer.tool_calls or answer.refusal):
            answer.text = None
        return answer

    def _joined(self, lane: Lane) -> str | None:
        texts = self._texts.get(lane)
        return None if texts is None else "".join(texts)


def parse_mapping(data: bytes) -> dict[str, Any]:
    """
    Return a JSON object.

    Raises:
        UnreadableError: It is none.
    """
    try:
        value = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        message = "the answer is not JSON"
        raise UnreadableError(message) from error
    if not isinstance(value, dict):
        message = "the answer is no JSON object"
        raise UnreadableError(message)
    return value


def _call_of(call: dict[str, Any]) -> RecordedCall:
    part = mapping_of(call.get("function")) or mapping_of(call.get("custom")) or {}
    return RecordedCall(
        id=text_of(call.get("id")) or "",
        name=text_of(part.get("name")) or "",
        arguments=text_of(part.get("arguments", part.get("input"))) or "",
    )


def text_of(value: object) -> str | None:
    """
    Return a value that is a text.
    """
    return value if isinstance(value, str) else None


def mapping_of(value: object) -> dict[str, Any] | None:
    """
    Return a value that is a mapping.
    """
    return value if isinstance(value, dict) else None
