import asyncio
from typing import Any

import pytest

from harness.errors import (
    AttemptTimeoutError,
    CircuitOpenError,
    DeadlineExceededError,
    LimitExceededError,
    RateLimitedError,
    UpstreamConnectionError,
    UpstreamProtocolError,
    UpstreamStatusError,
    UsageError,
)
from harness.resilience import Outcome
from harness.upstream import Breakage, classify

SUCCESS, FAILURE = Outcome.SUCCESS, Outcome.FAILURE
BACKPRESSURE, IGNORED = Outcome.BACKPRESSURE, Outcome.IGNORED


def status(status: int, **others: Any) -> UpstreamStatusError:
    """
    Return an answer with an error status.
    """
    return UpstreamStatusError(status=status, **others)


CASES: list[tuple[BaseException | None, Outcome, bool]] = [
    (None, SUCCESS, False),
    *[(status(code), FAILURE, True) for code in (408, 500, 502, 503, 504, 520, 599)],
    *[(status(code), BACKPRESSURE, True) for code in (429, 529)],
    *[(status(code), IGNORED, True) for code in (409, 425)],
    *[
        (status(code), IGNORED, False)
        for code in (204, 301, 302, 307, 400, 401, 403, 404, 405, 413, 415, 422, 501)
    ],
    (status(505), FAILURE, False),
    (status(429, code="insufficient_quota"), IGNORED, False),
    (status(429, error_type="insufficient_quota", should_retry=True), IGNORED, False),
    (status(500, should_retry=False), FAILURE, False),
    (status(404, should_retry=True), IGNORED, True),
    (status(200), FAILURE, True),
    (status(200, error_type="server_error"), FAILURE, True),
    (status(200, code="server_is_overloaded"), FAILURE, True),
    (status(200, code="rate_limit_exceeded", error_type="tokens"), BACKPRESSURE, True),
    (status(200, error_type="invalid_request_error"), IGNORED, False),
    (status(200, code="insufficient_quota"), IGNORED, False),
    *[
        (UpstreamConnectionError(reason=reason), FAILURE, True)
        for reason in ("refused", "reset", "closed", "tls", "dns", "other")
    ],
    *[
        (
            UpstreamProtocolError(reason=reason),
            FAILURE,
            reason not in {Breakage.TOO_LARGE, Breakage.TOO_MANY_TOOL_CALLS},
        )
        for reason in Breakage
    ],
    (AttemptTimeoutError(timeout_s=1), FAILURE, True),
    (asyncio.CancelledError(), IGNORED, False),
    (CircuitOpenError(circuit="c", state="open", retry_after_s=1), IGNORED, False),
    (RateLimitedError(limiter="l", retry_after_s=1), IGNORED, False),
    (DeadlineExceededError(deadline_in_s=0), IGNORED, False),
    (LimitExceededError(limit="x", value=1), IGNORED, False),
    (UsageError("no"), IGNORED, False),
    (ValueError("bug"), FAILURE, False),
]


@pytest.mark.parametrize(
    ("error", "outcome", "retryable"), CASES, ids=[str(case[0]) for case in CASES]
)
def test_classifies(
    error: BaseException | None, outcome: Outcome, *, retryable: bool
) -> None:
    """
    Each end of an attempt has one outcome, and is asked for again or not.
    """
    classified = classify(error)

    assert (classified.outcome, classified.retryable) == (outcome, retryable)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (None, "ok"),
        (status(503), "status_503"),
        (status(429, code="insufficient_quota"), "insufficient_quota"),
        (status(200), "error_in_answer"),
        (UpstreamConnectionError(reason="reset"), "reset"),
        (UpstreamProtocolError(reason=Breakage.TRUNCATED), "truncated"),
        (AttemptTimeoutError(timeout_s=1), "timeout"),
        (asyncio.CancelledError(), "cancelled"),
    ],
)
def test_names_reason(error: BaseException | None, reason: str) -> None:
    """
    The reason is a fixed word.
    """
    assert classify(error).reason == reason


def test_passes_wait_on() -> None:
    """
    The wait that was asked for is passed on unclamped.
    """
    assert classify(status(429, retry_after_s=1800.0)).retry_after_s == 1800.0
