"""
The webhooks by which the service reports: made here, written with what they report.
"""

from collections.abc import Callable
from typing import Any

import orjson

from harness.bus import EventBus
from harness.clock import Clock
from harness.events import WebhookEnqueued, current_trace_id
from harness.ids import CallbackId, IdMint, MessageId
from harness.stores import CallbackState, CallState, NewMessage, ToolCallRecord

BuildBody = Callable[[str, float, dict[str, Any]], bytes]
"""Makes a webhook's bytes from event type, Unix time and data."""


class Announcements:
    """
    Makes webhooks, and tells the sender once they are committed.

    Args:
        endpoint: Name of the endpoint they go to; None makes none.
        build_body: Makes a body in the format that the endpoint speaks.
        on_committed: Called when a message was committed and may be sent.
    """

    def __init__(
        self,
        *,
        endpoint: str | None,
        build_body: BuildBody,
        on_committed: Callable[[], None],
        clock: Clock,
        ids: IdMint,
        bus: EventBus,
    ) -> None:
        self._endpoint = endpoint
        self._build_body = build_body
        self._on_committed = on_committed
        self._clock = clock
        self._ids = ids
        self._bus = bus

    def of_call(self, call: ToolCallRecord) -> NewMessage | None:
        """
        Return the webhook that reports the end of a tool call.
        """
        if self._endpoint is None:
            return None
        data: dict[str, Any] = {"call_id": call.tool_call_id, "function": call.tool}
        outcome = orjson.loads(call.result_json or "null")
        if call.state is CallState.COMPLETED:
            event_type = "function_call.completed"
            data["result"] = outcome
        else:
            event_type = "function_call.failed"
            data["error"] = outcome
        return NewMessage(
            message_id=MessageId(self._ids.mint("msg")),
            event_type=event_type,
            body=self._build_body(event_type, self._clock.wall(), data),
            endpoint=self._endpoint,
            dedupe_key=f"function_call:{call.tool_call_id}",
            tool_call_id=call.tool_call_id,
            trace_id=call.trace_id,
        )

    def of_chat(
        self,
        callback_id: CallbackId,
        *,
        state: CallbackState,
        result: dict[str, Any] | None,
        error: dict[str, Any] | None,
    ) -> NewMessage | None:
        """
        Return the webhook that reports the end of an asynchronous chat.
        """
        if self._endpoint is None:
            return None
        data: dict[str, Any] = {"callback_id": callback_id, "state": state.value}
        if result is not None:
            data["result"] = result
        if error is not None:
            data["error"] = error
        is_completed = state is CallbackState.COMPLETED
        event_type = "chat.completed" if is_completed else "chat.failed"
        return NewMessage(
            message_id=MessageId(self._ids.mint("msg")),
            event_type=event_type,
            body=self._build_body(event_type, self._clock.wall(), data),
            endpoint=self._endpoint,
            dedupe_key=f"chat:{callback_id}",
            callback_id=callback_id,
            trace_id=current_trace_id(),
        )

    def committed(self, message: NewMessage | None) -> None:
        """
        Say that a message is in the store and may be sent.
        """
        if message is None:
            return
        self._bus.publish(
            WebhookEnqueued(
                message_id=message.message_id,
                event_type=message.event_type,
                endpoint=message.endpoint,
                tool_call_id=message.tool_call_id,
                callback_id=message.callback_id,
            )
        )
        self._on_committed()
