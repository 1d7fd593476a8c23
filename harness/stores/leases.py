"""
The SQL of leases: claiming what is due, giving it back, releasing what was cut off.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Final

import apsw

from harness.ids import DeliveryId, MessageId
from harness.stores.outbox import insert_attempt
from harness.stores.records import ClaimedDelivery, DeliveryAttempt
from harness.stores.rows import change, row, rows, to_s

UNKNOWN_CRASH: Final = "unknown_crash"
"""The outcome of an attempt whose end nobody recorded."""

_CLAIM: Final = """
UPDATE deliveries
SET state = 'sending', attempts = attempts + 1, fence = fence + 1,
    owner = :owner, claimed_us = :now_us, lease_until_us = :lease_until_us
WHERE delivery_id IN (
    SELECT delivery_id FROM deliveries
    WHERE state = 'waiting' AND endpoint = :endpoint AND due_us <= :now_us
    ORDER BY due_us, rowid
    LIMIT :deliveries_max
)
RETURNING due_us, rowid, delivery_id, message_id, endpoint, attempts, fence
"""

_MESSAGE: Final = """
SELECT event_type, body, created_us, trace_id FROM messages
WHERE message_id = :message_id
"""

_LEASES_OVER: Final = """
SELECT delivery_id, fence, attempts, claimed_us, crashes FROM deliveries
WHERE state = 'sending' AND lease_until_us <= :until_us
ORDER BY lease_until_us, rowid
"""

_RELEASE: Final = """
UPDATE deliveries
SET state = 'waiting', due_us = :due_us, crashes = crashes + :crashes,
    owner = NULL, claimed_us = NULL, lease_until_us = NULL, last_error = :error
WHERE delivery_id = :delivery_id
"""

_GIVE_BACK: Final = """
UPDATE deliveries
SET state = 'waiting', attempts = attempts - 1,
    owner = NULL, claimed_us = NULL, lease_until_us = NULL
WHERE delivery_id = :delivery_id AND fence = :fence AND state = 'sending'
"""

_DIE_OF_CRASHES: Final = """
UPDATE deliveries
SET state = 'dead', reason = 'crashes', ended_us = :now_us, last_error = :error,
    owner = NULL, claimed_us = NULL, lease_until_us = NULL
WHERE delivery_id = :delivery_id
"""


def claim(
    connection: apsw.Connection,
    *,
    owner: str,
    room: Mapping[str, int],
    now_us: int,
    lease_until_us: int,
    crashes_max: int,
) -> Sequence[ClaimedDelivery]:
    """
    Lease what is due, after releasing leases that ran out.
    """
    release_leases(
        connection,
        until_us=now_us,
        now_us=now_us,
        due_us=lambda _: now_us,
        crashes_max=crashes_max,
    )
    taken = [
        found
        for endpoint, deliveries_max in room.items()
        for found in rows(
            connection,
            _CLAIM,
            owner=owner,
            endpoint=endpoint,
            now_us=now_us,
            lease_until_us=lease_until_us,
            deliveries_max=max(deliveries_max, 0),
        )
    ]
    # RETURNING promises no order.
    taken.sort(key=lambda found: found[:2])
    return [_claimed(connection, found[2:]) for found in taken]


def _claimed(
    connection: apsw.Connection, found: tuple[str, str, str, int, int]
) -> ClaimedDelivery:
    delivery_id, message_id, endpoint, attempt_number, fence = found
    message = row(connection, _MESSAGE, message_id=message_id)
    if message is None:
        raise LookupError(message_id)
    event_type, body, created_us, trace_id = message
    return ClaimedDelivery(
        delivery_id=DeliveryId(delivery_id),
        message_id=MessageId(message_id),
        event_type=event_type,
        body=body,
        endpoint=endpoint,
        attempt_number=attempt_number,
        fence=fence,
        created_s=to_s(created_us),
        trace_id=trace_id,
    )


def give_back(connection: apsw.Connection, claimed: ClaimedDelivery) -> bool:
    """
    Undo a claim, its count of attempts too, unless the fence was overtaken.
    """
    # The fence stays where it is: what still holds this claim can change nothing.
    return bool(
        change(
            connection,
            _GIVE_BACK,
            delivery_id=claimed.delivery_id,
            fence=claimed.fence,
        )
    )


def release_leases(
    connection: apsw.Connection,
    *,
    until_us: int,
    now_us: int,
    due_us: Callable[[str], int],
    crashes_max: int,
    reason: str = UNKNOWN_CRASH,
) -> int:
    """
    Release leases that end until then, and record their attempts as cut off.

    Args:
        connection: Inside a transaction.
        until_us: The last end of a lease that counts as over.
        now_us: The wall clock.
        due_us: When a delivery of this id is due again.
        crashes_max: A delivery whose attempts were cut off so often in a row is dead:
            it may be what crashes its sender.
        reason: Why they were cut off.

    Returns:
        How many there were.
    """
    over = list(rows(connection, _LEASES_OVER, until_us=until_us))
    for delivery_id, fence, attempt_number, claimed_us, crashes in over:
        insert_attempt(
            connection,
            delivery_id=delivery_id,
            fence=fence,
            attempt_number=attempt_number,
            attempt=DeliveryAttempt(
                started_s=to_s(claimed_us),
                duration_s=max(to_s(now_us - claimed_us), 0.0),
                outcome=UNKNOWN_CRASH,
                reason=reason,
            ),
        )
        if reason == UNKNOWN_CRASH and crashes + 1 >= crashes_max:
            change(
                connection,
                _DIE_OF_CRASHES,
                delivery_id=delivery_id,
                now_us=now_us,
                error=reason,
            )
            continue
        change(
            connection,
            _RELEASE,
            delivery_id=delivery_id,
            due_us=due_us(delivery_id),
            crashes=int(reason == UNKNOWN_CRASH),
            error=reason,
        )
    return len(over)
