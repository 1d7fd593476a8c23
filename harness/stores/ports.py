"""
What the service asks of its store.

Each method of :class:`Store` is one transaction: when it returns, what it says is
durable; when it raises, nothing happened. Times are Unix seconds, because rows
outlive the process and its monotonic clock. SQLite and Redis implement the same
protocol and pass the same conformance tests.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from harness.ids import (
    CallbackId,
    DeliveryId,
    MessageId,
    SessionId,
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


class Store(Protocol):
    """
    The service's durable state.

    Every method may raise :class:`~harness.errors.StoreUnavailableError`: nothing was
    committed then, and asking again later may work.
    """

    async def open(self) -> Recovery:
        """
        Check the store, release what dead owners held, and say what was found.

        Raises:
            StoreLockedError: Another process writes to this store.
        """

    async def close(self) -> None:
        """
        Commit what is queued, release what is leased, and let go of the store.
        """

    # Chats

    async def accept_chat(self, callback: CallbackRecord) -> None:
        """
        Remember an asynchronous chat; only then may the caller be told.
        """

    async def load_callback(self, callback_id: CallbackId) -> CallbackRecord | None:
        """
        Return an asynchronous chat, or None if it is unknown or no longer kept.
        """

    async def save_progress(self, callback_id: CallbackId, progress_json: str) -> None:
        """
        Remember the conversation of a pending chat as of this step.
        """

    async def finish_chat(
        self,
        callback_id: CallbackId,
        *,
        state: CallbackState,
        result_json: str | None,
        error_json: str | None,
        message: NewMessage | None,
    ) -> bool:
        """
        End a pending chat together with its webhook.

        Returns:
            False if it had already ended; nothing changed then.
        """

    async def load_session(self, session_id: SessionId) -> str | None:
        """
        Return the conversation of a session as JSON, or None.
        """

    async def save_session(self, session_id: SessionId, conversation_json: str) -> None:
        """
        Remember the conversation of a session.
        """

    # Tool calls

    async def open_call(self, call: ToolCallRecord) -> ToolCallRecord:
        """
        Remember a tool call before it is dispatched.

        Returns:
            The call as it stands. It differs from what was given if the id was known
            (another ``chat_id``: the id is taken by another chat), or if its result
            had arrived before it (the kept message is applied).
        """

    async def finish_call(
        self, call: ToolCallRecord, *, message: NewMessage | None
    ) -> bool:
        """
        Write the end of a call together with its webhook; a new id is inserted.

        Returns:
            False if the call had already ended; nothing changed then.
        """

    async def load_call(self, tool_call_id: ToolCallId) -> ToolCallRecord | None:
        """
        Return a tool call, or None if it is unknown or no longer kept.
        """

    # Incoming webhooks

    async def receive(
        self,
        incoming: IncomingMessage,
        *,
        resolution: CallResolution | None,
        message: NewMessage | None,
    ) -> ReceiveResult:
        """
        Remember an incoming message and apply it, with the webhook it gives rise to.

        ``message`` is written only with the effect: at once if the outcome is applied,
        together with the call if it appears later. Where its ``trace_id`` is None,
        that of the call is taken. A resolution of None is remembered for
        deduplication and has no effect.
        """

    # Outgoing webhooks

    async def enqueue(self, message: NewMessage) -> bool:
        """
        Write a message and its delivery.

        Returns:
            False if its dedupe key was known; nothing changed then.
        """

    async def claim(
        self, *, owner: str, lease_s: float, room: Mapping[str, int]
    ) -> Sequence[ClaimedDelivery]:
        """
        Lease deliveries that are due, oldest first, and count their attempt.

        A lease that ran out is released before: that attempt is on record as
        ``unknown_crash``, and its delivery is due again.

        Args:
            owner: Who claims; for the record only.
            lease_s: How long nobody else may claim them.
            room: How many to lease at most, by name of the endpoint. What waits for
                other endpoints is left alone, so that a slow one cannot take the
                room of the others.
        """

    async def finish_delivery(
        self, claim: ClaimedDelivery, *, attempt: DeliveryAttempt, step: NextStep
    ) -> bool:
        """
        Record an attempt and what follows from it.

        Returns:
            False if the fence was overtaken; nothing changed then.
        """

    async def next_due_s(self, *, endpoints: Collection[str]) -> float | None:
        """
        Return when the next delivery to any of these endpoints is due, if one waits.
        """

    async def load_attempts(self, message_id: MessageId) -> Sequence[DeliveryAttempt]:
        """
        Return every attempt to deliver a message, oldest first.
        """

    async def dead_letters(self, *, letters_max: int) -> Sequence[DeadLetter]:
        """
        Return what was given up, oldest first.
        """

    async def redeliver(self, message_id: MessageId) -> DeadLetter | None:
        """
        Put a dead letter back to be sent at once, with a fresh count of attempts.

        Returns:
            The letter as it stood, or None if there is no such dead letter.
        """

    # Idempotency keys

    async def begin_idempotent(self, key: str, *, body_sha256: str) -> IdempotencyState:
        """
        Claim an idempotency key, or say what became of it.
        """

    async def finish_idempotent(self, key: str, answer: IdempotentAnswer) -> None:
        """
        Remember the answer to a key.
        """

    async def release_idempotent(self, key: str) -> None:
        """
        Free a key whose request came to nothing, so that it may be tried again.
        """

    # Housekeeping

    async def sweep(self) -> Sequence[ToolCallRecord]:
        """
        Expire pending calls past their deadline, forget what is no longer kept.

        Returns:
            The calls that expired.
        """

    async def counts(self) -> StoreCounts:
        """
        Return how much the store holds.
        """
