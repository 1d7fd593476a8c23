"""
The input file of a batch becomes its requests, or the list of what is wrong with it.
"""

from dataclasses import dataclass
from typing import Any, Final

import orjson

ERRORS_MAX: Final = 100
"""Mistakes that are told of one file."""


@dataclass(frozen=True, slots=True)
class BatchRequest:
    """
    One line of an input file.
    """

    custom_id: str
    body: dict[str, Any]


class BatchInputError(Exception):
    """
    An input file that makes no batch.
    """

    def __init__(self, errors: list[dict[str, Any]]) -> None:
        super().__init__(errors[0]["message"])
        self.errors = errors


def parse_batch_input(
    data: bytes, *, endpoint: str, requests_max: int
) -> list[BatchRequest]:
    """
    Return the requests of an input file.

    Raises:
        BatchInputError: Every mistake with its line, up to a limit.
    """
    requests: list[BatchRequest] = []
    errors: list[dict[str, Any]] = []
    seen: set[str] = set()
    models: set[Any] = set()
    lines = data.splitlines()
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        found = _read_line(line, endpoint, seen)
        if isinstance(found, BatchRequest):
            requests.append(found)
            seen.add(found.custom_id)
            models.add(str(found.body.get("model")))
        else:
            errors.append({**found, "line": number})
        if len(errors) >= ERRORS_MAX:
            break
        if len(requests) > requests_max:
            errors.append(_error("too_many_tasks", f"At most {requests_max} requests."))
            break
    if not requests and not errors:
        errors.append(_error("empty_batch", "The input file holds no request."))
    if len(models) > 1:
        message = "All requests of a batch must be for the same model."
        errors.append(_error("mismatched_model", message, "body.model"))
    if errors:
        raise BatchInputError(errors)
    return requests


def _read_line(
    line: bytes, endpoint: str, seen: set[str]
) -> BatchRequest | dict[str, Any]:
    try:
        value = orjson.loads(line)
    except orjson.JSONDecodeError:
        value = None
    if not isinstance(value, dict):
        message = "This line is not parseable as valid JSON."
        return _error("invalid_json_line", message)
    for name, kind in (
        ("custom_id", str),
        ("method", str),
        ("url", str),
        ("body", dict),
    ):
        if not isinstance(value.get(name), kind):
            message = f"Missing required parameter: '{name}'."
            return _error("missing_required_parameter", message, name)
    custom_id: str = value["custom_id"]
    if custom_id in seen:
        message = f"The custom_id '{custom_id}' has been used before in this file."
        return _error("duplicate_custom_id", message, "custom_id")
    if value["method"] != "POST":
        message = f"Invalid method: '{value['method']}'. Expected 'POST'."
        return _error("invalid_method", message, "method")
    if value["url"] != endpoint:
        message = (
            f"The URL '{value['url']}' does not match the batch's endpoint "
            f"'{endpoint}'."
        )
        return _error("invalid_url", message, "url")
    return BatchRequest(custom_id, value["body"])


def _error(code: str, message: str, param: str | None = None) -> dict[str, Any]:
    return {"code": code, "message": message, "param": param, "line": None}
