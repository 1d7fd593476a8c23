"""
The SQL of asynchronous chats, sessions and idempotency keys.
"""

from collections.abc import Sequence
from typing import Final

import apsw

from harness.ids import CallbackId, DeliveryId, SessionId, TraceId
from harness.stores.outbox import insert_message
from harness.stores.records import (
    AnsweredKey,
    CallbackRecord,
    CallbackState,
    IdempotencyBegun,
    IdempotencyMismatch,
    IdempotencyRunning,
    IdempotencyState,
    IdempotentAnswer,
    NewMessage,
)
from harness.stores.rows import Row, change, row, rows, to_s, to_us

_COLUMNS: Final = """
callback_id, request_json, state, expires_us, result_json, error_json, progress_json,
trace_id
"""

_ACCEPT: Final = """
INSERT INTO callbacks (callback_id, request_json, state, expires_us, progress_json,
                       trace_id)
VALUES (:callback_id, :request_json, 'pending', :expires_us, :progress_json, :trace_id)
"""

_LOAD: Final = f"SELECT {_COLUMNS} FROM callbacks WHERE callback_id = :callback_id"  # noqa: S608 - a constant

_PENDING: Final = f"""
SELECT {_COLUMNS} FROM callbacks WHERE state = 'pending' ORDER BY expires_us, rowid
"""  # noqa: S608 - a constant

_SAVE_PROGRESS: Final = """
UPDATE callbacks SET progress_json = :progress_json
WHERE callback_id = :callback_id AND state = 'pending'
"""

_FINISH: Final = """
UPDATE callbacks
SET state = :state, result_json = :result_json, error_json = :error_json,
    progress_json = NULL, keep_until_us = :keep_until_us
WHERE callback_id = :callback_id AND state = 'pending'
"""

_LOAD_SESSION: Final = """
SELECT conversation_json FROM sessions WHERE session_id = :session_id
"""

_SAVE_SESSION: Final = """
INSERT INTO sessions (session_id, conversation_json, saved_us)
VALUES (:session_id, :conversation_json, :now_us)
ON CONFLICT (session_id) DO UPDATE
SET conversation_json = excluded.conversation_json, saved_us = excluded.saved_us
"""

_BEGIN_KEY: Final = """
INSERT INTO idempotency_keys (key, body_sha256, begun_us)
VALUES (:key, :body_sha256, :now_us)
ON CONFLICT (key) DO NOTHING
"""

_LOAD_KEY: Final = """
SELECT body_sha256, status, body, content_type FROM idempotency_keys WHERE key = :key
"""

_FINISH_KEY: Final = """
UPDATE idempotency_keys
SET status = :status, body = :body, content_type = :content_type
WHERE key = :key AND status IS NULL
"""

_RELEASE_KEY: Final = "DELETE FROM idempotency_keys WHERE key = :key AND status IS NULL"


def accept(
    connection: apsw.Connection,
    callback: CallbackRecord,
    *,
    answered: AnsweredKey | None,
) -> None:
    """
    Write a pending chat, and the answer to the key of its request.
    """
    change(
        connection,
        _ACCEPT,
        callback_id=callback.callback_id,
        request_json=callback.request_json,
        expires_us=to_us(callback.expires_s),
        progress_json=callback.progress_json,
        trace_id=callback.trace_id,
    )
    if answered is not None:
        finish_key(connection, answered.key, answered.answer)


def load(connection: apsw.Connection, callback_id: CallbackId) -> CallbackRecord | None:
    """
    Return a chat, or None.
    """
    found = row(connection, _LOAD, callback_id=callback_id)
    return None if found is None else _record(found)


def load_pending(connection: apsw.Connection) -> Sequence[CallbackRecord]:
    """
    Return the chats that have not ended.
    """
    return [_record(found) for found in rows(connection, _PENDING)]


def save_progress(
    connection: apsw.Connection, callback_id: CallbackId, progress_json: str
) -> None:
    """
    Write the conversation of a pending chat.
    """
    change(
        connection,
        _SAVE_PROGRESS,
        callback_id=callback_id,
        progress_json=progress_json,
    )


def finish(
    connection: apsw.Connection,
    callback_id: CallbackId,
    *,
    state: CallbackState,
    result_json: str | None,
    error_json: str | None,
    message: NewMessage | None,
    delivery_id: DeliveryId,
    now_us: int,
    keep_until_us: int,
) -> bool:
    """
    Write the end of a chat and its webhook; False if it had ended.
    """
    is_ours = change(
        connection,
        _FINISH,
        callback_id=callback_id,
        state=state,
        result_json=result_json,
        error_json=error_json,
        # With a webhook it is kept until some time after that was delivered.
        keep_until_us=keep_until_us if message is None else None,
    )
    if is_ours and message is not None:
        insert_message(connection, message, delivery_id=delivery_id, now_us=now_us)
    return bool(is_ours)


def load_session(connection: apsw.Connection, session_id: SessionId) -> str | None:
    """
    Return the conversation of a session, or None.
    """
    found = row(connection, _LOAD_SESSION, session_id=session_id)
    return None if found is None else str(found[0])


def save_session(
    connection: apsw.Connection,
    session_id: SessionId,
    conversation_json: str,
    *,
    now_us: int,
) -> None:
    """
    Write the conversation of a session.
    """
    change(
        connection,
        _SAVE_SESSION,
        session_id=session_id,
        conversation_json=conversation_json,
        now_us=now_us,
    )


def begin_key(
    connection: apsw.Connection, key: str, *, body_sha256: str, now_us: int
) -> IdempotencyState:
    """
    Claim an idempotency key, or say what became of it.
    """
    if change(connection, _BEGIN_KEY, key=key, body_sha256=body_sha256, now_us=now_us):
        return IdempotencyBegun()
    known = row(connection, _LOAD_KEY, key=key)
    if known is None:
        raise LookupError(key)
    known_sha256, status, body, content_type = known
    if known_sha256 != body_sha256:
        return IdempotencyMismatch()
    if status is None:
        return IdempotencyRunning()
    return IdempotentAnswer(status=status, body=body, content_type=content_type)


def finish_key(connection: apsw.Connection, key: str, answer: IdempotentAnswer) -> None:
    """
    Write the answer to a key.
    """
    change(
        connection,
        _FINISH_KEY,
        key=key,
        status=answer.status,
        body=answer.body,
        content_type=answer.content_type,
    )


def release_key(connection: apsw.Connection, key: str) -> None:
    """
    Free a key that has no answer.
    """
    change(connection, _RELEASE_KEY, key=key)


def _record(found: Row) -> CallbackRecord:
    callback_id, request, state, expires_us, result, error, progress, trace_id = found
    return CallbackRecord(
        callback_id=CallbackId(callback_id),
        request_json=request,
        state=CallbackState(state),
        expires_s=to_s(expires_us),
        result_json=result,
        error_json=error,
        progress_json=progress,
        trace_id=None if trace_id is None else TraceId(trace_id),
    )
