"""
What an attempt at the model API tells about its health.
"""

from dataclasses import replace
from http import HTTPStatus
from typing import Final

from harness.errors import (
    DeadlineExceededError,
    LimitExceededError,
    UpstreamConnectionError,
    UpstreamProtocolError,
    UpstreamStatusError,
)
from harness.resilience import Classified, Outcome, classify_error, classify_status
from harness.upstream.model import Breakage

_QUOTA: Final = "insufficient_quota"
_SLOW_DOWN: Final = frozenset(
    {"rate_limit_exceeded", "rate_limit_error", "requests", "tokens"}
)
_OVERLOADED: Final = "server_is_overloaded"
_CALLERS_MISTAKE: Final = "invalid_request_error"
_PERMANENT_BREAKAGES: Final = frozenset(
    {Breakage.TOO_LARGE, Breakage.TOO_MANY_TOOL_CALLS}
)
"""Asking again gives the same and costs as much."""


class ListenerError(Exception):
    """
    Whoever listened to the stream raised; the model API has nothing to do with it.

    It never leaves the client: the caller gets what was raised.
    """

    def __init__(self, raised: Exception) -> None:
        super().__init__("the listener of a stream raised")
        self.raised = raised


def classify(error: BaseException | None) -> Classified:
    """
    Return what an attempt tells, given what it raised, or None if it returned.
    """
    match error:
        case UpstreamStatusError():
            return _classify_status_error(error)
        case UpstreamConnectionError(reason=reason):
            return Classified(outcome=Outcome.FAILURE, reason=reason, retryable=True)
        case UpstreamProtocolError(reason=reason):
            retryable = reason not in _PERMANENT_BREAKAGES
            return Classified(
                outcome=Outcome.FAILURE, reason=reason, retryable=retryable
            )
        case DeadlineExceededError():
            return Classified(outcome=Outcome.IGNORED, reason="deadline")
        case LimitExceededError() | ListenerError():
            return Classified(outcome=Outcome.IGNORED, reason="caller")
        case _:
            return classify_error(error)


def _classify_status_error(error: UpstreamStatusError) -> Classified:
    status = error.status
    if _QUOTA in {error.code, error.error_type}:
        # Nobody's health, and no wait makes it better.
        return Classified(outcome=Outcome.IGNORED, reason=_QUOTA, status=status)
    if status == HTTPStatus.OK:
        return _classify_reported(error)
    if status < HTTPStatus.BAD_REQUEST:
        reason = f"status_{status}"
        return Classified(outcome=Outcome.IGNORED, reason=reason, status=status)
    return classify_status(
        status, retry_after_s=error.retry_after_s, should_retry=error.should_retry
    )


def _classify_reported(error: UpstreamStatusError) -> Classified:
    """
    Judge an error that came with status 200, mostly inside a stream, by its words.
    """
    words = {error.code, error.error_type}
    if words & _SLOW_DOWN:
        as_status = HTTPStatus.TOO_MANY_REQUESTS
    elif _OVERLOADED in words:
        as_status = HTTPStatus.SERVICE_UNAVAILABLE
    elif _CALLERS_MISTAKE in words:
        as_status = HTTPStatus.BAD_REQUEST
    else:
        as_status = HTTPStatus.INTERNAL_SERVER_ERROR
    return replace(
        classify_status(as_status, should_retry=error.should_retry),
        reason="error_in_answer",
        status=HTTPStatus.OK,
    )
