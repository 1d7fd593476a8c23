"""
The headers that the API sends with every answer.
"""

from collections.abc import Iterable
from typing import Final

from msgspec.structs import replace

from mock_server.wire.plan import Head, Plan

Header = tuple[str, str]

REQUEST_ID: Final = "x-request-id"
REQUEST_ID_CHARACTERS_MAX: Final = 200
"""A longer one that a client sends is not echoed."""

JSON_CONTENT: Header = ("content-type", "application/json")
EVENT_STREAM_CONTENT: Header = ("content-type", "text/event-stream; charset=utf-8")

_ALWAYS: tuple[Header, ...] = (
    ("access-control-expose-headers", "X-Request-ID"),
    ("openai-organization", "toolcall-harness"),
    ("openai-project", "proj_toolcallharness"),
    ("openai-version", "2020-10-01"),
)

_RATE_LIMITS: tuple[Header, ...] = (
    ("x-ratelimit-limit-requests", "10000"),
    ("x-ratelimit-limit-tokens", "30000000"),
    ("x-ratelimit-remaining-requests", "9999"),
    ("x-ratelimit-remaining-tokens", "29999000"),
    ("x-ratelimit-reset-requests", "6ms"),
    ("x-ratelimit-reset-tokens", "2ms"),
)
"""An account with room to spare."""


def standard_headers(request_id: str) -> tuple[Header, ...]:
    """
    Return the headers of every answer, the request id among them.
    """
    return (*_ALWAYS, (REQUEST_ID, request_id))


def answer_headers(request_id: str) -> tuple[Header, ...]:
    """
    Return the headers of an answer that a model gave.
    """
    return (*_ALWAYS, (REQUEST_ID, request_id), *_RATE_LIMITS)


def lines_of(headers: Iterable[Header]) -> str:
    """
    Return headers as they are sent.
    """
    return "".join([f"{name}: {value}\r\n" for name, value in headers])


_JSON_START: Final = f"{lines_of((JSON_CONTENT,))}content-length: "
_ALWAYS_START: Final = f"\r\n{lines_of(_ALWAYS)}{REQUEST_ID}: "
_LIMITS_START: Final = f"\r\n{lines_of(_RATE_LIMITS)}"


def answer_lines(request_id: str, body_bytes: int) -> str:
    """
    Return the headers of a model's JSON answer as they are sent.
    """
    return f"{_JSON_START}{body_bytes}{_ALWAYS_START}{request_id}{_LIMITS_START}"


def echo_request_id(plan: Plan, given: str) -> Plan:
    """
    Return the answer under the id that the client gave its request.

    The mock's own id stays the name of the request everywhere else: clients that send
    one mostly send it again with every attempt.
    """
    if not (
        0 < len(given) <= REQUEST_ID_CHARACTERS_MAX
        and given.isascii()
        and given.isprintable()
    ):
        return plan
    return tuple(
        replace(step, headers=_with_request_id(step.headers, given))
        if isinstance(step, Head)
        else step
        for step in plan
    )


def _with_request_id(headers: tuple[Header, ...], given: str) -> tuple[Header, ...]:
    return tuple(
        (name, given if name == REQUEST_ID else value) for name, value in headers
    )
