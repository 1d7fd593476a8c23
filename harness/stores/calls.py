"""
The SQL of tool calls and of the inbox, whose messages resolve them.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

import apsw

from harness.ids import DeliveryId, ToolCallId, TraceId
from harness.stores.outbox import insert_message
from harness.stores.packing import pack, unpack
from harness.stores.records import (
    CallResolution,
    CallState,
    IncomingMessage,
    MessageFor,
    NewMessage,
    ReceiveOutcome,
    ReceiveResult,
    ToolCallRecord,
)
from harness.stores.rows import Row, change, row, rows, to_s, to_us

MintDelivery = Callable[[], DeliveryId]

_COLUMNS: Final = """
tool_call_id, chat_id, tool, arguments_json, state, deadline_us, result_json, trace_id
"""

_LOAD: Final = f"SELECT {_COLUMNS} FROM calls WHERE tool_call_id = :tool_call_id"  # noqa: S608 - a constant

_OPEN: Final = """
INSERT INTO calls (tool_call_id, chat_id, tool, arguments_json, state, deadline_us,
                   trace_id, created_us)
VALUES (:tool_call_id, :chat_id, :tool, :arguments_json, 'pending', :deadline_us,
        :trace_id, :now_us)
ON CONFLICT (tool_call_id) DO NOTHING
"""

_FINISH: Final = """
INSERT INTO calls (tool_call_id, chat_id, tool, arguments_json, state, deadline_us,
                   result_json, trace_id, created_us, keep_until_us)
VALUES (:tool_call_id, :chat_id, :tool, :arguments_json, :state, :deadline_us,
        :result_json, :trace_id, :now_us, :keep_until_us)
ON CONFLICT (tool_call_id) DO UPDATE
SET state = excluded.state, result_json = excluded.result_json,
    keep_until_us = excluded.keep_until_us
WHERE calls.state = 'pending' AND calls.chat_id = excluded.chat_id
"""

_RESOLVE: Final = """
UPDATE calls SET state = :state, result_json = :result_json
WHERE tool_call_id = :tool_call_id AND state = 'pending'
"""

_KEEP_LATE: Final = """
UPDATE calls SET late_json = :result_json
WHERE tool_call_id = :tool_call_id AND late_json IS NULL
"""

_OVERDUE: Final = f"""
SELECT {_COLUMNS} FROM calls WHERE state = 'pending' AND deadline_us <= :now_us
ORDER BY deadline_us, rowid LIMIT :calls_max
"""  # noqa: S608 - a constant

_INBOX: Final = """
SELECT body_sha256, state, tool_call_id FROM inbox WHERE message_id = :message_id
"""

_INSERT_INBOX: Final = """
INSERT INTO inbox (message_id, event_type, body_sha256, state, tool_call_id,
                   call_state, result_json, outgoing, received_us)
VALUES (:message_id, :event_type, :body_sha256, :state, :tool_call_id,
        :call_state, :result_json, :outgoing, :now_us)
"""

_KEPT: Final = """
SELECT message_id, call_state, result_json, outgoing FROM inbox
WHERE state = 'unknown' AND tool_call_id = :tool_call_id
ORDER BY received_us, rowid
"""

_SETTLE_KEPT: Final = """
UPDATE inbox SET state = :state, result_json = NULL, outgoing = NULL
WHERE message_id = :message_id
"""


def load(
    connection: apsw.Connection, tool_call_id: ToolCallId
) -> ToolCallRecord | None:
    """
    Return a call, or None.
    """
    found = row(connection, _LOAD, tool_call_id=tool_call_id)
    return None if found is None else _record(found)


def _load_known(
    connection: apsw.Connection, tool_call_id: ToolCallId
) -> ToolCallRecord:
    found = load(connection, tool_call_id)
    if found is None:
        raise LookupError(tool_call_id)
    return found


def open_call(
    connection: apsw.Connection,
    call: ToolCallRecord,
    *,
    now_us: int,
    delivery_id: DeliveryId,
) -> tuple[ToolCallRecord, NewMessage | None]:
    """
    Write a pending call and apply the first result that arrived before it.

    Returns:
        The call as it stands, and the webhook that came with such a result.
    """
    is_added = change(
        connection,
        _OPEN,
        tool_call_id=call.tool_call_id,
        chat_id=call.chat_id,
        tool=call.tool,
        arguments_json=call.arguments_json,
        deadline_us=None if call.deadline_s is None else to_us(call.deadline_s),
        trace_id=call.trace_id,
        now_us=now_us,
    )
    told = None
    if is_added:
        told = _apply_kept(connection, call, now_us=now_us, delivery_id=delivery_id)
    return _load_known(connection, call.tool_call_id), told


def _apply_kept(
    connection: apsw.Connection,
    call: ToolCallRecord,
    *,
    now_us: int,
    delivery_id: DeliveryId,
) -> NewMessage | None:
    told: NewMessage | None = None
    kept = list(rows(connection, _KEPT, tool_call_id=call.tool_call_id))
    for message_id, call_state, result_json, outgoing in kept:
        resolution = CallResolution(
            tool_call_id=call.tool_call_id,
            state=CallState(call_state),
            result_json=result_json,
        )
        message = None if outgoing is None else _in_trace(unpack(outgoing), call)
        is_first = _resolve(
            connection,
            resolution,
            message=message,
            delivery_id=delivery_id,
            now_us=now_us,
        )
        if is_first:
            told = message
        state = ReceiveOutcome.APPLIED if is_first else ReceiveOutcome.LATE
        change(connection, _SETTLE_KEPT, message_id=message_id, state=state)
    return told


def finish_call(
    connection: apsw.Connection,
    call: ToolCallRecord,
    *,
    message: NewMessage | None,
    now_us: int,
    keep_until_us: int,
    delivery_id: DeliveryId,
) -> bool:
    """
    Write the end of a call and its webhook; False if it had ended.
    """
    is_ours = change(
        connection,
        _FINISH,
        tool_call_id=call.tool_call_id,
        chat_id=call.chat_id,
        tool=call.tool,
        arguments_json=call.arguments_json,
        state=call.state,
        deadline_us=None if call.deadline_s is None else to_us(call.deadline_s),
        result_json=call.result_json,
        trace_id=call.trace_id,
        now_us=now_us,
        # With a webhook it is kept until some time after that was delivered.
        keep_until_us=keep_until_us if message is None else None,
    )
    if is_ours and message is not None:
        insert_message(connection, message, delivery_id=delivery_id, now_us=now_us)
    return bool(is_ours)


def receive(
    connection: apsw.Connection,
    incoming: IncomingMessage,
    *,
    resolution: CallResolution | None,
    message: NewMessage | None,
    now_us: int,
    delivery_id: DeliveryId,
) -> ReceiveResult:
    """
    Remember an incoming message and apply it.
    """
    known = row(connection, _INBOX, message_id=incoming.message_id)
    if known is not None:
        return _repeated(connection, incoming, known)
    if resolution is None:
        _insert_inbox(connection, incoming, ReceiveOutcome.APPLIED, now_us=now_us)
        return ReceiveResult(outcome=ReceiveOutcome.APPLIED)
    call = load(connection, resolution.tool_call_id)
    if call is None:
        _insert_inbox(
            connection,
            incoming,
            ReceiveOutcome.UNKNOWN,
            resolution=resolution,
            outgoing=None if message is None else pack(message),
            now_us=now_us,
        )
        return ReceiveResult(outcome=ReceiveOutcome.UNKNOWN)
    is_first = _resolve(
        connection,
        resolution,
        message=None if message is None else _in_trace(message, call),
        delivery_id=delivery_id,
        now_us=now_us,
    )
    outcome = ReceiveOutcome.APPLIED if is_first else ReceiveOutcome.LATE
    _insert_inbox(
        connection,
        incoming,
        outcome,
        resolution=replace(resolution, result_json=""),
        now_us=now_us,
    )
    return ReceiveResult(
        outcome=outcome, call=_load_known(connection, resolution.tool_call_id)
    )


def _repeated(
    connection: apsw.Connection, incoming: IncomingMessage, known: Row
) -> ReceiveResult:
    body_sha256, state, tool_call_id = known
    if body_sha256 != incoming.body_sha256:
        return ReceiveResult(outcome=ReceiveOutcome.CONFLICT)
    if state == ReceiveOutcome.UNKNOWN:
        return ReceiveResult(outcome=ReceiveOutcome.UNKNOWN)
    call = None if tool_call_id is None else load(connection, tool_call_id)
    return ReceiveResult(outcome=ReceiveOutcome.DUPLICATE, call=call)


def _resolve(
    connection: apsw.Connection,
    resolution: CallResolution,
    *,
    message: NewMessage | None,
    delivery_id: DeliveryId,
    now_us: int,
) -> bool:
    """
    End a call if it is pending; else keep the result as a late one.
    """
    is_first = change(
        connection,
        _RESOLVE,
        tool_call_id=resolution.tool_call_id,
        state=resolution.state,
        result_json=resolution.result_json,
    )
    if not is_first:
        change(
            connection,
            _KEEP_LATE,
            tool_call_id=resolution.tool_call_id,
            result_json=resolution.result_json,
        )
    elif message is not None:
        insert_message(connection, message, delivery_id=delivery_id, now_us=now_us)
    return bool(is_first)


def _in_trace(message: NewMessage, call: ToolCallRecord) -> NewMessage:
    """
    Return the message in the trace of its call, unless it has one.
    """
    if message.trace_id is not None:
        return message
    return replace(message, trace_id=call.trace_id)


def _insert_inbox(
    connection: apsw.Connection,
    incoming: IncomingMessage,
    state: ReceiveOutcome,
    *,
    resolution: CallResolution | None = None,
    outgoing: str | None = None,
    now_us: int,
) -> None:
    change(
        connection,
        _INSERT_INBOX,
        message_id=incoming.message_id,
        event_type=incoming.event_type,
        body_sha256=incoming.body_sha256,
        state=state,
        tool_call_id=resolution.tool_call_id if resolution else None,
        call_state=resolution.state if resolution else None,
        result_json=(resolution.result_json or None) if resolution else None,
        outgoing=outgoing,
        now_us=now_us,
    )


def is_overdue(connection: apsw.Connection, *, now_us: int) -> bool:
    """
    Say whether any pending call is past its deadline.
    """
    return row(connection, _OVERDUE, now_us=now_us, calls_max=1) is not None


def expire_overdue(
    connection: apsw.Connection,
    *,
    now_us: int,
    keep_until_us: int,
    calls_max: int,
    message_for: MessageFor | None,
    mint_delivery: MintDelivery,
) -> Sequence[tuple[ToolCallRecord, NewMessage | None]]:
    """
    End pending calls past their deadline, and return each with its webhook.
    """
    expired = []
    for found in list(rows(connection, _OVERDUE, now_us=now_us, calls_max=calls_max)):
        call = replace(
            _record(found),
            state=CallState.EXPIRED,
            result_json=json.dumps(
                {"code": "tool_timeout", "message": "no result came in time"}
            ),
        )
        message = None if message_for is None else message_for(call)
        finish_call(
            connection,
            call,
            message=message,
            now_us=now_us,
            keep_until_us=keep_until_us,
            delivery_id=mint_delivery(),
        )
        expired.append((call, message))
    return expired


def _record(found: Row) -> ToolCallRecord:
    tool_call_id, chat_id, tool, arguments, state, deadline_us, result, trace_id = found
    return ToolCallRecord(
        tool_call_id=ToolCallId(tool_call_id),
        chat_id=chat_id,
        tool=tool,
        arguments_json=arguments,
        state=CallState(state),
        deadline_s=None if deadline_us is None else to_s(deadline_us),
        result_json=result,
        trace_id=None if trace_id is None else TraceId(trace_id),
    )
