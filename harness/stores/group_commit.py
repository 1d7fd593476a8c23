"""
Many operations, one commit.

A commit to a disk costs far more than the statements in it. :class:`GroupCommit` has
one writer thread with one connection; whatever callers ask for while a commit is
under way goes into the next one together. Each operation runs in a savepoint of its
own, so that one that fails takes back its own changes only. Callers are told after
the commit, never before.

:class:`InlineCommit` keeps the same protocol without a thread, one commit per
operation: for loops in which time is simulated and threads are forbidden.
"""

import asyncio
import collections
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, TypeVar

import apsw

from harness.clock import Clock
from harness.errors import StoreUnavailableError

ResultT = TypeVar("ResultT")
Operation = Callable[[apsw.Connection], ResultT]
Connect = Callable[[], apsw.Connection]

QUEUE_OPERATIONS_MAX: Final = 10_000
"""More that wait for the writer are refused: memory is not a queue."""

BATCH_OPERATIONS_MAX: Final = 256
BATCH_LINGER_S: Final = 0.002
"""How long a commit waits for as many callers as the last one served."""

OUTAGES: Final = {
    apsw.FullError: "disk_full",
    apsw.IOError: "io_error",
    apsw.ReadOnlyError: "read_only",
    apsw.BusyError: "busy",
    apsw.LockedError: "busy",
    apsw.CantOpenError: "cannot_open",
    apsw.PermissionsError: "permissions",
    apsw.NoMemError: "no_memory",
    apsw.CorruptError: "corrupt",
    apsw.NotADBError: "corrupt",
    apsw.ProtocolError: "busy",
    apsw.InterruptError: "interrupted",
}
"""What says something about the store and nothing about the operation."""


class Executor(Protocol):
    """
    Runs operations on the store's connection, in the order they were asked for.
    """

    async def start(self) -> None:
        """
        Open the connection; raises what opening it raises.
        """

    async def run(self, operation: Operation[ResultT]) -> ResultT:
        """
        Return what the operation returns, once that is committed.

        Raises:
            StoreUnavailableError: Nothing was committed.
        """

    async def read(self, query: Operation[ResultT]) -> ResultT:
        """
        Return what a query returns; it changes nothing, so nothing is committed.

        Raises:
            StoreUnavailableError: Nothing was read.
        """

    async def stop(self) -> None:
        """
        Commit what is queued and close the connection.
        """

    def abandon(self) -> None:
        """
        Drop the connection as if the process had died.
        """


@dataclass(slots=True, kw_only=True)
class _Job:
    """
    An operation on its way through the writer.
    """

    operation: Operation[Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    is_query: bool = False
    result: Any = None
    error: BaseException | None = None

    def settle(self) -> None:
        """
        Tell the caller, unless it has gone.
        """
        if self.future.done():
            return
        if self.error is None:
            self.future.set_result(self.result)
        else:
            self.future.set_exception(self.error)


@dataclass(slots=True)
class _Batch:
    """
    The jobs of one commit.
    """

    jobs: Sequence[_Job] = field(default_factory=list)

    def fail(self, error: Exception) -> None:
        """
        Let every job end with an error of its own.
        """
        for job in self.jobs:
            job.error = as_outage(error)


def as_outage(error: Exception) -> StoreUnavailableError:
    """
    Return what a caller is told when the store itself fails.
    """
    if isinstance(error, StoreUnavailableError):
        return StoreUnavailableError(reason=error.reason)
    known = (word for kind, word in OUTAGES.items() if isinstance(error, kind))
    outage = StoreUnavailableError(reason=next(known, "sqlite_error"))
    outage.__cause__ = error
    return outage


def run_batch(connection: apsw.Connection, batch: _Batch) -> None:
    """
    Run the jobs in one transaction and note what each came to.
    """
    if len(batch.jobs) == 1:
        _run_only_job(connection, batch.jobs[0])
        return
    try:
        connection.execute("BEGIN IMMEDIATE")
        for job in batch.jobs:
            _run_job(connection, job)
        connection.execute("COMMIT")
    except Exception as error:  # noqa: BLE001 - the writer outlives every error
        _roll_back(connection)
        batch.fail(error)


def _run_job(connection: apsw.Connection, job: _Job) -> None:
    """
    Run one job in a savepoint; raise only what concerns the whole batch.
    """
    connection.execute("SAVEPOINT job")
    try:
        job.result = job.operation(connection)
    except tuple(OUTAGES):
        raise
    except Exception as error:
        if not connection.in_transaction:
            # SQLite rolled back everything, the neighbours included.
            raise
        connection.execute("ROLLBACK TO job")
        job.error = error
    connection.execute("RELEASE job")


def _run_only_job(connection: apsw.Connection, job: _Job) -> None:
    run_alone = run_query if job.is_query else run_committed
    try:
        job.result = run_alone(connection, job.operation)
    except Exception as error:  # noqa: BLE001 - handed over to whoever asked
        job.error = error


def run_committed(
    connection: apsw.Connection, operation: Operation[ResultT]
) -> ResultT:
    """
    Run an operation that has a transaction for itself: it needs no savepoint.

    Raises:
        StoreUnavailableError: Nothing was committed, for a reason of the store's.
    """
    failure = None
    try:
        connection.execute("BEGIN IMMEDIATE")
        try:
            result = operation(connection)
        except tuple(OUTAGES):
            raise
        except Exception as error:  # noqa: BLE001 - the operation's own, raised below
            failure = error
        else:
            connection.execute("COMMIT")
            return result
    except Exception as error:
        _roll_back(connection)
        raise as_outage(error) from error
    _roll_back(connection)
    raise failure


def run_query(connection: apsw.Connection, operation: Operation[ResultT]) -> ResultT:
    """
    Run an operation that only reads, and takes no lock from anybody who writes.

    Raises:
        StoreUnavailableError: Nothing was read, for a reason of the store's.
    """
    try:
        return operation(connection)
    except tuple(OUTAGES) as error:
        raise as_outage(error) from error


def _roll_back(connection: apsw.Connection) -> None:
    try:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
    except apsw.Error:
        # Nothing was committed, and the next BEGIN will say what is wrong.
        return


class GroupCommit:
    """
    The writer thread.

    Args:
        connect: Opens the connection, inside the writer thread.
        clock: Measures how long a commit waits for company.
        queue_operations_max: More that wait are refused.
        batch_operations_max: At most so many operations share a commit.
        batch_linger_s: At most so long a commit waits for as many callers as the one
            before it served. A caller that is alone never waits.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        clock: Clock,
        queue_operations_max: int = QUEUE_OPERATIONS_MAX,
        batch_operations_max: int = BATCH_OPERATIONS_MAX,
        batch_linger_s: float = BATCH_LINGER_S,
    ) -> None:
        self.commits = 0
        self._connect = connect
        self._clock = clock
        self._queue_operations_max = queue_operations_max
        self._batch_operations_max = batch_operations_max
        self._batch_linger_s = batch_linger_s
        self._queue: collections.deque[_Job] = collections.deque()
        self._changed = threading.Condition()
        self._is_closed = True
        self._is_abandoned = False
        self._wanted = 1
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        """
        Open the connection in the writer thread.
        """
        loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        self._is_closed = self._is_abandoned = False
        self._thread = threading.Thread(
            target=self._serve, args=(loop, opened), name="store-writer", daemon=True
        )
        self._thread.start()
        try:
            await opened
        except BaseException:
            self._close_queue()
            raise

    async def run(self, operation: Operation[ResultT]) -> ResultT:
        """
        Return what the operation returns, once that is committed.
        """
        return await self._ask(operation, is_query=False)

    async def read(self, query: Operation[ResultT]) -> ResultT:
        """
        Return what a query returns, after what was asked for before it.
        """
        return await self._ask(query, is_query=True)

    async def _ask(self, operation: Operation[ResultT], *, is_query: bool) -> ResultT:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[ResultT] = loop.create_future()
        job = _Job(operation=operation, loop=loop, future=future, is_query=is_query)
        with self._changed:
            if self._is_closed:
                raise StoreUnavailableError(reason="closed")
            if len(self._queue) >= self._queue_operations_max:
                raise StoreUnavailableError(reason="queue_full")
            self._queue.append(job)
            # The writer is woken for its first job and for a full batch; in
            # between it gathers by itself.
            if len(self._queue) in {1, self._wanted}:
                self._changed.notify()
        return await future

    async def stop(self) -> None:
        """
        Commit what is queued and close the connection.
        """
        thread = self._thread
        if thread is None:
            return
        self._close_queue()
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(None, thread.join)
        self._thread = None

    def abandon(self) -> None:
        """
        Drop the connection; what is queued is not run.
        """
        self._is_abandoned = True
        self._close_queue()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _close_queue(self) -> None:
        with self._changed:
            self._is_closed = True
            self._changed.notify()

    def _serve(
        self, loop: asyncio.AbstractEventLoop, opened: asyncio.Future[None]
    ) -> None:
        try:
            connection = self._connect()
        except Exception as error:  # noqa: BLE001 - start raises it to its caller
            _tell(loop, _set_exception_if_waiting, opened, error)
            return
        _tell(loop, _set_result_if_waiting, opened)
        while (batch := self._gather()) is not None:
            run_batch(connection, batch)
            self.commits += not all(job.is_query for job in batch.jobs)
            _tell_batch(batch)
        connection.close()

    def _gather(self) -> _Batch | None:
        """
        Wait for work and return it, or None when there will be no more.
        """
        with self._changed:
            while not self._queue and not self._is_closed:
                self._changed.wait()
            if self._is_abandoned or not self._queue:
                return None
            self._linger()
            taken: list[_Job] = []
            while self._queue and len(taken) < self._batch_operations_max:
                job = self._queue.popleft()
                if not job.future.cancelled():
                    taken.append(job)
            self._wanted = max(1, len(taken))
            return _Batch(taken)

    def _linger(self) -> None:
        """
        Wait for as many callers as the last commit served, but not for long.
        """
        until_s = self._clock.monotonic() + self._batch_linger_s
        while len(self._queue) < self._wanted and not self._is_closed:
            left_s = until_s - self._clock.monotonic()
            if left_s <= 0 or not self._changed.wait(left_s):
                return


def _tell_batch(batch: _Batch) -> None:
    """
    Tell the callers of each loop with one wake-up.
    """
    by_loop: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in batch.jobs:
        by_loop.setdefault(job.loop, []).append(job)
    for loop, jobs in by_loop.items():
        _tell(loop, _settle_all, jobs)


def _settle_all(jobs: Sequence[_Job]) -> None:
    for job in jobs:
        job.settle()


def _set_result_if_waiting(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _set_exception_if_waiting(future: asyncio.Future[None], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)


def _tell(
    loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *values: Any
) -> None:
    try:
        loop.call_soon_threadsafe(callback, *values)
    except RuntimeError:
        # The loop is closed: its callers are gone, the commit stands.
        return


class InlineCommit:
    """
    Runs each operation at once, in the caller's thread, in a commit of its own.

    Args:
        connect: Opens the connection.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._connection: apsw.Connection | None = None

    async def start(self) -> None:
        """
        Open the connection.
        """
        self._connection = self._connect()

    async def run(self, operation: Operation[ResultT]) -> ResultT:
        """
        Return what the operation returns; it is committed then.
        """
        return run_committed(self._opened(), operation)

    async def read(self, query: Operation[ResultT]) -> ResultT:
        """
        Return what a query returns.
        """
        return run_query(self._opened(), query)

    def _opened(self) -> apsw.Connection:
        if self._connection is None:
            raise StoreUnavailableError(reason="closed")
        return self._connection

    async def stop(self) -> None:
        """
        Close the connection.
        """
        self.abandon()

    def abandon(self) -> None:
        """
        Drop the connection; every commit stands.
        """
        if self._connection is not None:
            self._connection.close()
            self._connection = None
