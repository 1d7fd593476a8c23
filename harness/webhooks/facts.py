"""
The events of a delivery, from what was committed about it.
"""

from harness.events import (
    Event,
    WebhookAttemptEnded,
    WebhookDead,
    WebhookDelivered,
    WebhookRetryScheduled,
)
from harness.stores import (
    ClaimedDelivery,
    Delivered,
    DeliveryAttempt,
    GiveUp,
    NextStep,
    RetryAt,
)


def attempt_ended(
    claimed: ClaimedDelivery, attempt: DeliveryAttempt
) -> WebhookAttemptEnded:
    """
    Return the event of an attempt that came to something.
    """
    return WebhookAttemptEnded(
        message_id=claimed.message_id,
        endpoint=claimed.endpoint,
        attempt_number=claimed.attempt_number,
        outcome=attempt.outcome,
        reason=attempt.reason,
        duration_s=attempt.duration_s,
        status=attempt.status,
    )


def step_taken(
    claimed: ClaimedDelivery, attempt: DeliveryAttempt, step: NextStep, now_s: float
) -> Event:
    """
    Return the event of what followed from an attempt.
    """
    match step:
        case Delivered():
            return WebhookDelivered(
                message_id=claimed.message_id,
                endpoint=claimed.endpoint,
                attempt_number=claimed.attempt_number,
            )
        case RetryAt(due_s=due_s):
            return WebhookRetryScheduled(
                message_id=claimed.message_id,
                endpoint=claimed.endpoint,
                attempt_number=claimed.attempt_number,
                # A Unix time has no more than microseconds in a float.
                delay_s=round(due_s - now_s, 6),
                reason=attempt.reason,
            )
        case GiveUp(reason=reason):
            return WebhookDead(
                message_id=claimed.message_id,
                endpoint=claimed.endpoint,
                attempt_number=claimed.attempt_number,
                reason=reason,
            )
