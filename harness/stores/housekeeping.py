"""
The SQL of what nobody asks for by name: counting and forgetting.
"""

from typing import Final

import apsw

from harness.stores.options import StoreOptions
from harness.stores.records import StoreCounts
from harness.stores.rows import change, row, to_us

_COUNTS: Final = """
SELECT (SELECT count(*) FROM deliveries WHERE state = 'waiting')
     + (SELECT count(*) FROM deliveries WHERE state = 'sending'),
       (SELECT count(*) FROM deliveries WHERE state = 'dead'),
       (SELECT count(*) FROM calls WHERE state = 'pending'),
       (SELECT count(*) FROM callbacks WHERE state = 'pending')
"""

_RELEASE_KEYS: Final = "DELETE FROM idempotency_keys WHERE status IS NULL"

# Deliveries and attempts go with their message.
_FORGET_DELIVERED: Final = """
DELETE FROM messages WHERE message_id IN (
    SELECT message_id FROM deliveries
    WHERE state = 'delivered' AND ended_us < :before_us
    ORDER BY ended_us LIMIT :rows_max
)
"""

_FORGET_DEAD: Final = """
DELETE FROM messages WHERE message_id IN (
    SELECT message_id FROM deliveries
    WHERE state = 'dead' AND ended_us < :before_us
    ORDER BY ended_us LIMIT :rows_max
)
"""

_FORGET_INBOX: Final = """
DELETE FROM inbox WHERE message_id IN (
    SELECT message_id FROM inbox WHERE received_us < :before_us
    ORDER BY received_us LIMIT :rows_max
)
"""

_FORGET_CALLS: Final = """
DELETE FROM calls WHERE tool_call_id IN (
    SELECT tool_call_id FROM calls WHERE keep_until_us < :before_us
    ORDER BY keep_until_us LIMIT :rows_max
)
"""

_FORGET_OLD_CALLS: Final = """
DELETE FROM calls WHERE tool_call_id IN (
    SELECT tool_call_id FROM calls
    WHERE state <> 'pending' AND created_us < :before_us
    ORDER BY created_us LIMIT :rows_max
)
"""

_FORGET_CALLBACKS: Final = """
DELETE FROM callbacks WHERE callback_id IN (
    SELECT callback_id FROM callbacks WHERE keep_until_us < :before_us
    ORDER BY keep_until_us LIMIT :rows_max
)
"""

_FORGET_OLD_CALLBACKS: Final = """
DELETE FROM callbacks WHERE callback_id IN (
    SELECT callback_id FROM callbacks
    WHERE state <> 'pending' AND expires_us < :before_us
    ORDER BY expires_us LIMIT :rows_max
)
"""

_FORGET_SESSIONS: Final = """
DELETE FROM sessions WHERE session_id IN (
    SELECT session_id FROM sessions WHERE saved_us < :before_us
    ORDER BY saved_us LIMIT :rows_max
)
"""

_FORGET_KEYS: Final = """
DELETE FROM idempotency_keys WHERE key IN (
    SELECT key FROM idempotency_keys WHERE begun_us < :before_us
    ORDER BY begun_us LIMIT :rows_max
)
"""

_SHRINK: Final = "PRAGMA incremental_vacuum(1000)"


def count(connection: apsw.Connection) -> StoreCounts:
    """
    Return how much is still to be done.
    """
    waiting, dead, calls, chats = row(connection, _COUNTS) or (0, 0, 0, 0)
    return StoreCounts(
        waiting_deliveries=waiting,
        dead_letters=dead,
        pending_calls=calls,
        pending_chats=chats,
    )


def release_keys(connection: apsw.Connection) -> None:
    """
    Free the idempotency keys of requests that died with their process.
    """
    change(connection, _RELEASE_KEYS)


def forget(connection: apsw.Connection, *, now_s: float, options: StoreOptions) -> int:
    """
    Delete what is kept no longer, a bounded number of rows, and return how many.
    """
    ages = (
        (_FORGET_DELIVERED, options.dedupe_keep_s),
        (_FORGET_DEAD, options.dead_letter_keep_s),
        (_FORGET_INBOX, options.dedupe_keep_s),
        (_FORGET_CALLS, 0.0),
        (_FORGET_OLD_CALLS, options.dedupe_keep_s),
        (_FORGET_CALLBACKS, 0.0),
        (_FORGET_OLD_CALLBACKS, options.dedupe_keep_s),
        (_FORGET_SESSIONS, options.session_keep_s),
        (_FORGET_KEYS, options.idempotency_keep_s),
    )
    forgotten = sum(
        change(
            connection,
            statement,
            before_us=to_us(now_s - keep_s),
            rows_max=options.sweep_rows_max,
        )
        for statement, keep_s in ages
    )
    if forgotten:
        connection.execute(_SHRINK).fetchall()
    return forgotten
