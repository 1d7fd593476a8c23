"""
Bytes become a Chat Completions request, or the error that the API would answer.
"""

from collections.abc import Collection
from typing import Any

import msgspec
import orjson

from mock_server.wire.chat_shape import check_chat_shape
from mock_server.wire.errors import (
    ApiError,
    bad_json,
    no_model_given,
    unknown_model,
)
from mock_server.wire.request import ChatRequest, Message, UserMessage
from mock_server.wire.shape import refuse_type
from mock_server.wire.strict_schema import check_schemas
from mock_server.wire.transcript import check_parameters, check_transcript

_DECODER = msgspec.json.Decoder(ChatRequest)
_FIELDS = {field.name: field.type for field in msgspec.structs.fields(ChatRequest)}
_MODEL_WHEN_LOOSE = "gpt-4o"


def parse_chat_request(
    body: bytes, *, models: Collection[str] | None = None, strict: bool = True
) -> ChatRequest:
    """
    Return the request, refusing what the API refuses, in the API's order.

    Args:
        body: As it was sent.
        models: Which exist; None for all.
        strict: False accepts everything that is JSON and takes from it what it can.

    Raises:
        ApiError: What to answer instead.
    """
    try:
        if not body.isascii():
            # The decoder skips over parts that nobody reads without looking at them.
            body.decode()
        request = _DECODER.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        request = _parse_slowly(body, models=models, strict=strict)
    if models is not None and request.model not in models:
        raise unknown_model(request.model)
    if strict:
        check_transcript(request.messages)
        check_parameters(request)
        check_schemas(request)
    return request


def _parse_slowly(
    body: bytes, *, models: Collection[str] | None, strict: bool
) -> ChatRequest:
    """
    Find the words for what the decoder refused.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_json() from error
    if not isinstance(value, dict):
        raise bad_json()
    if strict:
        _check_model(value, models)
        check_chat_shape(value)
    return _salvage(value)


def _check_model(body: dict[str, Any], models: Collection[str] | None) -> None:
    model = body.get("model")
    if model is None or model == "":
        raise no_model_given()
    if not isinstance(model, str):
        refuse_type("a string", model, "model")
    if models is not None and model not in models:
        raise unknown_model(model)


def _salvage(body: dict[str, Any]) -> ChatRequest:
    """
    Take from a body all that is well-formed.
    """
    values: dict[str, Any] = {}
    for name, kind in _FIELDS.items():
        if name in body and name != "messages":
            try:
                values[name] = msgspec.convert(body[name], kind)
            except (msgspec.ValidationError, RecursionError):
                continue
    values.setdefault("model", _MODEL_WHEN_LOOSE)
    messages = body.get("messages")
    values["messages"] = [
        _salvage_message(message)
        for message in (messages if isinstance(messages, list) else ())
    ]
    return ChatRequest(**values)


def _salvage_message(message: Any) -> Message:
    try:
        converted: Message = msgspec.convert(message, Message)
    except (msgspec.ValidationError, RecursionError):
        content = message.get("content") if isinstance(message, dict) else message
        text = content if isinstance(content, str) else ""
        return UserMessage(content=text)
    return converted


__all__ = ["ApiError", "parse_chat_request"]
