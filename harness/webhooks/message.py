"""
The bodies of webhooks: built once as bytes, parsed strictly.

The standard body is ``{"type", "timestamp", "data"}``. The article's is flat; it is
sent and taken on request only.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from harness.clock import Clock
from harness.errors import PayloadError
from harness.ids import CallbackId, IdMint, MessageId, ToolCallId, TraceId
from harness.stores import CallResolution, CallState, NewMessage, ToolCallRecord
from harness.webhooks import strict_json

BODY_BYTES_MAX: Final = 1024 * 1024
"""A larger webhook is neither sent nor taken."""

CALL_ID_CHARACTERS_MAX: Final = 256

COMPLETED: Final = "function_call.completed"
FAILED: Final = "function_call.failed"
CHAT_COMPLETED: Final = "chat.completed"
CHAT_FAILED: Final = "chat.failed"

_EVENT_TYPE: Final = re.compile(r"[A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+)*", re.ASCII)


class WebhookFormat(StrEnum):
    """
    The shape of a webhook.
    """

    STANDARD = "standard"
    ARTICLE = "article"
    """Flat, signed over the body alone; it can be replayed for ever."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedBody:
    """
    An incoming body that keeps the contract.
    """

    event_type: str
    resolution: CallResolution | None = None
    """The tool call that it resolves, if it is of such a type."""

    function: str | None = None
    """The tool's name as the sender gave it."""


def format_timestamp(time_s: float) -> str:
    """
    Return Unix seconds as ISO 8601 in UTC, to the millisecond.
    """
    moment = datetime.fromtimestamp(time_s, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def build_body(
    event_type: str, *, occurred_at_s: float, data: Mapping[str, Any]
) -> bytes:
    """
    Return the standard body, as the bytes that are stored, signed and sent.

    Raises:
        PayloadError: The type has characters that a type must not have, the data are
            not JSON, or the body is too large.
    """
    return _checked(
        event_type,
        {
            "type": event_type,
            "timestamp": format_timestamp(occurred_at_s),
            "data": data,
        },
    )


def build_article_body(
    event_type: str,
    *,
    occurred_at_s: float,
    data: Mapping[str, Any],
    webhook_url: str,
) -> bytes:
    """
    Return the article's flat body: the data stand beside the event's name.

    An event type like ``function_call.completed`` is ``function_call_completed`` there.

    Raises:
        PayloadError: As for :func:`build_body`.
    """
    return _checked(
        event_type,
        {
            "event": event_type.replace(".", "_"),
            **data,
            "timestamp": int(occurred_at_s),
            "webhook_url": webhook_url,
        },
    )


def _checked(event_type: str, value: Mapping[str, Any]) -> bytes:
    if not _EVENT_TYPE.fullmatch(event_type):
        message = f"{event_type!r} is no event type"
        raise PayloadError(message)
    body = strict_json.dump(value)
    if len(body) > BODY_BYTES_MAX:
        message = f"a webhook of {len(body)} bytes; it has at most {BODY_BYTES_MAX}"
        raise PayloadError(message)
    return body


def parse_body(body: bytes, *, is_article: bool = False) -> ParsedBody:
    """
    Return what an incoming body says.

    Args:
        body: The raw bytes.
        is_article: Take the article's flat body as well as the standard one.

    Raises:
        PayloadError: It is not what the contract says.
    """
    value = strict_json.load(body)
    if not isinstance(value, dict):
        message = "is not a JSON object"
        raise PayloadError(message)
    if is_article and "data" not in value:
        return _parse_article(value)
    return _parse_standard(value)


def _parse_standard(value: Mapping[str, Any]) -> ParsedBody:
    event_type, data = value.get("type"), value.get("data")
    if not isinstance(event_type, str) or not _EVENT_TYPE.fullmatch(event_type):
        message = "type is no event type"
        raise PayloadError(message)
    if not isinstance(data, dict):
        message = "data is no object"
        raise PayloadError(message)
    if event_type == COMPLETED:
        if "result" not in data:
            message = "data.result is missing"
            raise PayloadError(message)
        state, answer = CallState.COMPLETED, data["result"]
    elif event_type == FAILED:
        state, answer = CallState.FAILED, _error_of(data.get("error"))
    else:
        # Progress, and events of other senders: remembered, of no effect.
        return ParsedBody(event_type=event_type)
    return _parsed(event_type, data, state, answer)


def _parse_article(value: Mapping[str, Any]) -> ParsedBody:
    if value.get("error") is not None:
        error = value["error"]
        if isinstance(error, str):
            error = {"code": "tool_failed", "message": error}
        return _parsed(FAILED, value, CallState.FAILED, _error_of(error))
    if "result" not in value:
        message = "neither result nor error is given"
        raise PayloadError(message)
    return _parsed(COMPLETED, value, CallState.COMPLETED, value["result"])


def _parsed(
    event_type: str, data: Mapping[str, Any], state: CallState, answer: Any
) -> ParsedBody:
    call_id, function = data.get("call_id"), data.get("function")
    if not isinstance(call_id, str) or not 0 < len(call_id) <= CALL_ID_CHARACTERS_MAX:
        message = f"call_id is no text of 1 to {CALL_ID_CHARACTERS_MAX} characters"
        raise PayloadError(message)
    if function is not None and not isinstance(function, str):
        message = "function is no text"
        raise PayloadError(message)
    # Dumping proves that whatever was sent can be stored and sent on.
    strict_json.dump([call_id, function])
    resolution = CallResolution(
        tool_call_id=ToolCallId(call_id),
        state=state,
        result_json=strict_json.dump(answer).decode(),
    )
    return ParsedBody(event_type=event_type, resolution=resolution, function=function)


def _error_of(error: Any) -> Mapping[str, str]:
    code = error.get("code") if isinstance(error, dict) else None
    message = error.get("message") if isinstance(error, dict) else None
    if not isinstance(code, str) or not isinstance(message, str):
        reason = "error is no object with code and message"
        raise PayloadError(reason)
    return {"code": code, "message": message}


class MessageFactory:
    """
    Builds every webhook that the service sends.

    Args:
        endpoint: Name of the endpoint they go to.
        webhook_url: Its address; the article's body repeats it.
        body_format: The shape of the bodies.
        clock: Stamps the event.
        ids: Mints the message ids.
    """

    def __init__(
        self,
        *,
        endpoint: str,
        clock: Clock,
        ids: IdMint,
        webhook_url: str = "",
        body_format: WebhookFormat = WebhookFormat.STANDARD,
    ) -> None:
        self._endpoint = endpoint
        self._webhook_url = webhook_url
        self._format = body_format
        self._clock = clock
        self._ids = ids

    def function_call(self, call: ToolCallRecord) -> NewMessage:
        """
        Return the webhook of a tool call that ended; one per call, ever.

        Raises:
            PayloadError: Its answer cannot be sent.
        """
        answer = json.loads(call.result_json or "null")
        is_completed = call.state is CallState.COMPLETED
        return self._message(
            COMPLETED if is_completed else FAILED,
            {
                "call_id": call.tool_call_id,
                "function": call.tool,
                "result" if is_completed else "error": answer,
            },
            dedupe_key=f"function_call:{call.tool_call_id}",
            tool_call_id=call.tool_call_id,
            trace_id=call.trace_id,
        )

    def chat_completed(
        self,
        callback_id: CallbackId,
        result: Mapping[str, Any],
        *,
        trace_id: TraceId | None = None,
    ) -> NewMessage:
        """
        Return the webhook of an asynchronous chat that was answered.

        Raises:
            PayloadError: The answer cannot be sent.
        """
        return self._message(
            CHAT_COMPLETED,
            {"callback_id": callback_id, "result": dict(result)},
            dedupe_key=f"chat:{callback_id}",
            callback_id=callback_id,
            trace_id=trace_id,
        )

    def chat_failed(
        self,
        callback_id: CallbackId,
        error: Mapping[str, Any],
        *,
        trace_id: TraceId | None = None,
    ) -> NewMessage:
        """
        Return the webhook of an asynchronous chat that ended without an answer.

        Raises:
            PayloadError: The error cannot be sent.
        """
        return self._message(
            CHAT_FAILED,
            {"callback_id": callback_id, "error": dict(error)},
            dedupe_key=f"chat:{callback_id}",
            callback_id=callback_id,
            trace_id=trace_id,
        )

    def _message(
        self,
        event_type: str,
        data: Mapping[str, Any],
        *,
        dedupe_key: str,
        tool_call_id: ToolCallId | None = None,
        callback_id: CallbackId | None = None,
        trace_id: TraceId | None = None,
    ) -> NewMessage:
        now_s = self._clock.wall()
        if self._format is WebhookFormat.ARTICLE:
            body = build_article_body(
                event_type,
                occurred_at_s=now_s,
                data=data,
                webhook_url=self._webhook_url,
            )
        else:
            body = build_body(event_type, occurred_at_s=now_s, data=data)
        return NewMessage(
            message_id=MessageId(self._ids.mint("msg")),
            event_type=event_type,
            body=body,
            endpoint=self._endpoint,
            dedupe_key=dedupe_key,
            tool_call_id=tool_call_id,
            callback_id=callback_id,
            trace_id=trace_id,
        )
