"""
What the model said, as the items of a response's output.

An item has an id of its own; a call has besides the ``call_id`` that its result names.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from mock_server.wire.logprobs import logprobs_value
from mock_server.wire.reply import FinishReason, Reply, ReplyToolCall, ToolKind
from mock_server.wire.responses.request import Item, ResponsesRequest

Mint = Callable[[str, int], str]
"""Mints an item's id, given what it starts with and the item's place."""

ENCRYPTED_REASONING = "reasoning.encrypted_content"

INCOMPLETE_REASONS: Mapping[str | None, str] = {
    FinishReason.LENGTH: "max_output_tokens",
    FinishReason.CONTENT_FILTER: "content_filter",
}
"""Why a response is incomplete, by the finish reason of a chat."""


def output_items(
    reply: Reply, request: ResponsesRequest, mint: Mint
) -> tuple[Item, ...]:
    """
    Return the items in their order: reasoning, message, calls.

    The last one of a response that is incomplete is itself incomplete.
    """
    items = [
        {"id": mint(prefix, place), **value}
        for place, (prefix, value) in enumerate(_values(reply, request))
    ]
    if items and reply.finish_reason in INCOMPLETE_REASONS and "status" in items[-1]:
        items[-1]["status"] = "incomplete"
    return tuple(items)


def _values(
    reply: Reply, request: ResponsesRequest
) -> Iterator[tuple[str, dict[str, Any]]]:
    if reply.reasoning is not None:
        yield "rs_", _reasoning(reply.reasoning, request)
    content = list(_content(reply, request.top_logprobs))
    if content:
        yield (
            "msg_",
            {
                "type": "message",
                "status": "completed",
                "content": content,
                "role": "assistant",
            },
        )
    for call in reply.tool_calls:
        yield _call(call, request.namespaces)


def _reasoning(text: str, request: ResponsesRequest) -> dict[str, Any]:
    value: dict[str, Any] = {
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": text}],
    }
    if ENCRYPTED_REASONING in request.includes:
        # Opaque to every client: it only has to come back as it was.
        value["encrypted_content"] = f"gAAAAA{text.encode().hex()}"
    return value


def _content(reply: Reply, top_logprobs: int | None) -> Iterator[dict[str, Any]]:
    if reply.text is not None:
        yield {
            "type": "output_text",
            "annotations": [],
            "logprobs": (
                [] if top_logprobs is None else logprobs_value(reply.text, top_logprobs)
            ),
            "text": reply.text,
        }
    if reply.refusal is not None:
        yield {"type": "refusal", "refusal": reply.refusal}


def _call(
    call: ReplyToolCall, namespaces: Mapping[str, str]
) -> tuple[str, dict[str, Any]]:
    if call.kind is ToolKind.CUSTOM:
        value: dict[str, Any] = {
            "type": "custom_tool_call",
            "status": "completed",
            "call_id": call.id,
            "input": call.arguments,
            "name": call.name,
        }
        prefix = "ctc_"
    else:
        value = {
            "type": "function_call",
            "status": "completed",
            "arguments": call.arguments,
            "call_id": call.id,
            "name": call.name,
        }
        prefix = "fc_"
    if call.name in namespaces:
        value["namespace"] = namespaces[call.name]
    return prefix, value
