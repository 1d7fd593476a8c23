"""
A response of the Responses API becomes what a script can repeat.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from mock_server.limits import BoundedDict
from mock_server.recorder.chat import (
    REFUSAL,
    TEXT,
    ChatAnswer,
    Lane,
    mapping_of,
    parse_mapping,
    text_of,
)
from mock_server.recorder.events import events_in
from mock_server.recorder.reading import (
    Taken,
    asked_of,
    error_of,
    is_error,
    is_stream,
    reply_of,
)
from mock_server.recorder.recorded import (
    Recorded,
    RecordedCall,
    Timing,
    UnreadableError,
)
from mock_server.recorder.timing import pace_like
from mock_server.script import ConversationName, Seen, name_conversation
from mock_server.wire import ApiError
from mock_server.wire.responses import Item, chat_of, kind_of, parse_responses_request
from mock_server.wire.tokens import cut_arguments, cut_text

CHAINS_MAX: Final = 4096
"""Responses that another one may continue; the oldest are forgotten."""

_CALLS: Final[Mapping[str, str]] = {
    "function_call": "arguments",
    "custom_tool_call": "input",
}
_FINISH_REASONS: Final[Mapping[str | None, str]] = {
    "max_output_tokens": "length",
    "content_filter": "content_filter",
}
_FINAL: Final = frozenset({"response.completed", "response.incomplete"})
_FAILED: Final = frozenset({"response.failed", "error"})


@dataclass(frozen=True, slots=True)
class _Chain:
    items: tuple[Item, ...]
    name: ConversationName


@dataclass(slots=True)
class ResponsesReader:
    """
    Reads responses, and remembers what the next one may continue.
    """

    _chains: BoundedDict[str, _Chain] = field(
        default_factory=lambda: BoundedDict(CHAINS_MAX)
    )

    def read(self, taken: Taken) -> Recorded:
        """
        Return what a script can repeat of a response.

        Raises:
            UnreadableError: Nothing can be repeated.
        """
        try:
            request = parse_responses_request(taken.request_body, strict=False)
        except ApiError as error:
            message = f"the request cannot be read: {error}"
            raise UnreadableError(message) from error
        if request.is_background or request.conversation_id is not None:
            message = "background responses and stored conversations are only passed on"
            raise UnreadableError(message)
        before = self._continued(request.previous_response_id)
        items = (*(before.items if before else ()), *request.items)
        if any(kind_of(item) == "item_reference" for item in items):
            message = "it refers to an item that was not recorded"
            raise UnreadableError(message)
        chat = chat_of(request, items)
        seen = Seen(chat, taken.request_headers)
        name = name_conversation(seen, taken.trace_id)
        if before is not None and taken.trace_id is None:
            name = before.name
        asked = asked_of(seen, name.key)
        if is_error(taken):
            total_s = taken.ended_s - taken.started_s
            timing = Timing(time_to_first_token_s=total_s)
            return Recorded(asked=asked, reply=error_of(taken), timing=timing)
        value, answer = _read_answer(taken)
        output = value.get("output")
        said = [item for item in output if isinstance(item, dict)] if output else []
        self._chains.put(str(value.get("id")), _Chain((*items, *said), name))
        return Recorded(
            asked=asked,
            reply=reply_of(answer, chat),
            timing=pace_like(
                answer, started_s=taken.started_s, pieces=_pieces_of(answer)
            ),
        )

    def _continued(self, response_id: str | None) -> _Chain | None:
        if response_id is None:
            return None
        chain = self._chains.get(response_id)
        if chain is None:
            message = "it continues a response that was not recorded"
            raise UnreadableError(message)
        return chain


def _read_answer(taken: Taken) -> tuple[dict[str, Any], ChatAnswer]:
    if not is_stream(taken):
        value = parse_mapping(taken.body)
        answer = _answer_of(value)
        answer.first_s = taken.ended_s
        return value, answer
    final: dict[str, Any] | None = None
    arrivals: dict[Lane, list[tuple[float, int]]] = {}
    calls: dict[int, int] = {}
    first_s: float | None = None
    for event in events_in(taken.pieces):
        data = parse_mapping(event.data.encode())
        kind = str(data.get("type"))
        if kind in _FAILED:
            message = "the stream ended with an error"
            raise UnreadableError(message)
        if kind in _FINAL:
            final = mapping_of(data.get("response"))
        elif kind == "response.output_item.added":
            first_s = event.at_s if first_s is None else first_s
            if (mapping_of(data.get("item")) or {}).get("type") in _CALLS:
                calls[data.get("output_index", 0)] = len(calls)
        elif kind.endswith(".delta"):
            lane = _lane_of(kind, data, calls)
            if lane is not None:
                so_far = arrivals.setdefault(lane, [])
                before = so_far[-1][1] if so_far else 0
                so_far.append((event.at_s, before + len(str(data.get("delta")))))
    if final is None:
        message = "the stream broke off before its end"
        raise UnreadableError(message)
    answer = _answer_of(final)
    answer.is_streamed = True
    answer.arrivals = arrivals
    answer.first_s = taken.ended_s if first_s is None else first_s
    return final, answer


def _lane_of(
    kind: str, data: Mapping[str, Any], calls: Mapping[int, int]
) -> Lane | None:
    match kind:
        case "response.output_text.delta":
            return TEXT
        case "response.refusal.delta":
            return REFUSAL
        case (
            "response.function_call_arguments.delta"
            | "response.custom_tool_call_input.delta"
        ):
            return calls.get(data.get("output_index", 0))
        case _:
            return None


def _answer_of(value: Mapping[str, Any]) -> ChatAnswer:
    """
    Return the answer that a finished response holds.

    Raises:
        UnreadableError: It is not finished.
    """
    status = value.get("status")
    output = value.get("output")
    if status not in {"completed", "incomplete"} or not isinstance(output, list):
        message = f"the response is {status}"
        raise UnreadableError(message)
    texts: dict[str, list[str]] = {"output_text": [], "refusal": []}
    calls = []
    for item in output:
        kind = str(item.get("type")) if isinstance(item, dict) else ""
        if kind in _CALLS:
            calls.append(
                RecordedCall(
                    id=text_of(item.get("call_id")) or "",
                    name=text_of(item.get("name")) or "",
                    arguments=text_of(item.get(_CALLS[kind])) or "",
                )
            )
        elif kind == "message":
            for part in item.get("content") or ():
                text = part.get("text", part.get("refusal"))
                texts.setdefault(str(part.get("type")), []).append(text_of(text) or "")
    details = mapping_of(value.get("incomplete_details")) or {}
    usage = mapping_of(value.get("usage")) or {}
    finish_reason = "tool_calls" if calls else "stop"
    if status == "incomplete":
        finish_reason = _FINISH_REASONS.get(details.get("reason"), "length")
    return ChatAnswer(
        text="".join(texts["output_text"]) if texts["output_text"] else None,
        refusal="".join(texts["refusal"]) if texts["refusal"] else None,
        tool_calls=tuple(calls),
        finish_reason=finish_reason,
        usage={
            "prompt_tokens": usage.get("input_tokens"),
            "completion_tokens": usage.get("output_tokens"),
        },
    )


def _pieces_of(answer: ChatAnswer) -> list[tuple[Lane, int]]:
    """
    Return the lane and the length of every delta of the mock's stream.
    """
    pieces: list[tuple[Lane, int]] = [
        (TEXT, len(piece)) for piece in cut_text(answer.text or "")
    ]
    pieces += [(REFUSAL, len(piece)) for piece in cut_text(answer.refusal or "")]
    for index, call in enumerate(answer.tool_calls):
        pieces += [(index, len(piece)) for piece in cut_arguments(call.arguments)]
    return pieces
