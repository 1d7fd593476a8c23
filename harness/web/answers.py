"""
Answers as JSON, and the one shape of errors.
"""

import math
from collections.abc import Mapping
from typing import Any

import orjson
from aiohttp import web

from harness.errors import StoppingError, UsageError
from harness.events import current_trace_id
from harness.orchestrator import Failure, describe
from harness.telemetry import Redactor

JSON_TYPE = "application/json"


class RequestError(UsageError):
    """
    The request cannot be served as it is.

    Attributes:
        status: The status of the answer.
        code: A short word for the cause.
        message: What is wrong; all mistakes where there are several.
    """

    def __init__(
        self,
        *,
        status: int,
        code: str,
        message: str,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.headers = dict(headers or {})


def json_answer(
    value: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    """
    Return an answer with a JSON body.
    """
    return web.Response(
        body=orjson.dumps(value),
        status=status,
        content_type=JSON_TYPE,
        headers=dict(headers or {}),
    )


def error_body(error: BaseException, *, redactor: Redactor) -> dict[str, Any]:
    """
    Return the body that tells a caller about an error, without secrets.
    """
    if isinstance(error, RequestError):
        told: dict[str, Any] = {
            "code": error.code,
            "message": error.message,
            "trace_id": current_trace_id(),
        }
    else:
        told = describe(error).to_error(trace_id=current_trace_id())
    return {"error": redactor.value(told)}


def error_answer(error: BaseException, *, redactor: Redactor) -> web.Response:
    """
    Return the answer to a request that failed.
    """
    body = error_body(error, redactor=redactor)
    if isinstance(error, RequestError):
        return json_answer(body, status=error.status, headers=error.headers)
    failure = describe(error)
    headers = _retry_after(failure)
    if isinstance(error, StoppingError):
        # Whoever asks again is to reach the successor.
        headers["Connection"] = "close"
    return json_answer(body, status=failure.status, headers=headers)


def _retry_after(failure: Failure) -> dict[str, str]:
    if failure.retry_after_s is None or failure.status not in {409, 429, 503}:
        return {}
    return {"Retry-After": str(max(1, math.ceil(failure.retry_after_s)))}
