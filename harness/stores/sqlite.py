"""
The embedded store: one SQLite file, one writer.

Each method hands one operation to the executor, which commits it, mostly together
with others. The statements are in ``outbox``, ``calls``, ``chats`` and
``housekeeping``.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Final

import apsw

from harness.clock import Clock
from harness.ids import (
    CallbackId,
    DeliveryId,
    IdMint,
    MessageId,
    SessionId,
    ToolCallId,
)
from harness.randomness import Randomness
from harness.stores import calls, chats, housekeeping, outbox
from harness.stores.file_lock import FileLock
from harness.stores.group_commit import Executor, GroupCommit, InlineCommit
from harness.stores.options import StoreOptions
from harness.stores.ports import (
    CallbackRecord,
    CallbackState,
    CallResolution,
    ClaimedDelivery,
    DeadLetter,
    DeliveryAttempt,
    IdempotencyState,
    IdempotentAnswer,
    IncomingMessage,
    MessageFor,
    NewMessage,
    NextStep,
    ReceiveResult,
    Recovery,
    StoreCounts,
    ToolCallRecord,
)
from harness.stores.rows import to_s, to_us
from harness.stores.schema import connect

SHUTDOWN: Final = "shutdown"
_FOR_EVER_US: Final = 2**62


class SqliteStore:
    """
    Keeps the :class:`~harness.stores.ports.Store` protocol in a SQLite file.

    Args:
        path: The file; its folder is made if it is not there.
        clock: Its wall clock stamps rows and says what is due.
        ids: Mints delivery ids.
        randomness: Spreads what a dead owner left over some seconds.
        options: Durability, retention and limits.
        is_inline: Run every operation at once in the caller's thread, for loops in
            which threads are forbidden.
        expiry_message: Makes the webhook of a call that nobody resolved in time.
    """

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        ids: IdMint,
        randomness: Randomness,
        options: StoreOptions | None = None,
        is_inline: bool = False,
        expiry_message: MessageFor | None = None,
    ) -> None:
        self.path = path
        self.options = options or StoreOptions()
        self._clock = clock
        self._ids = ids
        self._randomness = randomness
        self._expiry_message = expiry_message
        self._lock: FileLock | None = None
        self._executor: Executor = (
            InlineCommit(self._connect)
            if is_inline
            else GroupCommit(
                self._connect,
                clock=clock,
                queue_operations_max=self.options.queue_operations_max,
                batch_operations_max=self.options.batch_operations_max,
                batch_linger_s=self.options.batch_linger_s,
            )
        )

    def _connect(self) -> apsw.Connection:
        return connect(
            self.path,
            durability=self.options.durability,
            busy_timeout_s=self.options.busy_timeout_s,
        )

    def _now_us(self) -> int:
        return to_us(self._clock.wall())

    def _keep_until_us(self) -> int:
        return to_us(self._clock.wall() + self.options.result_keep_s)

    def _mint_delivery(self) -> DeliveryId:
        return DeliveryId(self._ids.mint("dlv"))

    async def open(self) -> Recovery:
        """
        Check the store, release what dead owners held, and say what was found.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock.acquire_nowait(self.path)
        try:
            await self._executor.start()
            return await self._executor.run(self._recover)
        except BaseException:
            self.abandon()
            raise

    def _recover(self, connection: apsw.Connection) -> Recovery:
        now_us = self._now_us()
        spread_us = to_us(self.options.recovery_spread_s)
        released = outbox.release_leases(
            connection,
            until_us=_FOR_EVER_US,
            now_us=now_us,
            due_us=lambda delivery_id: (
                now_us + int(self._randomness.draw("recovery", delivery_id) * spread_us)
            ),
            crashes_max=self.options.crashes_max,
        )
        housekeeping.release_keys(connection)
        expired = self._expire(connection, now_us)
        return Recovery(
            released_deliveries=released,
            expired_calls=len(expired),
            unfinished_chats=chats.load_pending(connection),
        )

    def _expire(
        self, connection: apsw.Connection, now_us: int
    ) -> Sequence[ToolCallRecord]:
        return calls.expire_overdue(
            connection,
            now_us=now_us,
            keep_until_us=self._keep_until_us(),
            calls_max=self.options.sweep_rows_max,
            message_for=self._expiry_message,
            mint_delivery=self._mint_delivery,
        )

    async def close(self) -> None:
        """
        Commit what is queued, release what is leased, and let go of the store.
        """
        if self._lock is None:
            return
        try:
            await self._executor.run(self._release_all)
        finally:
            await self._executor.stop()
            self._release_lock()

    def _release_all(self, connection: apsw.Connection) -> None:
        now_us = self._now_us()
        outbox.release_leases(
            connection,
            until_us=_FOR_EVER_US,
            now_us=now_us,
            due_us=lambda _: now_us,
            crashes_max=self.options.crashes_max,
            reason=SHUTDOWN,
        )

    def abandon(self) -> None:
        """
        Let go of the store as ``kill -9`` would: what was not committed is gone.
        """
        self._executor.abandon()
        self._release_lock()

    def _release_lock(self) -> None:
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    # Chats

    async def accept_chat(self, callback: CallbackRecord) -> None:
        """
        Remember an asynchronous chat; only then may the caller be told.
        """
        await self._executor.run(lambda db: chats.accept(db, callback))

    async def load_callback(self, callback_id: CallbackId) -> CallbackRecord | None:
        """
        Return an asynchronous chat, or None if it is unknown or no longer kept.
        """
        return await self._executor.run(lambda db: chats.load(db, callback_id))

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
        return await self._executor.run(lambda db: chats.load_session(db, session_id))

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
        return await self._executor.run(
            lambda db: calls.open_call(
                db, call, now_us=self._now_us(), delivery_id=delivery_id
            )
        )

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
        return await self._executor.run(lambda db: calls.load(db, tool_call_id))

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
            lambda db: outbox.claim(
                db,
                owner=owner,
                room=wanted,
                now_us=self._now_us(),
                lease_until_us=self._now_us() + to_us(lease_s),
                crashes_max=self.options.crashes_max,
            )
        )

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
        due_us = await self._executor.run(lambda db: outbox.next_due_us(db, names))
        return None if due_us is None else to_s(due_us)

    async def load_attempts(self, message_id: MessageId) -> Sequence[DeliveryAttempt]:
        """
        Return every attempt to deliver a message, oldest first.
        """
        return await self._executor.run(lambda db: outbox.attempts_of(db, message_id))

    async def dead_letters(self, *, letters_max: int) -> Sequence[DeadLetter]:
        """
        Return what was given up, oldest first.
        """
        return await self._executor.run(lambda db: outbox.dead_letters(db, letters_max))

    async def redeliver(self, message_id: MessageId) -> bool:
        """
        Put a dead letter back to be sent at once; False if there is none.
        """
        return await self._executor.run(
            lambda db: outbox.redeliver(db, message_id, now_us=self._now_us())
        )

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
        Expire pending calls past their deadline, forget what is no longer kept.
        """
        return await self._executor.run(self._sweep)

    def _sweep(self, connection: apsw.Connection) -> Sequence[ToolCallRecord]:
        expired = self._expire(connection, self._now_us())
        housekeeping.forget(connection, now_s=self._clock.wall(), options=self.options)
        return expired

    async def counts(self) -> StoreCounts:
        """
        Return how much the store holds.
        """
        return await self._executor.run(housekeeping.count)
