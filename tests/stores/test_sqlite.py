"""
What is particular to the embedded store: its file, its lock, its plans.
"""

import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import apsw
import pytest

from harness.clock import LoopClock
from harness.errors import (
    OptionsError,
    StoreDamagedError,
    StoreLockedError,
    StoreUnavailableError,
    UsageError,
)
from harness.ids import IdMint
from harness.randomness import Randomness
from harness.stores import (
    Durability,
    SqliteStore,
    Store,
    StoreOptions,
    calls,
    chats,
    housekeeping,
    leases,
    open_store,
    outbox,
    parse_store_path,
)


def statements() -> list[Any]:
    """
    Return every statement of the store, with its name.
    """
    modules: list[ModuleType] = [calls, chats, housekeeping, leases, outbox]
    return [
        pytest.param(value, id=f"{module.__name__.rpartition('.')[2]}{name.lower()}")
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, str)
        and value.split(maxsplit=1)[0] in {"SELECT", "UPDATE", "DELETE", "INSERT"}
    ]


@pytest.mark.parametrize("statement", statements())
async def test_no_statement_walks_over_finished_rows(
    store: SqliteStore, statement: str
) -> None:
    """
    Every statement finds its rows by an index: a million finished ones cost nothing.
    """
    reader = apsw.Connection(str(store.path))
    values = dict.fromkeys(re.findall(r":(\w+)", statement))

    found = reader.execute(f"EXPLAIN QUERY PLAN {statement}", values)
    plan = [detail for *_, detail in found]

    scans = [
        detail
        for detail in plan
        if detail.startswith("SCAN")
        and "INDEX" not in detail
        and "CONSTANT ROW" not in detail
    ]
    assert scans == []
    reader.close()


def test_keeps_the_protocol(tmp_path: Path) -> None:
    """
    The type checker agrees that the embedded store is a store.
    """
    store: Store = SqliteStore(
        tmp_path / "a.db", clock=LoopClock(), ids=IdMint(), randomness=Randomness(1)
    )

    assert store is not None


async def test_refuses_a_second_writer(builder: Any) -> None:
    """
    A store that is open cannot be opened again, until it is closed.
    """
    async with builder.opened():
        with pytest.raises(StoreLockedError) as refused:
            await builder.build().open()

    assert str(builder.path) in str(refused.value)
    async with builder.opened():
        pass


@pytest.mark.sockets
async def test_refuses_another_process(builder: Any) -> None:
    """
    Another process is refused with a clear message.
    """
    script = f"""
import asyncio
from harness.clock import LoopClock
from harness.ids import IdMint
from harness.randomness import Randomness
from harness.stores import open_store

store = open_store(
    "sqlite:///{builder.path}", clock=LoopClock(), ids=IdMint(), randomness=Randomness()
)
asyncio.run(store.open())
"""
    async with builder.opened():
        other = subprocess.run(  # noqa: ASYNC221, S603 - nothing else runs meanwhile
            [sys.executable, "-c", script], capture_output=True, text=True, check=False
        )

    assert other.returncode != 0
    assert "StoreLockedError" in other.stderr
    assert "in use by another process" in other.stderr


@pytest.mark.parametrize("content", [b"not a database" * 100, b""])
async def test_refuses_what_is_no_database(builder: Any, content: bytes) -> None:
    """
    A file that is no database is refused and left as it is; an empty one is used.
    """
    builder.path.write_bytes(content)

    if content:
        with pytest.raises(StoreDamagedError):
            await builder.build().open()
        assert builder.path.read_bytes() == content
    else:
        async with builder.opened():
            pass


async def test_refuses_another_programs_database(builder: Any) -> None:
    """
    A database that is not ours is not written to.
    """
    other = apsw.Connection(str(builder.path))
    other.execute("CREATE TABLE theirs (x)")
    other.close()

    with pytest.raises(StoreDamagedError, match="another program"):
        await builder.build().open()


async def test_refuses_another_version(builder: Any) -> None:
    """
    A store of another version of this program is refused, naming both versions.
    """
    async with builder.opened():
        pass
    other = apsw.Connection(str(builder.path))
    other.pragma("user_version", 99)
    other.close()

    with pytest.raises(StoreDamagedError, match="99"):
        await builder.build().open()


async def test_refuses_a_damaged_file(builder: Any) -> None:
    """
    The check at the start finds a page that is broken.
    """
    async with builder.opened() as (store, _):
        for number in range(200):
            await store.enqueue(builder.message(str(number)))
    content = bytearray(builder.path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 8192] = b"\xff" * 8192
    builder.path.write_bytes(content)

    with pytest.raises(StoreDamagedError):
        await builder.build().open()
    # The refusal let go of the lock.
    with pytest.raises(StoreDamagedError):
        await builder.build().open()


async def test_says_so_when_the_folder_cannot_hold_it(builder: Any) -> None:
    """
    A path that cannot be opened is an outage with a reason, not a traceback of SQLite.
    """
    builder.path.mkdir()
    with pytest.raises(StoreUnavailableError):
        await builder.build().open()

    builder.path.rmdir()
    builder.path.write_text("a file")
    builder.path = builder.path / "store.db"
    with pytest.raises(StoreUnavailableError):
        await builder.build().open()


@pytest.mark.parametrize(
    ("durability", "synchronous"),
    [
        (Durability.POWER_LOSS, 2),
        (Durability.PROCESS, 1),
        (Durability.SIMULATED, 0),
    ],
)
async def test_syncs_as_promised(
    builder: Any, durability: Durability, synchronous: int
) -> None:
    """
    The journal is a write-ahead log, and commits are synced as the options say.
    """
    options = StoreOptions(durability=durability)
    async with builder.opened(options) as (store, _):
        pragmas = await store._executor.run(
            lambda db: (db.pragma("journal_mode"), db.pragma("synchronous"))
        )

    assert pragmas == ("wal", synchronous)
    assert StoreOptions().durability is Durability.POWER_LOSS


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///store.db", "store.db"),
        ("sqlite:///data/store.db", "data/store.db"),
        ("sqlite:////var/lib/store.db", "/var/lib/store.db"),
        ("sqlite:///with%20space.db", "with space.db"),
    ],
)
def test_reads_paths_from_urls(url: str, path: str) -> None:
    """
    Three slashes begin a relative path, four an absolute one.
    """
    assert parse_store_path(url) == Path(path)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("redis://localhost:6379/0", "Redis is not supported yet"),
        ("rediss://localhost", "Redis is not supported yet"),
        ("sqlite:///", "sqlite:///PATH"),
        ("sqlite:///:memory:", "sqlite:///PATH"),
        ("store.db", "sqlite:///PATH"),
        ("postgres://x", "sqlite:///PATH"),
    ],
)
def test_refuses_other_urls(url: str, words: str) -> None:
    """
    A URL that names no store says what would.
    """
    with pytest.raises(UsageError, match=words):
        open_store(url, clock=LoopClock(), ids=IdMint(), randomness=Randomness())


def test_refuses_options_that_make_no_sense() -> None:
    """
    All mistakes in the options are named at once.
    """
    with pytest.raises(OptionsError) as refused:
        StoreOptions(crashes_max=0, batch_operations_max=0)

    assert set(refused.value.fields) == {"crashes_max", "batch_operations_max"}
