"""
Many operations, one commit, and what happens when one of them or the store fails.
"""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import apsw
import pytest

from harness.clock import LoopClock
from harness.errors import StoreUnavailableError
from harness.stores import GroupCommit, InlineCommit

Executor = GroupCommit | InlineCommit


def insert(value: str) -> Callable[[apsw.Connection], str]:
    """
    Return an operation that writes a value and returns it.
    """

    def operation(connection: apsw.Connection) -> str:
        connection.execute("INSERT INTO things VALUES (?)", (value,))
        return value

    return operation


def stored(path: Path) -> list[str]:
    """
    Return what another connection sees.
    """
    connection = apsw.Connection(str(path))
    try:
        return [name for (name,) in connection.execute("SELECT name FROM things")]
    finally:
        connection.close()


class Bench:
    """
    An executor over a table of unique names.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.connections: list[apsw.Connection] = []

    def connect(self) -> apsw.Connection:
        """
        Open the file, with a table in it.
        """
        connection = apsw.Connection(str(self.path))
        connection.pragma("journal_mode", "WAL")
        connection.execute("CREATE TABLE IF NOT EXISTS things (name TEXT UNIQUE)")
        self.connections.append(connection)
        return connection

    def group(self, **options: int) -> GroupCommit:
        """
        Return a writer thread over it.
        """
        return GroupCommit(self.connect, clock=LoopClock(), **options)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """
    A fresh file.
    """
    return Bench(tmp_path / "things.db")


@pytest.fixture(params=["thread", "inline"])
async def executor(
    request: pytest.FixtureRequest, bench: Bench
) -> AsyncIterator[Executor]:
    """
    A running executor of either kind.
    """
    running: Executor = (
        bench.group() if request.param == "thread" else InlineCommit(bench.connect)
    )
    await running.start()
    try:
        yield running
    finally:
        await running.stop()


async def test_returns_after_the_commit(executor: Executor, bench: Bench) -> None:
    """
    What a caller was told is there for every other connection.
    """
    assert await executor.run(insert("a")) == "a"

    assert stored(bench.path) == ["a"]


async def test_many_callers_share_a_commit(bench: Bench) -> None:
    """
    Callers at once are served by few commits, each told its own result.
    """
    executor = bench.group()
    await executor.start()

    async with asyncio.TaskGroup() as tasks:
        told = [
            tasks.create_task(executor.run(insert(str(number))))
            for number in range(500)
        ]
    await executor.stop()

    assert [task.result() for task in told] == [str(number) for number in range(500)]
    assert len(stored(bench.path)) == 500
    assert executor.commits <= 10


async def test_a_batch_is_bounded(bench: Bench) -> None:
    """
    No more operations share a commit than the limit says.
    """
    executor = bench.group(batch_operations_max=10)
    await executor.start()

    async with asyncio.TaskGroup() as tasks:
        for number in range(100):
            tasks.create_task(executor.run(insert(str(number))))
    await executor.stop()

    assert executor.commits >= 10


async def test_one_that_fails_harms_no_neighbour(bench: Bench) -> None:
    """
    An operation that raises takes back its own changes and nobody else's.
    """
    executor = bench.group()
    await executor.start()

    def broken(connection: apsw.Connection) -> None:
        connection.execute("INSERT INTO things VALUES ('broken')")
        message = "after it wrote"
        raise LookupError(message)

    async def run(operation: Callable[[apsw.Connection], object]) -> object:
        try:
            return await executor.run(operation)
        except (LookupError, apsw.ConstraintError) as error:
            return type(error)

    operations = [insert("a"), broken, insert("a"), insert("b")]
    async with asyncio.TaskGroup() as tasks:
        told = [tasks.create_task(run(operation)) for operation in operations]
    await executor.stop()

    assert [task.result() for task in told] == [
        "a",
        LookupError,
        apsw.ConstraintError,
        "b",
    ]
    assert stored(bench.path) == ["a", "b"]


async def test_a_full_queue_refuses(bench: Bench) -> None:
    """
    When as much waits as may wait, the next caller is told so at once.
    """
    executor = bench.group(queue_operations_max=2)
    await executor.start()
    entered, release = threading.Event(), threading.Event()

    def block(_: apsw.Connection) -> None:
        entered.set()
        release.wait(30)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(executor.run(block))
        await asyncio.get_running_loop().run_in_executor(None, entered.wait, 30)
        waiting = [tasks.create_task(executor.run(insert(name))) for name in "ab"]
        await LoopClock().sleep(0)
        with pytest.raises(StoreUnavailableError) as refused:
            await executor.run(insert("c"))
        release.set()
    await executor.stop()

    assert refused.value.reason == "queue_full"
    assert [task.result() for task in waiting] == ["a", "b"]
    assert stored(bench.path) == ["a", "b"]


async def test_a_caller_that_left_is_skipped(bench: Bench) -> None:
    """
    An operation whose caller was cancelled while it waited is not run.
    """
    executor = bench.group()
    await executor.start()
    entered, release = threading.Event(), threading.Event()

    def block(_: apsw.Connection) -> None:
        entered.set()
        release.wait(30)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(executor.run(block))
        await asyncio.get_running_loop().run_in_executor(None, entered.wait, 30)
        left = tasks.create_task(executor.run(insert("left")))
        await LoopClock().sleep(0)
        left.cancel()
        await LoopClock().sleep(0)
        release.set()
    await executor.stop()

    assert stored(bench.path) == []


@pytest.mark.parametrize(
    ("sql", "undo", "reason"),
    [
        ("PRAGMA max_page_count = 4", "PRAGMA max_page_count = 100000", "disk_full"),
        ("PRAGMA query_only = 1", "PRAGMA query_only = 0", "read_only"),
    ],
)
async def test_an_outage_commits_nothing_and_passes(
    executor: Executor, bench: Bench, sql: str, undo: str, reason: str
) -> None:
    """
    A full disk or a read-only file fails every caller, and the store comes back.
    """
    (connection,) = bench.connections
    big = "x" * 100_000
    connection.execute(sql).fetchall()

    with pytest.raises(StoreUnavailableError) as outage:
        await executor.run(insert(big))
    connection.execute(undo).fetchall()

    assert outage.value.reason == reason
    assert stored(bench.path) == []
    assert await executor.run(insert("after")) == "after"
    assert stored(bench.path) == ["after"]


async def test_a_busy_file_is_an_outage(executor: Executor, bench: Bench) -> None:
    """
    While another program writes, callers are refused; afterwards all is well.
    """
    other = apsw.Connection(str(bench.path))
    other.execute("BEGIN IMMEDIATE")

    with pytest.raises(StoreUnavailableError) as outage:
        await executor.run(insert("a"))
    other.execute("ROLLBACK")
    other.close()

    assert outage.value.reason == "busy"
    assert await executor.run(insert("b")) == "b"
    assert stored(bench.path) == ["b"]


async def test_reads_while_another_program_writes(
    executor: Executor, bench: Bench
) -> None:
    """
    A query takes no lock: it is answered as of the last commit, however busy the file.
    """
    await executor.run(insert("a"))
    other = apsw.Connection(str(bench.path))
    other.execute("BEGIN IMMEDIATE")
    other.execute("INSERT INTO things VALUES ('uncommitted')")

    names = await executor.read(
        lambda db: db.execute("SELECT name FROM things").fetchall()
    )
    other.execute("ROLLBACK")
    other.close()

    assert names == [("a",)]


async def test_reads_what_was_asked_for_before(bench: Bench) -> None:
    """
    A query sees the operations before it, also those that it shares a commit with.
    """
    executor = bench.group()
    await executor.start()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(executor.run(insert("a")))
        tasks.create_task(executor.run(insert("b")))
        seen = tasks.create_task(
            executor.read(lambda db: db.execute("SELECT name FROM things").fetchall())
        )
    await executor.stop()

    assert seen.result() == [("a",), ("b",)]


async def test_a_query_alone_commits_nothing(bench: Bench) -> None:
    """
    What only reads is no commit, and is not counted as one.
    """
    executor = bench.group()
    await executor.start()

    await executor.run(insert("a"))
    for _ in range(3):
        await executor.read(lambda db: db.execute("SELECT 1").fetchall())
    await executor.stop()

    assert executor.commits == 1


async def test_a_query_that_cannot_be_read_is_an_outage(
    executor: Executor, bench: Bench
) -> None:
    """
    What the store itself refuses is told as an outage; a mistake in a query as itself.
    """

    def refuse(_: apsw.Connection) -> None:
        raise apsw.IOError

    with pytest.raises(StoreUnavailableError) as outage:
        await executor.read(refuse)
    with pytest.raises(apsw.SQLError):
        await executor.read(lambda db: db.execute("SELECT nonsense"))

    assert outage.value.reason == "io_error"
    assert await executor.run(insert("a")) == "a"
    assert stored(bench.path) == ["a"]


async def test_stopping_commits_what_is_queued(bench: Bench) -> None:
    """
    Whoever asked before the end is told after a commit; whoever asks later is refused.
    """
    executor = bench.group()
    await executor.start()

    async with asyncio.TaskGroup() as tasks:
        told = [tasks.create_task(executor.run(insert(name))) for name in "abc"]
        await LoopClock().sleep(0)
        await executor.stop()

    assert [task.result() for task in told] == ["a", "b", "c"]
    with pytest.raises(StoreUnavailableError):
        await executor.run(insert("d"))
    assert stored(bench.path) == ["a", "b", "c"]


async def test_inline_uses_no_thread(bench: Bench) -> None:
    """
    The inline executor runs in the caller's thread and starts none.
    """
    threads = threading.active_count()
    executor = InlineCommit(bench.connect)
    await executor.start()

    ran_in = await executor.run(lambda _: threading.current_thread())

    assert ran_in is threading.current_thread()
    assert threading.active_count() == threads
    await executor.stop()
