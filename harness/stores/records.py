"""
What is written to a store and read from it.

Times are Unix seconds, because rows outlive the process and its monotonic clock.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from harness.ids import (
    CallbackId,
    DeliveryId,
    MessageId,
    ToolCallId,
    TraceId,
)


class CallState(StrEnum):
    """
    Where a tool call stands.
    """

    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"
    EXPIRED = "expired"


class CallbackState(StrEnum):
    """
    Where an asynchronous chat stands.
    """

    PENDING = "pending"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


class DeliveryState(StrEnum):
    """
    Where a delivery stands.
    """

    WAITING = "waiting"
    SENDING = "sending"
    DELIVERED = "delivered"
    DEAD = "dead"


class ReceiveOutcome(StrEnum):
    """
    What an incoming message did.
    """

    APPLIED = "applied"
    DUPLICATE = "duplicate"
    LATE = "late"
    """Kept, but the call had already ended."""

    UNKNOWN = "unknown"
    """Kept; it applies when the call appears."""

    CONFLICT = "conflict"
    """The id is known with another body; nothing changed."""


# What is written --------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMessage:
    """
    A webhook to be sent, as it is written to the outbox.
    """

    message_id: MessageId
    event_type: str
    body: bytes
    """Stored once and sent as these bytes on every attempt."""

    endpoint: str
    """Name of the endpoint; its address is looked up when sending."""

    dedupe_key: str
    """One message per key, ever; a second enqueue with it is dropped silently."""

    tool_call_id: ToolCallId | None = None
    callback_id: CallbackId | None = None
    trace_id: TraceId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallRecord:
    """
    A tool call and its answer.
    """

    tool_call_id: ToolCallId
    """Names the execution; unique in the store."""

    chat_id: str
    """The chat it belongs to, so that a restart finds its own calls again."""

    tool: str
    arguments_json: str
    state: CallState
    deadline_s: float | None = None
    result_json: str | None = None
    """The result, or the error object of a failed call."""

    trace_id: TraceId | None = None


MessageFor = Callable[[ToolCallRecord], NewMessage | None]
"""
Makes the webhook of a call that ended.

It is called inside a transaction, perhaps in another thread, so it must be quick,
must not wait and must not touch the store.
"""

OnEnqueued = Callable[[NewMessage], None]
"""
Told of webhooks that the store wrote on its own, after their commit.

These are the webhooks of calls that expired, and of results that had arrived before
their call. Whoever hands a webhook to the store knows of it already.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackRecord:
    """
    An asynchronous chat, from its acceptance to its end.
    """

    callback_id: CallbackId
    request_json: str
    """What the caller asked, enough to go on after a restart."""

    state: CallbackState
    expires_s: float
    """When the chat's total time is over."""

    result_json: str | None = None
    error_json: str | None = None
    progress_json: str | None = None
    """The conversation so far, as of the last committed step."""

    trace_id: TraceId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallResolution:
    """
    An answer to a tool call that came by webhook.
    """

    tool_call_id: ToolCallId
    state: CallState
    result_json: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IncomingMessage:
    """
    A verified webhook, as the inbox remembers it.
    """

    message_id: MessageId
    event_type: str
    body_sha256: str


# What is read -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedDelivery:
    """
    A delivery that is leased to one sender; its attempt is already counted.
    """

    delivery_id: DeliveryId
    message_id: MessageId
    event_type: str
    body: bytes
    endpoint: str
    attempt_number: int
    fence: int
    """Rises with every claim; what finishes with an older one changes nothing."""

    created_s: float
    trace_id: TraceId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryAttempt:
    """
    What one attempt came to, for the record.
    """

    started_s: float
    duration_s: float
    outcome: str
    reason: str
    status: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """
    The endpoint acknowledged; the delivery is done.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryAt:
    """
    The delivery is due again later.
    """

    due_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """
    The delivery is a dead letter.
    """

    reason: str


NextStep = Delivered | RetryAt | GiveUp


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadLetter:
    """
    A message that was given up, with why.
    """

    message_id: MessageId
    event_type: str
    endpoint: str
    reason: str
    attempts: int
    last_error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiveResult:
    """
    What an incoming message did, and to which call.
    """

    outcome: ReceiveOutcome
    call: ToolCallRecord | None = None
    """The call as it stands after the commit, where it is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotentAnswer:
    """
    The answer that was given to an idempotency key before.
    """

    status: int
    body: bytes
    content_type: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredKey:
    """
    An idempotency key together with its answer.
    """

    key: str
    answer: IdempotentAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyBegun:
    """
    The key was free and belongs to this request.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyRunning:
    """
    Another request with this key is still running.
    """


@dataclass(frozen=True, slots=True, kw_only=True)
class IdempotencyMismatch:
    """
    The key is known with another body.
    """


IdempotencyState = (
    IdempotencyBegun | IdempotencyRunning | IdempotencyMismatch | IdempotentAnswer
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """
    What a store found when it was opened.
    """

    released_deliveries: int = 0
    """Leases of dead owners; each got an attempt ``unknown_crash``."""

    expired_calls: int = 0
    unfinished_chats: Sequence[CallbackRecord] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCounts:
    """
    How much the store holds.
    """

    waiting_deliveries: int
    """Those being sent included."""

    dead_letters: int
    pending_calls: int
    pending_chats: int
