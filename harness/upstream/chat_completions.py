"""
Chat Completions as bytes: the request out, a plain answer in; no I/O.
"""

from typing import Any, Final

import orjson

from harness.errors import UpstreamProtocolError, UsageError
from harness.upstream.assembly import finish_completion, open_call
from harness.upstream.model import (
    Breakage,
    ChatRequest,
    Completion,
    SubmittedOutput,
    ToolCall,
)
from harness.upstream.wire import (
    WireToolCall,
    decode_answer,
    decode_run,
    status_error,
)

_BYTES_PER_TOKEN: Final = 4
"""A rule of thumb for English; other languages and JSON take a little less."""


def estimate_tokens(request: ChatRequest, body: bytes) -> float:
    """
    Return about how many tokens a request counts for at a quota.

    The answer counts with as much as it may have: its length is not known beforehand.
    """
    return len(body) / _BYTES_PER_TOKEN + (request.completion_tokens_max or 0)


def encode_request(request: ChatRequest, *, stream: bool) -> bytes:
    """
    Return the body that asks for a completion.

    Raises:
        UsageError: Something in it has no form in JSON.
    """
    body: dict[str, Any] = {"model": request.model, "messages": list(request.messages)}
    optional: dict[str, Any] = {
        "temperature": request.temperature,
        "max_completion_tokens": request.completion_tokens_max,
        "metadata": dict(request.metadata) or None,
    }
    if request.tools:
        optional |= {
            "tools": list(request.tools),
            "tool_choice": request.tool_choice or "auto",
            "parallel_tool_calls": request.parallel_tool_calls,
        }
    if stream:
        optional |= {"stream": True, "stream_options": {"include_usage": True}}
    body |= {name: value for name, value in optional.items() if value is not None}
    return encode(body)


def encode(body: object) -> bytes:
    """
    Return a value as JSON.

    Raises:
        UsageError: Something in it has no form in JSON.
    """
    try:
        return orjson.dumps(body)
    except TypeError as error:
        message = f"the request has no form in JSON: {error}"
        raise UsageError(message) from error


def parse_answer(body: bytes) -> Completion:
    """
    Return the completion of a plain answer with status 200.

    Raises:
        UpstreamProtocolError: The answer is broken; its reason is a ``Breakage``.
        UpstreamStatusError: The body reports an error in spite of the status.
    """
    check_is_json(body)
    answer = decode_answer(body)
    if answer.error is not None:
        raise status_error(answer.error, status=200)
    if not answer.choices:
        raise UpstreamProtocolError(reason=Breakage.NO_CHOICES)
    choice = answer.choices[0]
    if choice.message is None or choice.index != 0 or len(answer.choices) > 1:
        raise UpstreamProtocolError(
            reason=Breakage.WRONG_SHAPE,
            detail="there is not one choice, the first, with a message",
        )
    message = choice.message
    return finish_completion(
        text=message.content or None,
        refusal=message.refusal or None,
        calls=[_call(call) for call in message.tool_calls or ()],
        finish_reason=choice.finish_reason,
        usage=answer.usage,
        model=answer.model,
    )


def parse_submitted_output(body: bytes, *, run_id: str) -> SubmittedOutput:
    """
    Return what became of the run.

    Raises:
        UpstreamProtocolError: The answer is broken, or is about another run.
        UpstreamStatusError: The body reports an error in spite of the status.
    """
    check_is_json(body)
    run = decode_run(body)
    if run.error is not None and run.status is None:
        raise status_error(run.error, status=200)
    if run.id not in {None, run_id}:
        raise UpstreamProtocolError(
            reason=Breakage.WRONG_SHAPE, detail="the answer is about another run"
        )
    return SubmittedOutput(run_id=run_id, status=run.status)


def check_is_json(body: bytes) -> None:
    """
    Refuse what cannot be JSON, with a reason that says what it is instead.

    Raises:
        UpstreamProtocolError: There is nothing, or a page for people.
    """
    start = body.lstrip()[:1]
    if not start:
        raise UpstreamProtocolError(reason=Breakage.EMPTY_BODY)
    if start == b"<":
        raise UpstreamProtocolError(reason=Breakage.HTML)


def _call(call: WireToolCall) -> ToolCall:
    function = call.function
    return open_call(
        call.id,
        function.name if function else None,
        call.type,
        (function.arguments if function else None) or "",
    )
