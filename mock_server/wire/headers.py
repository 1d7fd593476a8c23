"""
The headers that the API sends with every answer.
"""

Header = tuple[str, str]

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
    return (*_ALWAYS, ("x-request-id", request_id))


def answer_headers(request_id: str) -> tuple[Header, ...]:
    """
    Return the headers of an answer that a model gave.
    """
    return (*_ALWAYS, ("x-request-id", request_id), *_RATE_LIMITS)
