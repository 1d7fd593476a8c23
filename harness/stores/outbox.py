"""
The SQL of outgoing webhooks: messages, deliveries and their attempts.
"""

from collections.abc import Collection, Sequence
from typing import Final

import apsw

from harness.ids import DeliveryId, MessageId
from harness.stores.records import (
    ClaimedDelivery,
    DeadLetter,
    Delivered,
    DeliveryAttempt,
    DeliveryState,
    GiveUp,
    NewMessage,
    NextStep,
    RetryAt,
)
from harness.stores.rows import Row, change, row, rows, to_s, to_us

_INSERT_MESSAGE: Final = """
INSERT INTO messages (message_id, event_type, body, dedupe_key, tool_call_id,
                      callback_id, trace_id, created_us)
VALUES (:message_id, :event_type, :body, :dedupe_key, :tool_call_id,
        :callback_id, :trace_id, :now_us)
ON CONFLICT (dedupe_key) DO NOTHING
"""

_INSERT_DELIVERY: Final = """
INSERT INTO deliveries (delivery_id, message_id, endpoint, state, due_us)
VALUES (:delivery_id, :message_id, :endpoint, 'waiting', :now_us)
"""

_INSERT_ATTEMPT: Final = """
INSERT INTO attempts (delivery_id, fence, attempt_number, started_us, duration_us,
                      outcome, reason, status)
VALUES (:delivery_id, :fence, :attempt_number, :started_us, :duration_us,
        :outcome, :reason, :status)
"""

_FINISH: Final = """
UPDATE deliveries
SET state = :state, due_us = coalesce(:due_us, due_us), ended_us = :ended_us,
    reason = :reason, last_error = :last_error, crashes = 0,
    owner = NULL, claimed_us = NULL, lease_until_us = NULL
WHERE delivery_id = :delivery_id AND fence = :fence AND state = 'sending'
"""

_KEEP_CALL: Final = """
UPDATE calls SET keep_until_us = :keep_until_us
WHERE state <> 'pending' AND tool_call_id = (
    SELECT tool_call_id FROM messages JOIN deliveries USING (message_id)
    WHERE delivery_id = :delivery_id
)
"""

_KEEP_CALLBACK: Final = """
UPDATE callbacks SET keep_until_us = :keep_until_us
WHERE state <> 'pending' AND callback_id = (
    SELECT callback_id FROM messages JOIN deliveries USING (message_id)
    WHERE delivery_id = :delivery_id
)
"""

_NEXT_DUE: Final = """
SELECT min(due_us) FROM deliveries WHERE state = 'waiting' AND endpoint = :endpoint
"""

_NEXT_LEASE_OVER: Final = """
SELECT min(lease_until_us) FROM deliveries WHERE state = 'sending'
"""

_ATTEMPTS: Final = """
SELECT started_us, duration_us, outcome, attempts.reason, status
FROM attempts JOIN deliveries USING (delivery_id)
WHERE message_id = :message_id
ORDER BY attempts.fence
"""

_LETTER: Final = """
SELECT message_id, event_type, endpoint, reason, attempts, last_error
FROM deliveries JOIN messages USING (message_id)
WHERE state = 'dead'
"""

_DEAD_LETTERS: Final = (
    f"{_LETTER} ORDER BY ended_us, deliveries.rowid LIMIT :letters_max"
)

_DEAD_LETTER: Final = f"{_LETTER} AND message_id = :message_id"

_REDELIVER: Final = """
UPDATE deliveries
SET state = 'waiting', due_us = :now_us, attempts = 0, crashes = 0,
    ended_us = NULL, reason = NULL
WHERE message_id = :message_id AND state = 'dead'
"""


# Deliveries and attempts go with their message.
_PURGE: Final = "DELETE FROM messages WHERE message_id = :message_id"


def insert_message(
    connection: apsw.Connection,
    message: NewMessage,
    *,
    delivery_id: DeliveryId,
    now_us: int,
) -> bool:
    """
    Write a message and its delivery; False if the dedupe key was known.
    """
    is_added = change(
        connection,
        _INSERT_MESSAGE,
        message_id=message.message_id,
        event_type=message.event_type,
        body=message.body,
        dedupe_key=message.dedupe_key,
        tool_call_id=message.tool_call_id,
        callback_id=message.callback_id,
        trace_id=message.trace_id,
        now_us=now_us,
    )
    if is_added:
        change(
            connection,
            _INSERT_DELIVERY,
            delivery_id=delivery_id,
            message_id=message.message_id,
            endpoint=message.endpoint,
            now_us=now_us,
        )
    return bool(is_added)


def finish(
    connection: apsw.Connection,
    claimed: ClaimedDelivery,
    *,
    attempt: DeliveryAttempt,
    step: NextStep,
    now_us: int,
    keep_until_us: int,
) -> bool:
    """
    Record an attempt and the new state, unless the fence was overtaken.
    """
    state, due_us, reason = _state_after(step)
    has_ended = due_us is None
    is_ours = change(
        connection,
        _FINISH,
        delivery_id=claimed.delivery_id,
        fence=claimed.fence,
        state=state,
        due_us=due_us,
        ended_us=now_us if has_ended else None,
        reason=reason,
        last_error=None if state is DeliveryState.DELIVERED else attempt.reason,
    )
    if not is_ours:
        return False
    insert_attempt(
        connection,
        delivery_id=claimed.delivery_id,
        fence=claimed.fence,
        attempt_number=claimed.attempt_number,
        attempt=attempt,
    )
    if has_ended:
        for keep in (_KEEP_CALL, _KEEP_CALLBACK):
            change(
                connection,
                keep,
                delivery_id=claimed.delivery_id,
                keep_until_us=keep_until_us,
            )
    return True


def _state_after(step: NextStep) -> tuple[DeliveryState, int | None, str | None]:
    match step:
        case Delivered():
            return DeliveryState.DELIVERED, None, None
        case RetryAt(due_s=due_s):
            return DeliveryState.WAITING, to_us(due_s), None
        case GiveUp(reason=reason):
            return DeliveryState.DEAD, None, reason


def insert_attempt(
    connection: apsw.Connection,
    *,
    delivery_id: str,
    fence: int,
    attempt_number: int,
    attempt: DeliveryAttempt,
) -> None:
    """
    Write an attempt; one per fence.
    """
    change(
        connection,
        _INSERT_ATTEMPT,
        delivery_id=delivery_id,
        fence=fence,
        attempt_number=attempt_number,
        started_us=to_us(attempt.started_s),
        duration_us=to_us(attempt.duration_s),
        outcome=attempt.outcome,
        reason=attempt.reason,
        status=attempt.status,
    )


def next_due_us(connection: apsw.Connection, endpoints: Collection[str]) -> int | None:
    """
    Return when something is to be claimed: a delivery due, or a lease that is over.
    """
    times = [row(connection, _NEXT_DUE, endpoint=name) for name in endpoints]
    times.append(row(connection, _NEXT_LEASE_OVER))
    return min(
        (time[0] for time in times if time and time[0] is not None), default=None
    )


def attempts_of(
    connection: apsw.Connection, message_id: MessageId
) -> Sequence[DeliveryAttempt]:
    """
    Return the attempts to deliver a message, oldest first.
    """
    return [
        DeliveryAttempt(
            started_s=to_s(started_us),
            duration_s=to_s(duration_us),
            outcome=outcome,
            reason=reason,
            status=status,
        )
        for started_us, duration_us, outcome, reason, status in rows(
            connection, _ATTEMPTS, message_id=message_id
        )
    ]


def dead_letters(connection: apsw.Connection, letters_max: int) -> Sequence[DeadLetter]:
    """
    Return what was given up, oldest first.
    """
    found = rows(connection, _DEAD_LETTERS, letters_max=letters_max)
    return [_letter(each) for each in found]


def redeliver(
    connection: apsw.Connection, message_id: MessageId, *, now_us: int
) -> DeadLetter | None:
    """
    Put a dead letter back; None if there is none.
    """
    found = row(connection, _DEAD_LETTER, message_id=message_id)
    if found is None:
        return None
    change(connection, _REDELIVER, message_id=message_id, now_us=now_us)
    return _letter(found)


def purge(connection: apsw.Connection, message_id: MessageId) -> DeadLetter | None:
    """
    Forget a dead letter; None if there is none.
    """
    found = row(connection, _DEAD_LETTER, message_id=message_id)
    if found is None:
        return None
    change(connection, _PURGE, message_id=message_id)
    return _letter(found)


def _letter(found: Row) -> DeadLetter:
    message_id, event_type, endpoint, reason, attempts, last_error = found
    return DeadLetter(
        message_id=MessageId(message_id),
        event_type=event_type,
        endpoint=endpoint,
        reason=reason,
        attempts=attempts,
        last_error=last_error or "",
    )
