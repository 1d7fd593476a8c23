"""
A message as text: how the inbox keeps the webhook of a result without a call.
"""

import base64
import json

from harness.ids import CallbackId, MessageId
from harness.stores.records import NewMessage


def pack(message: NewMessage) -> str:
    """
    Return a message as text, to be kept until its call appears.
    """
    return json.dumps(
        {
            "message_id": message.message_id,
            "event_type": message.event_type,
            "body": base64.b64encode(message.body).decode(),
            "endpoint": message.endpoint,
            "dedupe_key": message.dedupe_key,
            "tool_call_id": message.tool_call_id,
            "callback_id": message.callback_id,
            "trace_id": message.trace_id,
        }
    )


def unpack(text: str) -> NewMessage:
    """
    Return the message that a text stands for.
    """
    kept = json.loads(text)
    callback_id = kept["callback_id"]
    return NewMessage(
        message_id=MessageId(kept["message_id"]),
        event_type=kept["event_type"],
        body=base64.b64decode(kept["body"]),
        endpoint=kept["endpoint"],
        dedupe_key=kept["dedupe_key"],
        tool_call_id=kept["tool_call_id"],
        callback_id=None if callback_id is None else CallbackId(callback_id),
        trace_id=kept["trace_id"],
    )
