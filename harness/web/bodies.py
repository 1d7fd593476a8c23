"""
Request bodies, parsed at the door.

400 is for what is not JSON, 413 for too much of it, 415 for another type or encoding,
422 for JSON of the wrong shape, with every mistake.
"""

import re
from typing import Annotated, Any, Final, TypeVar

import orjson
import pydantic
from aiohttp import web
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from harness.clock import Clock
from harness.errors import OptionsError
from harness.ids import SessionId
from harness.orchestrator import ChatCommand
from harness.tools import DESCRIPTION_CHARACTERS_MAX, ToolSpec
from harness.web.answers import JSON_TYPE, RequestError

TOOL_TIMEOUT_S: Final = 30.0
"""What an added tool has for an execution, unless it is told."""

BODY_TIMEOUT_S = 30.0
"""A body that is not there by then is not waited for."""

_MODEL: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}", re.ASCII)
_SESSION: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}", re.ASCII)

_MESSAGE_CHARS_MAX: Final = 2000
_TOOL_RULES: Final = {
    "name": "at most 64 letters, digits, underscores and hyphens",
    "description": f"at most {DESCRIPTION_CHARACTERS_MAX} characters",
    "timeout_s": "more than 0",
}
_PLAINER: Final = {"model_type": "a JSON object is needed"}
"""What to say where pydantic would speak of its own classes, by type of mistake."""

ModelT = TypeVar("ModelT", bound=BaseModel)


def _check_said(text: str) -> str:
    if not text.strip():
        message = "says nothing"
        raise ValueError(message)
    return text


def _check_model(text: str) -> str:
    if not _MODEL.fullmatch(text):
        message = "is no name of a model"
        raise ValueError(message)
    return text


def _check_session(text: str) -> str:
    if not _SESSION.fullmatch(text):
        message = "is no id: up to 128 letters, digits, dots, colons, hyphens"
        raise ValueError(message)
    return text


class ChatBody(BaseModel):
    """
    The body of ``POST /chat``.
    """

    model_config = ConfigDict(extra="forbid", strict=True)

    message: Annotated[str, AfterValidator(_check_said)]
    user_id: Annotated[str, Field(min_length=1, max_length=256)]
    session_id: Annotated[str, AfterValidator(_check_session)] | None = None
    model: Annotated[str, AfterValidator(_check_model)] | None = None


class ToolBody(BaseModel):
    """
    The body of ``PUT /tools/{name}``, flat or as an entry of a request's ``tools``.
    """

    model_config = ConfigDict(extra="forbid")

    name: str | None = None
    """May be given, as ``GET /tools`` gives it; it is that of the path."""

    description: str = ""
    parameters: dict[str, Any]
    strict: bool | None = None
    """Known to model APIs; here arguments are always checked."""

    deferred: bool | None = None
    timeout_s: Annotated[float, Field(gt=0, le=3600)] | None = None

    @model_validator(mode="before")
    @classmethod
    def _unwrap(cls, value: Any) -> Any:
        if isinstance(value, dict) and set(value) == {"type", "function"}:
            return value["function"]
        return value


async def read_body(
    request: web.Request, *, body_bytes_max: int, clock: Clock
) -> bytes:
    """
    Return the bytes of a request's body.

    Raises:
        RequestError: It is too large, or does not come.
    """
    length_bytes = request.content_length
    if length_bytes is not None and length_bytes > body_bytes_max:
        raise _too_large(body_bytes_max)
    body = bytearray()
    timeout = clock.timeout(BODY_TIMEOUT_S)
    try:
        async with timeout:
            async for fragment in request.content.iter_any():
                body += fragment
                if len(body) > body_bytes_max:
                    raise _too_large(body_bytes_max)
    except TimeoutError as error:
        if not timeout.expired():
            raise
        raise RequestError(
            status=408,
            code="request_timeout",
            message=f"the body did not come within {BODY_TIMEOUT_S:g} s",
            headers={"Connection": "close"},
        ) from error
    return bytes(body)


async def read_json_body(
    request: web.Request, *, body_bytes_max: int, clock: Clock
) -> bytes:
    """
    Return the bytes of a body that is declared as plain JSON.

    Raises:
        RequestError: It is declared as something else, too large, or does not come.
    """
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    content_type = request.content_type
    is_json = content_type == JSON_TYPE or content_type.endswith("+json")
    if not is_json or encoding != "identity":
        raise RequestError(
            status=415,
            code="unsupported_media_type",
            message=f"send {JSON_TYPE} without a content encoding",
        )
    return await read_body(request, body_bytes_max=body_bytes_max, clock=clock)


def parse(body: bytes, model: type[ModelT]) -> ModelT:
    """
    Return a body as a value of ``model``.

    Raises:
        RequestError: It is not JSON, or of the wrong shape.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestError(
            status=400, code="not_json", message=f"the body is not JSON: {error}"
        ) from error
    try:
        return model.model_validate(value)
    except pydantic.ValidationError as error:
        raise wrong_shape(error) from error


def parse_chat(body: bytes, *, message_chars_max: int) -> ChatCommand:
    """
    Return what a user says.

    Raises:
        RequestError: It is not JSON, or of the wrong shape.
    """
    parsed = parse(body, ChatBody)
    if len(parsed.message) > message_chars_max:
        raise RequestError(
            status=422,
            code="invalid_request",
            message=f"message: has more than {message_chars_max} characters",
        )
    return ChatCommand(
        message=parsed.message,
        user_id=parsed.user_id,
        session_id=None if parsed.session_id is None else SessionId(parsed.session_id),
        model=parsed.model,
    )


def to_spec(name: str, body: ToolBody, *, known: ToolSpec | None) -> ToolSpec:
    """
    Return the tool that a body describes.

    Args:
        name: The one of the path.
        body: What is told of the tool.
        known: The tool of that name so far: how it runs stays, unless the body says so.

    Raises:
        RequestError: No model API would take it.
    """
    if body.name is not None and body.name != name:
        message = f"name: {body.name[:80]!r} is not that of the path"
        raise RequestError(status=422, code="invalid_request", message=message)
    deferred, timeout_s = body.deferred, body.timeout_s
    if deferred is None:
        deferred = known is not None and known.deferred
    if timeout_s is None:
        timeout_s = TOOL_TIMEOUT_S if known is None else known.timeout_s
    try:
        return ToolSpec(
            name=name,
            description=body.description,
            parameters=body.parameters,
            deferred=deferred,
            timeout_s=timeout_s,
        )
    except OptionsError as error:
        mistakes = [f"{field}: {_TOOL_RULES[field]}" for field in error.fields]
        raise RequestError(
            status=422,
            code="invalid_request",
            message="; ".join(mistakes),
        ) from error


def wrong_shape(error: pydantic.ValidationError) -> RequestError:
    """
    Return the refusal that lists everything that is wrong with a body.
    """
    mistakes = []
    for detail in error.errors(include_url=False, include_input=False):
        place = ".".join(str(part) for part in detail["loc"])[:100] or "body"
        message = _PLAINER.get(
            detail["type"], detail["msg"].removeprefix("Value error, ")
        )
        mistakes.append(f"{place}: {message[:1].lower()}{message[1:]}")
    return RequestError(
        status=422,
        code="invalid_request",
        message="; ".join(mistakes)[:_MESSAGE_CHARS_MAX],
    )


def _too_large(body_bytes_max: int) -> RequestError:
    return RequestError(
        status=413,
        code="payload_too_large",
        message=f"the body has more than {body_bytes_max} bytes",
        # What is left of the body is not read.
        headers={"Connection": "close"},
    )
