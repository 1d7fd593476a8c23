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

# Most sweeps find nothing, and asking costs a fraction of deleting nothing.
_IS_ANYTHING_OLD: Final = """
SELECT EXISTS (SELECT 1 FROM deliveries
               WHERE state = 'delivered' AND ended_us < :dedupe_us)
    OR EXISTS (SELECT 1 FROM deliveries
               WHERE state = 'dead' AND ended_us < :dead_us)
    OR EXISTS (SELECT 1 FROM inbox WHERE received_us < :dedupe_us)
    OR EXISTS (SELECT 1 FROM calls WHERE keep_until_us < :now_us)
    OR EXISTS (SELECT 1 FROM calls
               WHERE state <> 'pending' AND created_us < :dedupe_us)
    OR EXISTS (SELECT 1 FROM callbacks WHERE keep_until_us < :now_us)
    OR EXISTS (SELECT 1 FROM callbacks
               WHERE state <> 'pending' AND expires_us < :dedupe_us)
    OR EXISTS (SELECT 1 FROM sessions WHERE saved_us < :session_us)
    OR EXISTS (SELECT 1 FROM idempotency_keys WHERE begun_us < :idempotency_us)
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
    before_us = {
        "now_us": to_us(now_s),
        "dedupe_us": to_us(now_s - options.dedupe_keep_s),
        "dead_us": to_us(now_s - options.dead_letter_keep_s),
        "session_us": to_us(now_s - options.session_keep_s),
        "idempotency_us": to_us(now_s - options.idempotency_keep_s),
    }
    if row(connection, _IS_ANYTHING_OLD, **before_us) == (0,):
        return 0
    ages = (
        (_FORGET_DELIVERED, "dedupe_us"),
        (_FORGET_DEAD, "dead_us"),
        (_FORGET_INBOX, "dedupe_us"),
        (_FORGET_CALLS, "now_us"),
        (_FORGET_OLD_CALLS, "dedupe_us"),
        (_FORGET_CALLBACKS, "now_us"),
        (_FORGET_OLD_CALLBACKS, "dedupe_us"),
        (_FORGET_SESSIONS, "session_us"),
        (_FORGET_KEYS, "idempotency_us"),
    )
    forgotten = sum(
        change(
            connection,
            statement,
            before_us=before_us[time],
            rows_max=options.sweep_rows_max,
        )
        for statement, time in ages
    )
    if forgotten:
        connection.execute(_SHRINK).fetchall()
    return forgotten
