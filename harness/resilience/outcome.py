"""
What an attempt tells about the peer.

An attempt has four outcomes, not two. A :class:`Classified` adds what the retry and
the rate limiter want to know; a *classifier* makes one from what the call raised.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus
from typing import Final

from harness.errors import AttemptTimeoutError, RejectedError, UsageError

SITE_OVERLOADED: Final = 529
"""Not registered, but in use: the site has more work than it can do."""

_BACKPRESSURE_STATUSES: Final = frozenset(
    {HTTPStatus.TOO_MANY_REQUESTS, SITE_OVERLOADED}
)
_RETRYABLE_CLIENT_STATUSES: Final = frozenset(
    {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT, HTTPStatus.TOO_EARLY}
)
_PERMANENT_SERVER_STATUSES: Final = frozenset(
    {HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED}
)


class Outcome(StrEnum):
    """
    What an attempt says about the peer's health.
    """

    SUCCESS = "success"
    FAILURE = "failure"

    BACKPRESSURE = "backpressure"
    """The peer is well and asks for fewer calls."""

    IGNORED = "ignored"
    """Nothing: cancelled by us, refused by us, or the caller's own mistake."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Classified:
    """
    An attempt's outcome with what the strategies ask about it.
    """

    outcome: Outcome
    reason: str
    """``ok``, or the cause in a few fixed words, like ``status_503`` or ``timeout``."""

    retryable: bool = False
    """Whether another attempt may succeed and does no harm."""

    retry_after_s: float | None = None
    """The wait that the peer asked for, unclamped."""

    status: int | None = None


Classifier = Callable[[BaseException | None], Classified]
"""Says what a call tells; it is given what the call raised, or None if it returned."""

SUCCEEDED: Final = Classified(outcome=Outcome.SUCCESS, reason="ok")
CANCELLED: Final = Classified(outcome=Outcome.IGNORED, reason="cancelled")
REJECTED: Final = Classified(outcome=Outcome.IGNORED, reason="rejected")

_KNOWN_ERRORS: Final[tuple[tuple[type[BaseException], Classified], ...]] = (
    (asyncio.CancelledError, CANCELLED),
    (RejectedError, REJECTED),
    (UsageError, Classified(outcome=Outcome.IGNORED, reason="usage")),
    (
        AttemptTimeoutError,
        Classified(outcome=Outcome.FAILURE, reason="timeout", retryable=True),
    ),
    (
        TimeoutError,
        Classified(outcome=Outcome.FAILURE, reason="timeout", retryable=True),
    ),
    (
        ConnectionError,
        Classified(outcome=Outcome.FAILURE, reason="connection", retryable=True),
    ),
    (Exception, Classified(outcome=Outcome.FAILURE, reason="error")),
)


def classify_status(
    status: int,
    *,
    retry_after_s: float | None = None,
    should_retry: bool | None = None,
) -> Classified:
    """
    Return what an HTTP status tells, success included.

    Args:
        status: The status of the answer.
        retry_after_s: The wait that was asked for, unclamped; None if none was usable.
        should_retry: What ``x-should-retry`` said, if it was there; it overrides the
            table.
    """
    reason = "ok" if status < HTTPStatus.BAD_REQUEST else f"status_{status}"
    outcome, retryable = _judge_status(status)
    return Classified(
        outcome=outcome,
        reason=reason,
        retryable=retryable if should_retry is None else should_retry,
        retry_after_s=retry_after_s,
        status=status,
    )


def _judge_status(status: int) -> tuple[Outcome, bool]:
    if status < HTTPStatus.BAD_REQUEST:
        return Outcome.SUCCESS, False
    if status in _BACKPRESSURE_STATUSES:
        return Outcome.BACKPRESSURE, True
    if status == HTTPStatus.REQUEST_TIMEOUT:
        return Outcome.FAILURE, True
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        return Outcome.IGNORED, status in _RETRYABLE_CLIENT_STATUSES
    if status == HTTPStatus.NOT_IMPLEMENTED:
        return Outcome.IGNORED, False
    return Outcome.FAILURE, status not in _PERMANENT_SERVER_STATUSES


def classify_error(error: BaseException | None) -> Classified:
    """
    Return what can be said of any call: the classifier of who has no better one.

    Whatever is not known is a failure and not retryable, because nobody said that
    doing it again does no harm.
    """
    if error is None:
        return SUCCEEDED
    for kind, classified in _KNOWN_ERRORS:
        if isinstance(error, kind):
            return classified
    # Not even an Exception: the interpreter is going down, or a generator is closed.
    return CANCELLED
