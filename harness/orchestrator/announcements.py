"""
The webhooks by which the service reports: made here, written with what they report.
"""

from collections.abc import Callable, Mapping
from typing import Any

from harness.bus import EventBus
from harness.events import WebhookEnqueued, trace_scope
from harness.ids import CallbackId, TraceId
from harness.stores import NewMessage, ToolCallRecord
from harness.webhooks import MessageFactory


class Announcements:
    """
    Makes webhooks, and tells the sender once they are committed.

    Args:
        messages: Makes them; None for a service that sends none.
        on_committed: Called when a message was committed and may be sent.
    """

    def __init__(
        self,
        *,
        messages: MessageFactory | None,
        on_committed: Callable[[], None],
        bus: EventBus,
    ) -> None:
        self._messages = messages
        self._on_committed = on_committed
        self._bus = bus

    def of_call(self, call: ToolCallRecord) -> NewMessage | None:
        """
        Return the webhook that reports the end of a tool call.

        Raises:
            PayloadError: Its result cannot be sent.
        """
        return None if self._messages is None else self._messages.function_call(call)

    def of_chat(
        self,
        callback_id: CallbackId,
        *,
        result: Mapping[str, Any] | None,
        error: Mapping[str, Any] | None,
        trace_id: TraceId | None,
    ) -> NewMessage | None:
        """
        Return the webhook that reports the end of an asynchronous chat.

        Raises:
            PayloadError: The result cannot be sent.
        """
        if self._messages is None:
            return None
        if result is not None:
            return self._messages.chat_completed(callback_id, result, trace_id=trace_id)
        return self._messages.chat_failed(callback_id, error or {}, trace_id=trace_id)

    def committed(self, message: NewMessage | None) -> None:
        """
        Say that a message is in the store and may be sent.
        """
        if message is None:
            return
        with trace_scope(message.trace_id):
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
