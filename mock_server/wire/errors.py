"""
Errors in the API's own shape.

The envelope has always all four keys: ``message``, ``type``, ``param``, ``code``.
"""

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

import orjson

from mock_server.wire.headers import JSON_CONTENT, standard_headers
from mock_server.wire.plan import Chunk, End, Head, Plan

INVALID_REQUEST = "invalid_request_error"
SERVER_ERROR = "server_error"
QUOTA = "insufficient_quota"

_BAD_JSON = (
    "We could not parse the JSON body of your request. (HINT: This likely means you "
    "aren't using your HTTP library correctly. The OpenAI API expects a JSON payload, "
    "but what was sent was not valid JSON. If you have trouble figuring out how to fix "
    "this, please contact us through our help center at help.openai.com.)"
)
_NO_KEY = (
    "You didn't provide an API key. You need to provide your API key in an "
    "Authorization header using Bearer auth (i.e. Authorization: Bearer YOUR_KEY), or "
    "as the password field (with blank username) if you're accessing the API from your "
    "browser and are prompted for a username and password. You can obtain an API key "
    "from https://platform.openai.com/account/api-keys."
)
_MESSAGES = {
    401: "Incorrect API key provided.",
    404: "The requested resource was not found.",
    429: "Rate limit reached on requests per min (RPM). Please try again later.",
    500: "The server had an error while processing your request. Sorry about that!",
    503: "The server is currently overloaded with other requests. Sorry about that!",
}
_QUOTA_MESSAGE = (
    "You exceeded your current quota, please check your plan and billing details. For "
    "more information on this error, read the docs: "
    "https://platform.openai.com/docs/guides/error-codes/api-errors."
)
_TOO_MANY = 429
_SERVER_ERRORS_FROM = 500
_SHOWN_KEY_START, _SHOWN_KEY_END = 5, 2
_MASKED_KEY_MIN = 12


class FailureForm(StrEnum):
    """
    How a stream of the Responses API tells that the response failed.
    """

    NESTED = "nested"
    """An ``error`` event with an ``error`` object in it, then ``response.failed``."""

    FLAT = "flat"
    """The documented form: the ``error`` event holds code and message itself."""

    FAILED_ONLY = "failed_only"
    """Only ``response.failed``."""

    ERROR_ONLY = "error_only"
    """Only the nested ``error`` event, and the stream ends."""


class ApiError(Exception):
    """
    A request that the API refuses.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        type: str = INVALID_REQUEST,  # noqa: A002 - the API's own word
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] | None = None,
        failure: FailureForm | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code
        self.headers = tuple((headers or {}).items())
        self.failure = failure
        """How an answer tells it that can fail after it has begun; None: at once."""


def error_value(error: ApiError) -> dict[str, Any]:
    """
    Return the envelope as values.
    """
    return {
        "error": {
            "message": error.message,
            "type": error.type,
            "param": error.param,
            "code": error.code,
        }
    }


def error_body(error: ApiError) -> bytes:
    """
    Return the envelope as bytes.
    """
    return orjson.dumps(error_value(error))


def error_plan(error: ApiError, request_id: str) -> Plan:
    """
    Return the whole answer of a refused request.
    """
    body = error_body(error)
    headers = (
        JSON_CONTENT,
        ("content-length", str(len(body))),
        *standard_headers(request_id),
        *error.headers,
    )
    return (Head(error.status, headers), Chunk(body), End())


def bad_json() -> ApiError:
    """
    Return the error of a body that is no JSON object.
    """
    return ApiError(_BAD_JSON)


def missing_api_key() -> ApiError:
    """
    Return the error of a request without a key.
    """
    return ApiError(_NO_KEY, status=401)


def wrong_api_key(api_key: str) -> ApiError:
    """
    Return the error of a key that is not accepted; the key is masked in it.
    """
    message = (
        f"Incorrect API key provided: {mask_key(api_key)}. You can find your API key "
        "at https://platform.openai.com/account/api-keys."
    )
    return ApiError(message, status=401, code="invalid_api_key")


def check_api_key(api_key: str | None, accepted: Sequence[str] | None) -> None:
    """
    Refuse a request without a key, or with one that is not in the list.

    Raises:
        ApiError: 401.
    """
    if not api_key:
        raise missing_api_key()
    if accepted is not None and api_key not in accepted:
        raise wrong_api_key(api_key)


def mask_key(api_key: str) -> str:
    """
    Return a key with its middle hidden; a short one is hidden whole.
    """
    if len(api_key) < _MASKED_KEY_MIN:
        return "*" * len(api_key)
    return f"{api_key[:_SHOWN_KEY_START]}***{api_key[-_SHOWN_KEY_END:]}"


def invalid_url(method: str, path: str) -> ApiError:
    """
    Return the error of a path that the API does not have.
    """
    return ApiError(f"Invalid URL ({method} {path})", status=404)


def wrong_method(method: str, path: str) -> ApiError:
    """
    Return the error of a path that takes another method.
    """
    message = (
        f"Not allowed to {method} on {path}. (HINT: Perhaps you meant to use a "
        "different HTTP method?)"
    )
    return ApiError(message, status=405, code="method_not_supported")


def no_model_given() -> ApiError:
    """
    Return the error of a request that names no model.
    """
    return ApiError("you must provide a model parameter")


def unknown_model(model: str) -> ApiError:
    """
    Return the error of a chat with a model that does not exist.
    """
    message = f"The model `{model}` does not exist or you do not have access to it."
    return ApiError(message, status=404, code="model_not_found")


def unknown_model_id(model: str) -> ApiError:
    """
    Return the error of asking about a model that does not exist.
    """
    return ApiError(
        f"The model '{model}' does not exist",
        status=404,
        param="model",
        code="model_not_found",
    )


def scripted_error(
    *,
    status: int,
    message: str | None,
    type: str | None,  # noqa: A002 - the API's own word
    param: str | None,
    code: str | None,
    retry_after_s: float | None,
    headers: Mapping[str, str],
    failure: FailureForm | None = None,
) -> ApiError:
    """
    Return the error that a script asks for; what it leaves out is as the API has it.
    """
    default_type = SERVER_ERROR if status >= _SERVER_ERRORS_FROM else INVALID_REQUEST
    if status == _TOO_MANY:
        default_type = code if code == QUOTA else "requests"
        message = message or (_QUOTA_MESSAGE if code == QUOTA else None)
        code = code or "rate_limit_exceeded"
    if message is None:
        if status >= _SERVER_ERRORS_FROM:
            message = _MESSAGES.get(status, _MESSAGES[500])
        else:
            message = _MESSAGES.get(status, "The request was refused.")
    extra = dict(headers)
    if retry_after_s is not None:
        extra.setdefault("retry-after", str(max(1, math.ceil(retry_after_s))))
        extra.setdefault("retry-after-ms", str(round(retry_after_s * 1000)))
    return ApiError(
        message,
        status=status,
        type=type or default_type,
        param=param,
        code=code,
        headers=extra,
        failure=failure,
    )
