"""
A streamed Chat Completions answer: one event a chunk.

One tool call and no text: the first event holds the role and the start of the call.
Otherwise the role comes alone, then text, then call by call, never interleaved.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from mock_server.wire.completions import usage_value
from mock_server.wire.headers import EVENT_STREAM_CONTENT, answer_headers
from mock_server.wire.logprobs import logprobs_value
from mock_server.wire.plan import Chunk, End, Head, Pace, Part, Plan
from mock_server.wire.reply import Choice, Reply, ReplyToolCall, ToolKind
from mock_server.wire.tokens import cut_arguments, cut_text, cut_tokens

DONE = b"data: [DONE]\n\n"

_OBFUSCATION = "7QzL0pXc5TgRw2YbHk9VdMnJ4sFaU8eG6xBvKi3oNyZtC1jqWmSr"
_OBFUSCATED_LENGTH = 16
"""The obfuscation hides the length of a piece by filling it up to a multiple."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamForm:
    """
    What a stream holds besides the answer.
    """

    include_usage: bool = False
    include_obfuscation: bool = True


def chunk_plan(reply: Reply, *, request_id: str, form: StreamForm) -> Plan:
    """
    Return the answer as a stream of events.
    """
    head = Head(200, (EVENT_STREAM_CONTENT, *answer_headers(request_id)))
    return (head, *_chunks(reply, form), Chunk(DONE, part=Part.DONE), End())


def _chunks(reply: Reply, form: StreamForm) -> Iterator[Chunk]:
    encoder = _EventEncoder(reply, form)
    is_first = True
    for index, choice in enumerate(reply.choices):
        for part, delta in _deltas(choice, shows_tokens=reply.top_logprobs is not None):
            pace = Pace.ARGUMENT if "tool_calls" in delta else Pace.TOKEN
            if part is Part.START:
                pace = Pace.FIRST_TOKEN if is_first else Pace.NONE
                is_first = False
            logprobs = _logprobs_of(delta, reply.top_logprobs)
            yield Chunk(encoder.delta(index, delta, logprobs=logprobs), pace, part)
        finish = encoder.delta(index, {}, finish_reason=choice.finish_reason)
        yield Chunk(finish, Pace.NONE, Part.FINISH)
    if form.include_usage:
        yield Chunk(encoder.usage(), Pace.NONE, Part.USAGE)


def _logprobs_of(delta: dict[str, Any], top_logprobs: int | None) -> Any:
    """
    Return the log probabilities that go with a piece of text or of a refusal.
    """
    if top_logprobs is None or "tool_calls" in delta:
        return None
    values = {
        name: logprobs_value(delta[name], top_logprobs)
        for name in ("content", "refusal")
        if delta.get(name) is not None
    }
    return {"content": None, "refusal": None, **values}


def _deltas(
    choice: Choice, *, shows_tokens: bool
) -> Iterator[tuple[Part, dict[str, Any]]]:
    """
    Return what each event of a choice adds, the finish excepted.
    """
    if len(choice.tool_calls) == 1 and choice.text is None and choice.refusal is None:
        call = choice.tool_calls[0]
        yield (
            Part.START,
            {
                "role": "assistant",
                "content": None,
                "tool_calls": [_call_start(0, call)],
                "refusal": None,
            },
        )
        yield from _argument_deltas(0, call)
        return
    start: dict[str, Any] = {"role": "assistant", "content": None}
    if choice.refusal is not None:
        start["refusal"] = ""
    elif choice.text is not None:
        start |= {"content": "", "refusal": None}
    yield Part.START, start
    cut = cut_tokens if shows_tokens else cut_text
    for piece in cut(choice.text or ""):
        yield Part.DELTA, {"content": piece}
    for piece in cut(choice.refusal or ""):
        yield Part.DELTA, {"refusal": piece}
    for index, call in enumerate(choice.tool_calls):
        yield Part.DELTA, {"tool_calls": [_call_start(index, call)]}
        yield from _argument_deltas(index, call)


def _call_start(index: int, call: ReplyToolCall) -> dict[str, Any]:
    """
    Return the one piece that holds a call's id, type and name.
    """
    if call.kind is ToolKind.CUSTOM:
        body = {"name": call.name, "input": ""}
        return {"index": index, "id": call.id, "type": "custom", "custom": body}
    body = {"name": call.name, "arguments": ""}
    return {"index": index, "id": call.id, "type": "function", "function": body}


def _argument_deltas(
    index: int, call: ReplyToolCall
) -> Iterator[tuple[Part, dict[str, Any]]]:
    for piece in cut_arguments(call.arguments):
        body: dict[str, Any] = {"function": {"arguments": piece}}
        if call.kind is ToolKind.CUSTOM:
            body = {"custom": {"input": piece}}
        yield Part.DELTA, {"tool_calls": [{"index": index, **body}]}


class _EventEncoder:
    """
    Encodes the events of one stream; what they have in common is encoded once.
    """

    def __init__(self, reply: Reply, form: StreamForm) -> None:
        self._reply = reply
        self._obfuscates = form.include_obfuscation
        self._number = 0
        common = orjson.dumps(
            {
                "id": reply.id,
                "object": "chat.completion.chunk",
                "created": reply.created_s,
                "model": reply.model,
                "service_tier": "default",
                "system_fingerprint": reply.system_fingerprint,
            }
        )
        self._start = b"data: " + common[:-1] + b',"choices":'
        # The key is there, as null, only where a usage event will follow.
        self._usage_key = b',"usage":null' if form.include_usage else b""

    def delta(
        self,
        index: int,
        delta: dict[str, Any],
        *,
        finish_reason: str | None = None,
        logprobs: Any = None,
    ) -> bytes:
        """
        Return an event with a piece of a choice.
        """
        encoded = orjson.dumps(delta)
        return b"".join(
            (
                self._start,
                b'[{"index":%d,"delta":' % index,
                encoded,
                b',"logprobs":',
                orjson.dumps(logprobs),
                b',"finish_reason":',
                orjson.dumps(finish_reason),
                b"}]",
                self._usage_key,
                self._obfuscation(len(encoded)),
                b"}\n\n",
            )
        )

    def usage(self) -> bytes:
        """
        Return the event that counts the tokens.
        """
        usage = orjson.dumps(usage_value(self._reply.usage))
        return b"".join(
            (
                self._start,
                b'[],"usage":',
                usage,
                self._obfuscation(len(usage)),
                b"}\n\n",
            )
        )

    def _obfuscation(self, length: int) -> bytes:
        if not self._obfuscates:
            return b""
        self._number += 1
        wanted = _OBFUSCATED_LENGTH - length % _OBFUSCATED_LENGTH
        start = (self._number * 7) % (len(_OBFUSCATION) - _OBFUSCATED_LENGTH)
        return b',"obfuscation":"%b"' % _OBFUSCATION[start : start + wanted].encode()
