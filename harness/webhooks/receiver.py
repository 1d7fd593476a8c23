"""
Takes webhooks in: verified, remembered and applied in one transaction, then answered.

Whoever cannot prove who they are learns nothing but 401. Whoever can is told what
became of the message; a repeat is a success, because it cannot be told from a retry.
"""

import hashlib
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from harness.bus import EventBus
from harness.clock import Clock
from harness.errors import (
    PayloadError,
    SignatureError,
    StoreUnavailableError,
    check_options,
)
from harness.events import (
    PendingCallResolved,
    WebhookAccepted,
    WebhookEnqueued,
    WebhookRefused,
    current_trace_id,
    trace_scope,
)
from harness.stores import (
    CallState,
    IncomingMessage,
    NewMessage,
    ReceiveOutcome,
    ReceiveResult,
    Store,
    ToolCallRecord,
)
from harness.webhooks.message import (
    BODY_BYTES_MAX,
    MessageFactory,
    ParsedBody,
    WebhookFormat,
    parse_body,
)
from harness.webhooks.signing import (
    SIGNATURE_HEADER,
    TOLERANCE_S,
    Secret,
    VerifiedMessage,
    verify,
    verify_article,
)

OnResolved = Callable[[ToolCallRecord], None]
OnEnqueued = Callable[[], None]

_LOG: Final = logging.getLogger(__name__)

_STATUS_WORDS: Final = {
    ReceiveOutcome.APPLIED: "received",
    ReceiveOutcome.DUPLICATE: "duplicate",
    ReceiveOutcome.LATE: "late",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverOptions:
    """
    What the receiver takes.
    """

    tolerance_s: float = TOLERANCE_S
    """How far a timestamp may be from our clock, either way."""

    body_bytes_max: int = BODY_BYTES_MAX
    """A larger body is refused before it is looked at."""

    body_format: WebhookFormat = WebhookFormat.STANDARD
    """``article`` takes the article's signature and body as well."""

    def __post_init__(self) -> None:
        check_options(
            self,
            tolerance_s=self.tolerance_s > 0,
            body_bytes_max=self.body_bytes_max >= 1,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiverAnswer:
    """
    What the sender of a webhook is answered.
    """

    status: int
    body: Mapping[str, Any]
    headers: Mapping[str, str] = field(default_factory=dict)


class WebhookReceiver:
    """
    Verifies, deduplicates and applies incoming webhooks.

    Args:
        store: Remembers them and holds the calls that they resolve.
        secrets: Every live signing secret.
        messages: Makes the webhook that tells of the call's end; None sends none.
        clock: Its wall clock is what timestamps are compared with.
        bus: Is told what happened, after the commit.
        on_resolved: A hint for whoever waits for the call; the store is the truth.
        on_enqueued: A hint for the sender.
        options: Tolerance, limits, format.
    """

    def __init__(
        self,
        *,
        store: Store,
        secrets: Sequence[Secret],
        messages: MessageFactory | None,
        clock: Clock,
        bus: EventBus,
        on_resolved: OnResolved,
        on_enqueued: OnEnqueued,
        options: ReceiverOptions | None = None,
    ) -> None:
        self._store = store
        self._secrets = tuple(secrets)
        self._messages = messages
        self._clock = clock
        self._bus = bus
        self._on_resolved = on_resolved
        self._on_enqueued = on_enqueued
        self._options = options or ReceiverOptions()

    async def receive(self, headers: Mapping[str, str], body: bytes) -> ReceiverAnswer:
        """
        Return what the sender is answered; what it says is committed by then.

        Args:
            headers: Of the request; a multi-valued mapping, so that doubled headers
                are seen.
            body: The raw bytes, not inflated.
        """
        try:
            refusal = self._check_form(headers, body)
            if refusal is not None:
                return refusal
            verified = self._verify(headers, body)
            parsed = parse_body(body, is_article=self._is_article)
            return await self._apply(verified, parsed, body)
        except SignatureError as error:
            return self._refuse(401, "unauthorized", "not authentic", error.reason)
        except PayloadError as error:
            return self._refuse(400, "bad_payload", f"the body {error}", "bad_payload")
        except StoreUnavailableError as error:
            answer = self._refuse(
                503,
                "store_unavailable",
                "cannot be committed; try again later",
                error.reason,
                retry_after_s=error.retry_after_s,
            )
            seconds = max(1, round(error.retry_after_s))
            return ReceiverAnswer(
                status=answer.status,
                body=answer.body,
                headers={"Retry-After": str(seconds)},
            )

    @property
    def _is_article(self) -> bool:
        return self._options.body_format is WebhookFormat.ARTICLE

    def _check_form(
        self, headers: Mapping[str, str], body: bytes
    ) -> ReceiverAnswer | None:
        named = {name.lower(): value for name, value in headers.items()}
        if len(body) > self._options.body_bytes_max:
            text = f"a webhook has at most {self._options.body_bytes_max} bytes"
            return self._refuse(413, "body_too_large", text, "body_too_large")
        if "content-encoding" in named:
            text = "a webhook is signed over the bytes sent; encode nothing"
            return self._refuse(415, "content_encoding", text, "content_encoding")
        if not _is_json(named.get("content-type", "")):
            text = "a webhook is application/json"
            return self._refuse(415, "content_type", text, "content_type")
        return None

    def _verify(self, headers: Mapping[str, str], body: bytes) -> VerifiedMessage:
        is_signed = any(name.lower() == SIGNATURE_HEADER for name in headers)
        if self._is_article and not is_signed:
            return verify_article(headers, body, secrets=self._secrets)
        return verify(
            headers,
            body,
            secrets=self._secrets,
            now_s=self._clock.wall(),
            tolerance_s=self._options.tolerance_s,
        )

    async def _apply(
        self, verified: VerifiedMessage, parsed: ParsedBody, body: bytes
    ) -> ReceiverAnswer:
        message = await self._message_for(parsed)
        incoming = IncomingMessage(
            message_id=verified.message_id,
            event_type=parsed.event_type,
            body_sha256=hashlib.sha256(body).hexdigest(),
        )
        result = await self._store.receive(
            incoming, resolution=parsed.resolution, message=message
        )
        call = result.call
        trace_id = current_trace_id() if call is None else call.trace_id
        with trace_scope(trace_id):
            self._tell(incoming, parsed, result, message)
        return self._answer(result.outcome)

    async def _message_for(self, parsed: ParsedBody) -> NewMessage | None:
        """
        Return the webhook that tells of the end of the call, if this ends it.
        """
        resolution = parsed.resolution
        if resolution is None or self._messages is None:
            return None
        call = await self._store.load_call(resolution.tool_call_id)
        if call is not None and call.state is not CallState.PENDING:
            return None
        return self._messages.function_call(
            ToolCallRecord(
                tool_call_id=resolution.tool_call_id,
                chat_id="" if call is None else call.chat_id,
                tool=(parsed.function or "unknown") if call is None else call.tool,
                arguments_json="",
                state=resolution.state,
                result_json=resolution.result_json,
                trace_id=None if call is None else call.trace_id,
            )
        )

    def _tell(
        self,
        incoming: IncomingMessage,
        parsed: ParsedBody,
        result: ReceiveResult,
        message: NewMessage | None,
    ) -> None:
        """
        Publish what was committed, then give the hints.
        """
        if result.outcome is ReceiveOutcome.CONFLICT:
            return
        resolution = parsed.resolution
        self._bus.publish(
            WebhookAccepted(
                message_id=incoming.message_id,
                event_type=incoming.event_type,
                outcome=result.outcome,
                tool_call_id=None if resolution is None else resolution.tool_call_id,
            )
        )
        call = result.call
        if result.outcome is not ReceiveOutcome.APPLIED or call is None:
            return
        self._bus.publish(
            PendingCallResolved(
                tool=call.tool, tool_call_id=call.tool_call_id, outcome=call.state
            )
        )
        if message is not None:
            self._bus.publish(
                WebhookEnqueued(
                    message_id=message.message_id,
                    event_type=message.event_type,
                    endpoint=message.endpoint,
                    tool_call_id=call.tool_call_id,
                )
            )
        try:
            self._on_resolved(call)
            self._on_enqueued()
        except Exception:  # noqa: BLE001 - logged; see the reason below
            # It is committed, and the row is the truth: a hint that fails costs
            # its listener some time, and the sender of the webhook nothing.
            _LOG.exception("a listener failed after a webhook was applied")

    def _answer(self, outcome: ReceiveOutcome) -> ReceiverAnswer:
        match outcome:
            case ReceiveOutcome.CONFLICT:
                text = "this id is known with another body"
                return self._refuse(422, "id_conflict", text, "id_conflict")
            case ReceiveOutcome.UNKNOWN:
                text = "no such call; the result is kept in case it appears"
                return ReceiverAnswer(status=404, body=_error("unknown_call", text))
            case _:
                return ReceiverAnswer(
                    status=200, body={"status": _STATUS_WORDS[outcome]}
                )

    def _refuse(
        self,
        status: int,
        code: str,
        text: str,
        reason: str,
        *,
        retry_after_s: float | None = None,
    ) -> ReceiverAnswer:
        """
        Return an error; the reason is for our own log only.
        """
        self._bus.publish(WebhookRefused(reason=reason, status=status))
        return ReceiverAnswer(
            status=status, body=_error(code, text, retry_after_s=retry_after_s)
        )


def _error(
    code: str, text: str, *, retry_after_s: float | None = None
) -> Mapping[str, Any]:
    error: dict[str, Any] = {
        "code": code,
        "message": text,
        "trace_id": current_trace_id(),
    }
    if retry_after_s is not None:
        error["retry_after_s"] = retry_after_s
    return {"error": error}


def _is_json(content_type: str) -> bool:
    """
    Whether a media type is JSON in UTF-8.
    """
    kind, *parameters = (part.strip().lower() for part in content_type.split(";"))
    charsets = [
        value.strip('"')
        for name, _, value in (each.partition("=") for each in parameters)
        if name == "charset"
    ]
    is_json = kind == "application/json" or (
        kind.startswith("application/") and kind.endswith("+json")
    )
    return is_json and all(charset in {"utf-8", "utf8"} for charset in charsets)
