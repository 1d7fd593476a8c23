"""
What a caller is told about each error.
"""

import pytest

from harness.errors import (
    AttemptTimeoutError,
    BulkheadFullError,
    CircuitOpenError,
    DeadlineExceededError,
    IdempotencyConflictError,
    IdempotencyRunningError,
    LimitExceededError,
    OverloadedError,
    RateLimitedError,
    StoreUnavailableError,
    UpstreamConnectionError,
    UpstreamProtocolError,
    UpstreamStatusError,
    UsageError,
)
from harness.orchestrator import INTERNAL, describe


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (UpstreamStatusError(status=500), 502, "upstream_status"),
        (UpstreamConnectionError(reason="reset"), 502, "upstream_connection"),
        (UpstreamProtocolError(reason="truncated"), 502, "upstream_protocol"),
        (AttemptTimeoutError(timeout_s=1), 502, "upstream_timeout"),
        (
            CircuitOpenError(circuit="x", state="open", retry_after_s=3),
            503,
            "circuit_open",
        ),
        (RateLimitedError(limiter="x", retry_after_s=3), 429, "rate_limited"),
        (
            BulkheadFullError(bulkhead="x", permits_max=1, waiting_max=1),
            503,
            "bulkhead_full",
        ),
        (OverloadedError(limit="x", value=1), 503, "overloaded"),
        (DeadlineExceededError(deadline_in_s=0), 504, "deadline_exceeded"),
        (LimitExceededError(limit="turns_max", value=8), 502, "limit_exceeded"),
        (StoreUnavailableError(reason="disk_full"), 503, "store_unavailable"),
        (IdempotencyRunningError(key="k"), 409, "idempotency_running"),
        (IdempotencyConflictError(key="k"), 422, "idempotency_conflict"),
        (UsageError("no"), 422, "invalid_request"),
        (RuntimeError("secret"), 500, "internal_error"),
    ],
)
def test_each_error_has_its_status(error: Exception, status: int, code: str) -> None:
    """
    Every error of the tree has one status and one code.
    """
    failure = describe(error)

    assert (failure.status, failure.code) == (status, code)


@pytest.mark.parametrize("status", [429, 503, 409])
def test_refusals_say_when_to_come_back(status: int) -> None:
    """
    Whoever is refused is told when asking again makes sense.
    """
    errors = {
        429: RateLimitedError(limiter="x", retry_after_s=2.5),
        503: BulkheadFullError(bulkhead="x", permits_max=1, waiting_max=1),
        409: IdempotencyRunningError(key="k"),
    }

    failure = describe(errors[status])

    assert failure.status == status
    assert failure.retry_after_s == (2.5 if status == 429 else 1.0)


def test_what_peers_said_stays_here() -> None:
    """
    Texts of peers and of unforeseen errors are not passed on.
    """
    loud = UpstreamStatusError(status=401, message="key sk-secret-1 is wrong")

    assert "sk-secret-1" not in describe(loud).message
    assert describe(RuntimeError("sk-secret-1")) is INTERNAL
    assert "sk-secret-1" not in INTERNAL.message
