"""
What a caller is told when a chat fails: one table from errors to statuses.

The texts name what happened and no more: what a peer wrote into its answer may hold
anything, secrets included, and is for the log.
"""

from dataclasses import dataclass
from typing import Any, Final

from harness.errors import (
    AttemptTimeoutError,
    BulkheadFullError,
    CircuitOpenError,
    DeadlineExceededError,
    HarnessError,
    IdempotencyConflictError,
    IdempotencyRunningError,
    LimitExceededError,
    PayloadError,
    RateLimitedError,
    RejectedError,
    StoppingError,
    StoreUnavailableError,
    UpstreamConnectionError,
    UpstreamError,
    UpstreamProtocolError,
    UpstreamStatusError,
    UsageError,
)
from harness.ids import SessionId, TraceId

CANCELLED: Final = "cancelled"
CALLER_LEFT_STATUS: Final = 499
"""Never sent: there is nobody to send it to. The status that proxies use for it."""


class SessionForeignError(UsageError):
    """
    The session belongs to another user.
    """

    def __init__(self, *, session_id: SessionId) -> None:
        super().__init__(f"session {session_id!r} belongs to another user")
        self.session_id = session_id


class CallerLeftError(HarnessError):
    """
    Nobody waits for the answer any more.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """
    A failed chat as its caller is told about it.
    """

    status: int
    code: str
    message: str
    retry_after_s: float | None = None

    def to_error(self, *, trace_id: TraceId | None) -> dict[str, Any]:
        """
        Return the error object of answers, events and webhooks.
        """
        error: dict[str, Any] = {
            "code": self.code,
            "message": self.message,
            "trace_id": trace_id,
        }
        if self.retry_after_s is not None:
            error["retry_after_s"] = round(self.retry_after_s, 3)
        return error


INTERNAL = Failure(
    status=500, code="internal_error", message="the service made a mistake"
)


_TOLD: Final[tuple[tuple[type[HarnessError], int, str], ...]] = (
    (UpstreamStatusError, 502, "upstream_status"),
    (UpstreamConnectionError, 502, "upstream_connection"),
    (UpstreamProtocolError, 502, "upstream_protocol"),
    (AttemptTimeoutError, 502, "upstream_timeout"),
    (UpstreamError, 502, "upstream_failed"),
    (RateLimitedError, 429, "rate_limited"),
    (CircuitOpenError, 503, "circuit_open"),
    (BulkheadFullError, 503, "bulkhead_full"),
    (StoppingError, 503, "stopping"),
    (RejectedError, 503, "overloaded"),
    (DeadlineExceededError, 504, "deadline_exceeded"),
    (LimitExceededError, 502, "limit_exceeded"),
    (IdempotencyRunningError, 409, "idempotency_running"),
    (IdempotencyConflictError, 422, "idempotency_conflict"),
    (SessionForeignError, 403, "forbidden"),
    (CallerLeftError, CALLER_LEFT_STATUS, CANCELLED),
    (StoreUnavailableError, 503, "store_unavailable"),
    (PayloadError, 502, "result_unsendable"),
    (UsageError, 422, "invalid_request"),
)
"""The first class that fits decides about status and code."""

_ASK_AGAIN_S: Final = 1.0
"""Told with a refusal for which nothing better is known."""


def describe(error: BaseException) -> Failure:
    """
    Return what a caller is told about an error.
    """
    for kind, status, code in _TOLD:
        if isinstance(error, kind):
            return Failure(
                status=status,
                code=code,
                message=_message(error),
                retry_after_s=_retry_after_s(error, status=status),
            )
    return INTERNAL


_TEXTS: Final[tuple[tuple[type[HarnessError], str], ...]] = (
    (UpstreamStatusError, "the model API answered {status}"),
    (UpstreamConnectionError, "the connection to the model API failed: {reason}"),
    (UpstreamProtocolError, "the model API gave a broken answer: {reason}"),
    (AttemptTimeoutError, "the model API gave no full answer within {timeout_s:g} s"),
    (UpstreamError, "the model API failed"),
    (StoreUnavailableError, "nothing was committed; ask again later"),
)
"""Texts for errors whose own may quote what a peer or a disk said."""


def _message(error: BaseException) -> str:
    for kind, text in _TEXTS:
        if isinstance(error, kind):
            return text.format_map(vars(error))
    return str(error)


def _retry_after_s(error: BaseException, *, status: int) -> float | None:
    asked_s: float | None = getattr(error, "retry_after_s", None)
    if asked_s is None and status in {409, 429, 503}:
        return _ASK_AGAIN_S
    return asked_s


def first_error(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """
    Return the first error inside a group, however deep.
    """
    error: BaseException = group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
