"""
The bytes of an exchange become what a script can repeat.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from mock_server.recorder.chat import ChatAnswer, read_plain, read_stream
from mock_server.recorder.events import Piece
from mock_server.recorder.recorded import (
    Asked,
    Recorded,
    RecordedError,
    RecordedReply,
    Timing,
    UnreadableError,
)
from mock_server.recorder.timing import pace_like
from mock_server.script import DrawnCall, DrawnReply, Seen, finish_reason_of
from mock_server.script import name_conversation as name_of_conversation
from mock_server.wire import ApiError, ChatRequest, parse_chat_request

_FIRST_ERROR: Final = 400
_RETRY_HEADERS: Final = ("retry-after", "retry-after-ms", "x-should-retry")
_TOOL_ENDS: Final = frozenset({"tool", "function"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """
    An exchange as it went over the wire.
    """

    path: str
    """Without a leading ``/v1``."""

    request_headers: Mapping[str, str]
    request_body: bytes
    trace_id: str | None
    started_s: float
    """When the request was passed on."""

    status: int
    headers: Mapping[str, str]
    pieces: tuple[Piece, ...]
    """The body, as it came."""

    @property
    def body(self) -> bytes:
        """
        The whole body.
        """
        return b"".join(piece for _, piece in self.pieces)

    @property
    def ended_s(self) -> float:
        """
        When the last piece came.
        """
        return self.pieces[-1][0] if self.pieces else self.started_s


def read_chat(taken: Taken) -> Recorded:
    """
    Return what a script can repeat of a chat completion.

    Raises:
        UnreadableError: Nothing can be repeated.
    """
    try:
        chat = parse_chat_request(taken.request_body, strict=False)
    except ApiError as error:
        message = f"the request cannot be read: {error}"
        raise UnreadableError(message) from error
    seen = Seen(chat, taken.request_headers)
    asked = asked_of(seen, name_of_conversation(seen, taken.trace_id).key)
    if is_error(taken):
        total_s = taken.ended_s - taken.started_s
        return Recorded(
            asked=asked,
            reply=error_of(taken),
            timing=Timing(time_to_first_token_s=total_s),
        )
    if is_stream(taken):
        answer = read_stream(taken.pieces)
    else:
        answer = read_plain(taken.body, taken.ended_s)
    return Recorded(
        asked=asked,
        reply=reply_of(answer, chat),
        timing=pace_like(answer, started_s=taken.started_s),
    )


def is_error(taken: Taken) -> bool:
    """
    Say whether the API refused.
    """
    return taken.status >= _FIRST_ERROR


def is_stream(taken: Taken) -> bool:
    """
    Say whether the answer is a stream.
    """
    return "text/event-stream" in taken.headers.get("content-type", "")


def asked_of(seen: Seen, conversation: str) -> Asked:
    """
    Return the question.
    """
    systems = [m.text for m in seen.messages if m.role in {"system", "developer"}]
    return Asked(
        conversation=conversation,
        model=seen.model,
        turn=seen.turn,
        last_role=seen.last.role,
        last_text=seen.last.text,
        user_texts=tuple(m.text for m in seen.messages if m.role == "user"),
        system_text=systems[0] if systems else None,
        tools=seen.tools,
        stream=seen.stream,
    )


def reply_of(answer: ChatAnswer, chat: ChatRequest) -> RecordedReply:
    """
    Return what a script says to give the same answer.
    """
    calls = answer.tool_calls
    text = answer.text
    if text is None and not calls and answer.refusal is None:
        text = ""
    drawn = DrawnReply(
        text=text,
        tool_calls=tuple(DrawnCall(c.name, c.arguments, c.id) for c in calls),
        refusal=answer.refusal,
    )
    implied = finish_reason_of(drawn, chat)
    usage = answer.usage or {}
    return RecordedReply(
        text=text,
        tool_calls=calls,
        refusal=answer.refusal,
        finish_reason=None if answer.finish_reason == implied else answer.finish_reason,
        prompt_tokens=_count(usage.get("prompt_tokens")),
        completion_tokens=_count(usage.get("completion_tokens")),
    )


def error_of(taken: Taken) -> RecordedReply:
    """
    Return a refusal.
    """
    return RecordedReply(error=_error(taken))


def _error(taken: Taken) -> RecordedError:
    headers = tuple(
        (name, taken.headers[name]) for name in _RETRY_HEADERS if name in taken.headers
    )
    try:
        value: Any = orjson.loads(taken.body)
    except orjson.JSONDecodeError:
        return RecordedError(status=taken.status, headers=headers)
    error = value.get("error") if isinstance(value, dict) else None
    if not isinstance(error, dict):
        return RecordedError(status=taken.status, headers=headers)
    return RecordedError(
        status=taken.status,
        message=_text(error.get("message")),
        type=_text(error.get("type")),
        param=_text(error.get("param")),
        code=_text(error.get("code")),
        headers=headers,
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _count(value: object) -> int | None:
    is_count = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    return value if is_count and isinstance(value, int) else None
