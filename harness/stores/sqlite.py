"""
The embedded store: one SQLite file, one writer.

Each method hands one operation to the executor, which commits it, mostly together
with others. The statements are in ``outbox``, ``leases``, ``calls``, ``chats`` and
``housekeeping``.
"""

from collections.abc import Collection, Mapping, Sequence

import apsw

from harness.ids import CallbackId, MessageId, SessionId, ToolCallId
from harness.stores import calls, chats, housekeeping, leases, outbox
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
    StoreCounts,
    ToolCallRecord,
)
from harness.stores.rows import to_s, to_us
from harness.stores.sqlite_file import SqliteFile


class SqliteStore(SqliteFile):
    """
    Keeps the :class:`~harness.stores.ports.Store` protocol in a SQLite file.
    """

    # Chats

    async def accept_chat(
        self, callback: CallbackRecord, *, answered: AnsweredKey | None = None
    ) -> None:
        """
        Remember an asynchronous chat; only then may the caller be told.
        """
        await self._executor.run(
            lambda db: chats.accept(db, callback, answered=answered)
        )

    async def load_callback(self, callback_id: CallbackId) -> CallbackRecord | None:
        """
        Return an asynchronous chat, or None if it is unknown or no longer kept.
        """
        return await self._executor.read(lambda db: chats.load(db, callback_id))

    async def save_progress(self, callback_id: CallbackId, progress_json: str) -> None:
        """
        Remember the conversation of a pending chat as of this step.
        """
        await self._executor.run(
            lambda db: chats.save_progress(db, callback_id, progress_json)
        )

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
        End a pending chat together with its webhook; False if it had ended.
        """
        delivery_id = self._mint_delivery()
        return await self._executor.run(
            lambda db: chats.finish(
                db,
                callback_id,
                state=state,
                result_json=result_json,
                error_json=error_json,
                message=message,
                delivery_id=delivery_id,
                now_us=self._now_us(),
                keep_until_us=self._keep_until_us(),
            )
        )

    async def load_session(self, session_id: SessionId) -> str | None:
        """
        Return the conversation of a session as JSON, or None.
        """
        return await self._executor.read(lambda db: chats.load_session(db, session_id))

    async def save_session(self, session_id: SessionId, conversation_json: str) -> None:
        """
        Remember the conversation of a session.
        """
        await self._executor.run(
            lambda db: chats.save_session(
                db, session_id, conversation_json, now_us=self._now_us()
            )
        )

    # Tool calls

    async def open_call(self, call: ToolCallRecord) -> ToolCallRecord:
        """
        Remember a tool call before it is dispatched, and return it as it stands.
        """
        delivery_id = self._mint_delivery()
        opened, told = await self._executor.run(
            lambda db: calls.open_call(
                db, call, now_us=self._now_us(), delivery_id=delivery_id
            )
        )
        self._tell([told])
        return opened

    async def finish_call(
        self, call: ToolCallRecord, *, message: NewMessage | None
    ) -> bool:
        """
        Write the end of a call together with its webhook; False if it had ended.
        """
        delivery_id = self._mint_delivery()
        return await self._executor.run(
            lambda db: calls.finish_call(
                db,
                call,
                message=message,
                now_us=self._now_us(),
                keep_until_us=self._keep_until_us(),
                delivery_id=delivery_id,
            )
        )

    async def load_call(self, tool_call_id: ToolCallId) -> ToolCallRecord | None:
        """
        Return a tool call, or None if it is unknown or no longer kept.
        """
        return await self._executor.read(lambda db: calls.load(db, tool_call_id))

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
        """
        delivery_id = self._mint_delivery()
        return await self._executor.run(
            lambda db: calls.receive(
                db,
                incoming,
                resolution=resolution,
                message=message,
                now_us=self._now_us(),
                delivery_id=delivery_id,
            )
        )

    # Outgoing webhooks

    async def enqueue(self, message: NewMessage) -> bool:
        """
        Write a message and its delivery; False if its dedupe key was known.
        """
        delivery_id = self._mint_delivery()
        return await self._executor.run(
            lambda db: outbox.insert_message(
                db, message, delivery_id=delivery_id, now_us=self._now_us()
            )
        )

    async def claim(
        self, *, owner: str, lease_s: float, room: Mapping[str, int]
    ) -> Sequence[ClaimedDelivery]:
        """
        Lease deliveries that are due, oldest first, and count their attempt.
        """
        wanted = dict(room)
        return await self._executor.run(
            lambda db: leases.claim(
                db,
                owner=owner,
                room=wanted,
                now_us=self._now_us(),
                lease_until_us=self._now_us() + to_us(lease_s),
                crashes_max=self.options.crashes_max,
            )
        )

    async def give_back(self, claim: ClaimedDelivery) -> bool:
        """
        Undo a claim whose attempt was not made; False if the fence was overtaken.
        """
        return await self._executor.run(lambda db: leases.give_back(db, claim))

    async def finish_delivery(
        self, claim: ClaimedDelivery, *, attempt: DeliveryAttempt, step: NextStep
    ) -> bool:
        """
        Record an attempt and what follows; False if the fence was overtaken.
        """
        return await self._executor.run(
            lambda db: outbox.finish(
                db,
                claim,
                attempt=attempt,
                step=step,
                now_us=self._now_us(),
                keep_until_us=self._keep_until_us(),
            )
        )

    async def next_due_s(self, *, endpoints: Collection[str]) -> float | None:
        """
        Return when the next delivery to any of these endpoints is due, if one waits.
        """
        names = tuple(endpoints)
        due_us = await self._executor.read(lambda db: outbox.next_due_us(db, names))
        return None if due_us is None else to_s(due_us)

    async def load_attempts(self, message_id: MessageId) -> Sequence[DeliveryAttempt]:
        """
        Return every attempt to deliver a message, oldest first.
        """
        return await self._executor.read(lambda db: outbox.attempts_of(db, message_id))

    async def dead_letters(self, *, letters_max: int) -> Sequence[DeadLetter]:
        """
        Return what was given up, oldest first.
        """
        return await self._executor.read(
            lambda db: outbox.dead_letters(db, letters_max)
        )

    async def redeliver(self, message_id: MessageId) -> DeadLetter | None:
        """
        Put a dead letter back to be sent at once; None if there is none.
        """
        return await self._executor.run(
            lambda db: outbox.redeliver(db, message_id, now_us=self._now_us())
        )

    async def purge(self, message_id: MessageId) -> DeadLetter | None:
        """
        Forget a dead letter with its attempts; None if there is none.
        """
        return await self._executor.run(lambda db: outbox.purge(db, message_id))

    # Idempotency keys

    async def begin_idempotent(self, key: str, *, body_sha256: str) -> IdempotencyState:
        """
        Claim an idempotency key, or say what became of it.
        """
        return await self._executor.run(
            lambda db: chats.begin_key(
                db, key, body_sha256=body_sha256, now_us=self._now_us()
            )
        )

    async def finish_idempotent(self, key: str, answer: IdempotentAnswer) -> None:
        """
        Remember the answer to a key.
        """
        await self._executor.run(lambda db: chats.finish_key(db, key, answer))

    async def release_idempotent(self, key: str) -> None:
        """
        Free a key whose request came to nothing, so that it may be tried again.
        """
        await self._executor.run(lambda db: chats.release_key(db, key))

    # Housekeeping

    async def sweep(self) -> Sequence[ToolCallRecord]:
        """
        Expire pending calls past their deadline, forget at times what is kept no longer.
        """
        if not (self._is_forgetting_due() or await self._executor.read(self._overdue)):
            return ()
        expired = await self._executor.run(self._sweep)
        self._tell(message for _, message in expired)
        return [call for call, _ in expired]

    def _sweep(
        self, connection: apsw.Connection
    ) -> Sequence[tuple[ToolCallRecord, NewMessage | None]]:
        expired = self._expire(connection, self._now_us())
        if self._is_forgetting_due():
            now_s = self._clock.wall()
            forgotten = housekeeping.forget(
                connection, now_s=now_s, options=self.options
            )
            # What was too much for one sweep does not wait for the interval.
            if forgotten < self.options.sweep_rows_max:
                self._forgot_s = now_s
        return expired

    def _is_forgetting_due(self) -> bool:
        # A wall clock that was set back must not put it off.
        since_s = self._clock.wall() - self._forgot_s
        return not 0 <= since_s < self.options.forget_interval_s

    def _overdue(self, connection: apsw.Connection) -> bool:
        return calls.is_overdue(connection, now_us=self._now_us())

    async def counts(self) -> StoreCounts:
        """
        Return how much the store holds.
        """
        return await self._executor.read(housekeeping.count)
