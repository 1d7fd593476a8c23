"""
The answers of ``POST /v1/completions``, the oldest surface: plain text in and out.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson

from mock_server.tokens import TOKENIZER
from mock_server.wire.chunks import DONE
from mock_server.wire.completions import usage_value
from mock_server.wire.headers import EVENT_STREAM_CONTENT, JSON_CONTENT, answer_headers
from mock_server.wire.logprobs import logprobs_value
from mock_server.wire.plan import Chunk, End, Head, Pace, Part, Plan
from mock_server.wire.reply import Choice, FinishReason, Reply
from mock_server.wire.tokens import cut_text, cut_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class TextForm:
    """
    How a text completion is shown.
    """

    stream: bool = False
    include_usage: bool = False
    logprobs: int | None = None
    """How many likely tokens are shown at each place; None shows no probabilities."""

    echoes: tuple[str, ...] = ()
    """What each choice begins with: its prompt, if that is asked for."""


def text_completion_plan(reply: Reply, *, request_id: str, form: TextForm) -> Plan:
    """
    Return the answer, plain or as a stream.
    """
    headers = answer_headers(request_id)
    if form.stream:
        head = Head(200, (EVENT_STREAM_CONTENT, *headers))
        return (head, *_chunks(reply, form), Chunk(DONE, part=Part.DONE), End())
    choices = [
        _choice(index, text_of_choice(choice), form, choice.finish_reason)
        for index, choice in enumerate(_with_echo(reply, form))
    ]
    value = {
        **_common(reply),
        "choices": choices,
        "usage": usage_value(reply.usage),
    }
    body = orjson.dumps(value)
    head = Head(200, (JSON_CONTENT, ("content-length", str(len(body))), *headers))
    return (head, Chunk(body, Pace.FIRST_TOKEN), End())


def text_of_choice(choice: Choice) -> str:
    """
    Return what a choice says; this surface knows no calls and no refusals.
    """
    return choice.text or choice.refusal or ""


def _with_echo(reply: Reply, form: TextForm) -> list[Choice]:
    echoes = form.echoes or ("",) * len(reply.choices)
    return [
        Choice(
            text=echo + text_of_choice(choice),
            finish_reason=FinishReason.LENGTH
            if choice.finish_reason == FinishReason.LENGTH
            else FinishReason.STOP,
        )
        for echo, choice in zip(echoes, reply.choices, strict=True)
    ]


def _chunks(reply: Reply, form: TextForm) -> Iterator[Chunk]:
    cut = cut_text if form.logprobs is None else cut_tokens
    common = _common(reply)
    nothing: dict[str, Any] = {"usage": None} if form.include_usage else {}
    is_first = True
    for index, choice in enumerate(_with_echo(reply, form)):
        offset = 0
        for piece in cut(text_of_choice(choice)):
            shown = _choice(index, piece, form, None, offset)
            pace = Pace.FIRST_TOKEN if is_first else Pace.TOKEN
            part = Part.START if is_first else Part.DELTA
            yield _event({**common, "choices": [shown], **nothing}, pace, part)
            is_first = False
            offset += len(piece)
        last = {**_choice(index, "", form, choice.finish_reason), "logprobs": None}
        yield _event({**common, "choices": [last], **nothing}, part=Part.FINISH)
    if form.include_usage:
        value = {**common, "choices": [], "usage": usage_value(reply.usage)}
        yield _event(value, part=Part.USAGE)


def _event(
    value: dict[str, Any], pace: Pace = Pace.NONE, part: Part = Part.DELTA
) -> Chunk:
    return Chunk(b"data: " + orjson.dumps(value) + b"\n\n", pace, part)


def _common(reply: Reply) -> dict[str, Any]:
    return {
        "id": reply.id,
        "object": "text_completion",
        "created": reply.created_s,
        "model": reply.model,
        "system_fingerprint": reply.system_fingerprint,
    }


def _choice(
    index: int, text: str, form: TextForm, finish_reason: str | None, offset: int = 0
) -> dict[str, Any]:
    logprobs = None
    if form.logprobs is not None:
        logprobs = _logprobs(text, form.logprobs, offset)
    return {
        "text": text,
        "index": index,
        "logprobs": logprobs,
        "finish_reason": finish_reason,
    }


def _logprobs(text: str, top_logprobs: int, offset: int) -> dict[str, Any]:
    offsets = []
    for token in TOKENIZER.split(text):
        offsets.append(offset)
        offset += len(token)
    entries = logprobs_value(text, top_logprobs)
    return {
        "tokens": [entry["token"] for entry in entries],
        "token_logprobs": [entry["logprob"] for entry in entries],
        "top_logprobs": [
            {likely["token"]: likely["logprob"] for likely in entry["top_logprobs"]}
            for entry in entries
        ],
        "text_offset": offsets,
    }
