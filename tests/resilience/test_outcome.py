"""
What answers and errors tell about the peer.
"""

import asyncio

import pytest

from harness.errors import AttemptTimeoutError, CircuitOpenError, UsageError
from harness.resilience import Outcome, classify_error, classify_status


@pytest.mark.parametrize(
    ("statuses", "outcome", "retryable"),
    [
        ((200, 201, 202, 204, 304), Outcome.SUCCESS, False),
        ((400, 401, 403, 404, 410, 413, 415, 422), Outcome.IGNORED, False),
        ((409, 425), Outcome.IGNORED, True),
        ((408,), Outcome.FAILURE, True),
        ((429, 529), Outcome.BACKPRESSURE, True),
        ((500, 502, 503, 504, 520, 599), Outcome.FAILURE, True),
        ((501,), Outcome.IGNORED, False),
        ((505,), Outcome.FAILURE, False),
    ],
)
def test_statuses(
    statuses: tuple[int, ...],
    outcome: Outcome,
    retryable: bool,  # noqa: FBT001 - a column of the table
) -> None:
    """
    Each status has its outcome, and is retried where that may help.
    """
    for status in statuses:
        classified = classify_status(status)

        assert (classified.outcome, classified.retryable) == (outcome, retryable)
        assert classified.status == status


def test_the_peer_may_say_whether_to_retry() -> None:
    """
    ``x-should-retry`` overrides the table, and leaves the outcome alone.
    """
    assert classify_status(400, should_retry=True).retryable
    assert not classify_status(503, should_retry=False).retryable
    assert classify_status(503, should_retry=False).outcome is Outcome.FAILURE


@pytest.mark.parametrize(
    ("error", "outcome", "reason"),
    [
        (None, Outcome.SUCCESS, "ok"),
        (asyncio.CancelledError(), Outcome.IGNORED, "cancelled"),
        (KeyboardInterrupt(), Outcome.IGNORED, "cancelled"),
        (
            CircuitOpenError(circuit="x", state="open", retry_after_s=1),
            Outcome.IGNORED,
            "rejected",
        ),
        (UsageError("mine"), Outcome.IGNORED, "usage"),
        (AttemptTimeoutError(timeout_s=1), Outcome.FAILURE, "timeout"),
        (TimeoutError(), Outcome.FAILURE, "timeout"),
        (ConnectionResetError(), Outcome.FAILURE, "connection"),
        (ValueError("?"), Outcome.FAILURE, "error"),
    ],
)
def test_errors(error: BaseException | None, outcome: Outcome, reason: str) -> None:
    """
    What we did ourselves says nothing about the peer; what is unknown is a failure.
    """
    classified = classify_error(error)

    assert (classified.outcome, classified.reason) == (outcome, reason)
