"""
The life of an embedded store: opened and recovered, closed, or abandoned.
"""

import contextlib
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import apsw

from harness.clock import Clock
from harness.errors import StoreUnavailableError
from harness.ids import DeliveryId, IdMint
from harness.randomness import Randomness
from harness.stores import calls, chats, housekeeping, leases
from harness.stores.file_lock import FileLock
from harness.stores.group_commit import Executor, GroupCommit, InlineCommit
from harness.stores.options import StoreOptions
from harness.stores.records import (
    MessageFor,
    NewMessage,
    OnEnqueued,
    Recovery,
    ToolCallRecord,
)
from harness.stores.rows import to_us
from harness.stores.schema import connect

SHUTDOWN: Final = "shutdown"
_FOR_EVER_US: Final = 2**62


class SqliteFile:
    """
    A SQLite store from its opening to its end, before any question is asked of it.

    Args:
        path: The file; its folder is made if it is not there.
        clock: Its wall clock stamps rows and says what is due.
        ids: Mints delivery ids.
        randomness: Spreads what a dead owner left over some seconds.
        options: Durability, retention and limits.
        is_inline: Run every operation at once in the caller's thread, for loops in
            which threads are forbidden.
        expiry_message: Makes the webhook of a call that nobody resolved in time.
        on_enqueued: Told of webhooks that the store writes on its own.
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
        on_enqueued: OnEnqueued | None = None,
    ) -> None:
        self.path = path
        self.options = options or StoreOptions()
        self._clock = clock
        self._ids = ids
        self._randomness = randomness
        self._expiry_message = expiry_message
        self._on_enqueued = on_enqueued
        self._lock: FileLock | None = None
        self._forgot_s = -math.inf
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
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            reason = f"cannot make {self.path.parent}: {error.strerror}"
            raise StoreUnavailableError(reason=reason) from error
        self._lock = FileLock.acquire_nowait(self.path)
        try:
            await self._executor.start()
            recovery, told = await self._executor.run(self._recover)
        except BaseException:
            self.abandon()
            raise
        self._tell(told)
        return recovery

    def _tell(self, messages: Iterable[NewMessage | None]) -> None:
        """
        Tell of webhooks that are committed.
        """
        for message in messages:
            if message is not None and self._on_enqueued is not None:
                self._on_enqueued(message)

    def _recover(
        self, connection: apsw.Connection
    ) -> tuple[Recovery, Sequence[NewMessage | None]]:
        now_us = self._now_us()
        spread_us = to_us(self.options.recovery_spread_s)
        released = leases.release_leases(
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
        recovery = Recovery(
            released_deliveries=released,
            expired_calls=len(expired),
            unfinished_chats=chats.load_pending(connection),
        )
        return recovery, [message for _, message in expired]

    def _expire(
        self, connection: apsw.Connection, now_us: int
    ) -> Sequence[tuple[ToolCallRecord, NewMessage | None]]:
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
            # A store that is out releases them when it is opened again.
            with contextlib.suppress(StoreUnavailableError):
                await self._executor.run(self._release_all)
        finally:
            await self._executor.stop()
            self._release_lock()

    def _release_all(self, connection: apsw.Connection) -> None:
        now_us = self._now_us()
        leases.release_leases(
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
