"""
Bytes become a Responses request, or the error that the API would answer.
"""

from collections.abc import Collection
from typing import Any

import orjson

from mock_server.wire.errors import ApiError, bad_json
from mock_server.wire.responses.check import check_parameters
from mock_server.wire.responses.request import ResponsesRequest, as_items
from mock_server.wire.responses.shape import check_fields, salvage
from mock_server.wire.shape import Text, missing

_MODEL = Text(length_min=1)
_MODEL_WHEN_LOOSE = "gpt-4o"


def parse_responses_request(
    body: bytes, *, models: Collection[str] | None = None, strict: bool = True
) -> ResponsesRequest:
    """
    Return the request, refusing what the API refuses, in the API's order.

    The transcript and the schemas are not looked at: they need what is stored.

    Args:
        body: As it was sent.
        models: Which exist; None for all.
        strict: False accepts everything that is JSON and takes from it what it can.

    Raises:
        ApiError: What to answer instead.
    """
    value = parse_object(body)
    if not strict:
        value = salvage(value)
        value["model"] = value.get("model") or _MODEL_WHEN_LOOSE
    _check_model(value, models)
    if strict:
        check_fields(value)
    given = {name: field for name, field in value.items() if field is not None}
    request = ResponsesRequest(fields=given, items=as_items(given.get("input")))
    if strict:
        check_parameters(request)
    return request


def parse_object(body: bytes) -> dict[str, Any]:
    """
    Return a body that is a JSON object.

    Raises:
        ApiError: It is none.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_json() from error
    if not isinstance(value, dict):
        raise bad_json()
    return value


def _check_model(body: dict[str, Any], models: Collection[str] | None) -> None:
    model = body.get("model")
    if model is None:
        path = "model"
        raise missing(path)
    _MODEL.check(model, "model")
    if models is not None and model not in models:
        message = f"The requested model '{model}' does not exist."
        raise ApiError(message, param="model", code="model_not_found")
