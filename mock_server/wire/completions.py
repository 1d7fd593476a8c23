"""
A plain Chat Completions answer.
"""

from functools import lru_cache
from typing import Any, Final

import orjson

from mock_server.wire.headers import JSON_CONTENT, answer_headers, answer_lines
from mock_server.wire.logprobs import logprobs_value
from mock_server.wire.plan import Chunk, End, Head, Pace, Plan, Whole
from mock_server.wire.reply import Choice, Reply, ReplyToolCall, ToolKind, Usage


def completion_value(reply: Reply) -> dict[str, Any]:
    """
    Return the body as values.
    """
    return {
        "id": reply.id,
        "object": "chat.completion",
        "created": reply.created_s,
        "model": reply.model,
        "choices": [
            {
                "index": index,
                "message": message_value(choice),
                "logprobs": choice_logprobs(choice, reply.top_logprobs),
                "finish_reason": choice.finish_reason,
            }
            for index, choice in enumerate(reply.choices)
        ],
        "usage": usage_value(reply.usage),
        "service_tier": "default",
        "system_fingerprint": reply.system_fingerprint,
    }


_DETAILS: Final = (
    '"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},'
    '"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,'
    '"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}'
)
_FRAMES_KEPT_MAX: Final = 256


def completion_body(reply: Reply) -> bytes:
    """
    Return the body.

    Most are one text and nothing else: they are filled in, which takes a third of the
    time.
    """
    if (
        reply.text is None
        or reply.tool_calls
        or reply.others
        or reply.refusal is not None
        or reply.top_logprobs is not None
    ):
        return orjson.dumps(completion_value(reply))
    usage = reply.usage
    prompt, completion = usage.prompt_tokens, usage.completion_tokens
    before_text, after_text, end = _frame_of(
        reply.model, reply.finish_reason, reply.system_fingerprint
    )
    return (
        f'{{"id":"{reply.id}","object":"chat.completion","created":{reply.created_s}'
        f"{before_text}{orjson.dumps(reply.text).decode()}{after_text}{prompt},"
        f'"completion_tokens":{completion},"total_tokens":{prompt + completion}{end}'
    ).encode()


@lru_cache(_FRAMES_KEPT_MAX)
def _frame_of(
    model: str, finish_reason: str | None, fingerprint: str
) -> tuple[str, str, str]:
    """
    Return what stands around the text and the counts of a model's answers.
    """
    before_text = (
        f',"model":{orjson.dumps(model).decode()},"choices":[{{"index":0,"message":'
        '{"role":"assistant","content":'
    )
    after_text = (
        ',"refusal":null,"annotations":[]},"logprobs":null,"finish_reason":'
        f'{orjson.dumps(finish_reason).decode()}}}],"usage":{{"prompt_tokens":'
    )
    end = (
        f',{_DETAILS},"service_tier":"default","system_fingerprint":'
        f"{orjson.dumps(fingerprint).decode()}}}"
    )
    return before_text, after_text, end


def message_value(choice: Choice) -> dict[str, Any]:
    """
    Return the assistant's message as values; without calls it has no ``tool_calls``.
    """
    message: dict[str, Any] = {"role": "assistant", "content": choice.text}
    if choice.tool_calls:
        message["tool_calls"] = [tool_call_value(call) for call in choice.tool_calls]
    message["refusal"] = choice.refusal
    message["annotations"] = []
    return message


def choice_logprobs(choice: Choice, top_logprobs: int | None) -> dict[str, Any] | None:
    """
    Return the log probabilities of a choice, if they are asked for.
    """
    if top_logprobs is None:
        return None
    texts = {"content": choice.text, "refusal": choice.refusal}
    return {
        name: None if text is None else logprobs_value(text, top_logprobs)
        for name, text in texts.items()
    }


def tool_call_value(call: ReplyToolCall) -> dict[str, Any]:
    """
    Return a whole tool call as values.
    """
    if call.kind is ToolKind.CUSTOM:
        body = {"name": call.name, "input": call.arguments}
        return {"id": call.id, "type": "custom", "custom": body}
    body = {"name": call.name, "arguments": call.arguments}
    return {"id": call.id, "type": "function", "function": body}


def usage_value(usage: Usage) -> dict[str, Any]:
    """
    Return token counts as values, with the details that clients read.
    """
    return {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def completion_whole(reply: Reply, request_id: str) -> Whole:
    """
    Return the answer as :func:`completion_plan` has it, as it is sent.
    """
    body = completion_body(reply)
    return Whole(answer_lines(request_id, len(body)), body)


def completion_plan(reply: Reply, *, request_id: str) -> Plan:
    """
    Return the answer: it all leaves at once, after the time to the first token.
    """
    body = completion_body(reply)
    headers = (
        JSON_CONTENT,
        ("content-length", str(len(body))),
        *answer_headers(request_id),
    )
    return (Head(200, headers), Chunk(body, Pace.FIRST_TOKEN), End())
