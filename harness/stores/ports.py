"""
What the service asks of its store.

Each method of :class:`Store` is one transaction: when it returns, what it says is
durable; when it raises, nothing happened. SQLite and Redis implement the same
protocol and pass the same conformance tests.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

from harness.ids import CallbackId, MessageId, SessionId, ToolCallId
from harness.stores.records import (
    AnsweredKey,
    CallbackRecord,
    CallbackState,
    CallResolution,
    ClaimedDelivery,
    DeadLetter,
    DeliveryAttempt,
    IdempotencyState,
    IdempotentAnswer,
    IncomingMessage,
    NewMessage,
    NextStep,
    ReceiveResult,
    Recovery,
    StoreCounts,
    ToolCallRecord,
)


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

    async def accept_chat(
        self, callback: CallbackRecord, *, answered: AnsweredKey | None = None
    ) -> None:
        """
        Remember an asynchronous chat; only then may the caller be told.

        Args:
            callback: The chat.
            answered: The idempotency key of its request, if it had one, with what a
                repetition is to be told: never a second chat.
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

    async def give_back(self, claim: ClaimedDelivery) -> bool:
        """
        Undo a claim whose attempt was not made.

        The delivery is due as it was, and the attempt is neither counted nor on record.

        Returns:
            False if the fence was overtaken; nothing changed then.
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

    async def purge(self, message_id: MessageId) -> DeadLetter | None:
        """
        Forget a dead letter with its attempts.

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
        Expire pending calls past their deadline, forget at times what is kept no longer.

        Returns:
            The calls that expired.
        """

    async def counts(self) -> StoreCounts:
        """
        Return how much the store holds.
        """
