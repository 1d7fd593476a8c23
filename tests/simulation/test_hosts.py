"""
Hosts: a crash takes everything but what is on the disk.
"""

import asyncio
import gc
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from harness.clock import Clock, LoopClock
from harness.errors import UsageError
from harness.simulation import Ending, Host, SimLoop, current_life, run_virtual

URL = "http://127.0.0.1:8000/"


async def serve_for_ever(clock: Clock, tidied_up: list[str]) -> None:
    """
    Answer with the number of this life until cancelled.
    """

    async def answer(_request: web.Request) -> web.Response:
        await clock.sleep(10)
        return web.Response(text=str(current_life().number))

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 8_000).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()
        tidied_up.append("runner")


@pytest.fixture
def service(virtual_time: SimLoop) -> Host:
    """
    A host named service.
    """
    return Host(loop=virtual_time, name="service")


async def test_a_crash_resets_connections_and_runs_no_finally(
    service: Host, clock: Clock, virtual_time: SimLoop
) -> None:
    """
    A crash resets who is connected; nothing of the program runs again.
    """
    tidied_up: list[str] = []
    service.start(lambda: serve_for_ever(clock, tidied_up))
    await clock.sleep(1)
    virtual_time.call_later(5, service.crash)

    async with aiohttp.ClientSession() as session:
        started_s = clock.monotonic()
        with pytest.raises(aiohttp.ClientOSError):
            await session.get(URL)
        failed_after_s = clock.monotonic() - started_s
        with pytest.raises(aiohttp.ClientConnectorError):
            await session.get(URL)
        await clock.sleep(3600)

    assert failed_after_s == 5.0
    assert not service.is_up
    assert await service.wait_ended() is Ending.CRASHED
    assert tidied_up == []
    assert not any("service" in line for line in virtual_time.waiting())


async def test_a_silent_crash_leaves_connections_half_open(
    service: Host, clock: Clock, virtual_time: SimLoop
) -> None:
    """
    When a machine is gone without a word, only a timeout tells its peers.
    """
    service.start(lambda: serve_for_ever(clock, []))
    await clock.sleep(1)
    virtual_time.call_later(5, lambda: service.crash(silently=True))

    async with aiohttp.ClientSession() as session:
        with pytest.raises(TimeoutError):
            await session.get(URL, timeout=aiohttp.ClientTimeout(total=60))


async def test_a_restarted_host_is_another_life(service: Host, clock: Clock) -> None:
    """
    After a restart the same address answers, from a new life with nothing of the old.
    """
    service.start(lambda: serve_for_ever(clock, []))
    await clock.sleep(1)
    service.crash()

    service.start(lambda: serve_for_ever(clock, []))
    await clock.sleep(1)
    async with aiohttp.ClientSession() as session, session.get(URL) as response:
        text = await response.text()

    assert text == "2"
    await service.stop()


async def test_stop_tidies_up(service: Host, clock: Clock) -> None:
    """
    A host that is stopped runs its finally blocks, and says that it was stopped.
    """
    tidied_up: list[str] = []
    service.start(lambda: serve_for_ever(clock, tidied_up))
    await clock.sleep(1)

    await service.stop()

    assert tidied_up == ["runner"]
    assert await service.wait_ended() is Ending.STOPPED


async def test_what_a_program_raises_reaches_who_waits(service: Host) -> None:
    """
    An error of the program is raised by wait_ended.
    """

    async def fail() -> None:
        raise ValueError(current_life().host)

    service.start(fail)

    with pytest.raises(ValueError, match="service"):
        await service.wait_ended()


async def test_starting_twice_and_crashing_what_is_down_are_mistakes(
    service: Host, clock: Clock
) -> None:
    """
    A host that is up cannot be started, one that is down cannot crash.
    """
    with pytest.raises(UsageError, match="is down"):
        service.crash()
    service.start(lambda: serve_for_ever(clock, []))
    with pytest.raises(UsageError, match="is up"):
        service.start(lambda: serve_for_ever(clock, []))
    await service.stop()


@pytest.fixture
def collecting() -> Iterator[Callable[[Callable[[], None]], None]]:
    """
    Call something with a garbage collection at each of its calls.
    """
    gc.collect()
    gc.freeze()

    def call(what: Callable[[], None]) -> None:
        outer = sys.getprofile()
        sys.setprofile(lambda *_: gc.collect())
        try:
            what()
        finally:
            sys.setprofile(outer)

    yield call
    gc.unfreeze()


async def test_a_collection_in_the_middle_of_a_crash_runs_no_finally(
    service: Host,
    clock: Clock,
    collecting: Callable[[Callable[[], None]], None],
) -> None:
    """
    A program that nobody but its host holds is not freed while it dies.
    """
    tidied_up: list[str] = []

    async def hang() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            tidied_up.append("hang")

    service.start(hang)
    await clock.sleep(1)

    collecting(service.crash)
    gc.collect()

    assert tidied_up == []


def test_context_managers_of_a_crashed_program_stay_open() -> None:
    """
    The end of the loop, which closes generators, leaves those of a crash alone.
    """
    closed: list[str] = []

    @asynccontextmanager
    async def opened(name: str) -> AsyncIterator[None]:
        try:
            yield
        finally:
            closed.append(name)

    async def hold(name: str) -> None:
        async with opened(name):
            await asyncio.Event().wait()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimLoop)
        crashed, stopped = (Host(loop=loop, name=name) for name in ("one", "other"))
        crashed.start(lambda: hold("crashed"))
        stopped.start(lambda: hold("stopped"))
        await LoopClock().sleep(1)
        crashed.crash()
        await stopped.stop()

    run_virtual(main)
    gc.collect()

    assert closed == ["stopped"]


async def test_the_dying_step_reaches_nobody(
    service: Host, clock: Clock, virtual_time: SimLoop
) -> None:
    """
    What code does between its own crash and its next wait stays without effect.
    """
    after: list[str] = []

    async def crash_myself() -> None:
        service.crash()
        virtual_time.call_soon(after.append, "soon")
        virtual_time.call_later(1, after.append, "later")
        await clock.sleep(1)
        after.append("awake")

    service.start(crash_myself)
    await clock.sleep(60)

    assert after == []


async def test_the_disk_keeps_what_was_committed(
    virtual_time: SimLoop, clock: Clock, tmp_path: Path
) -> None:
    """
    After a crash the disk has every commit and nothing of an open transaction.
    """
    disk = tmp_path / "disk"
    disk.mkdir()
    host = Host(loop=virtual_time, name="store", disk=disk)

    async def write() -> None:
        store = sqlite3.connect(disk / "store.db", isolation_level=None)
        store.execute("PRAGMA journal_mode = WAL")
        store.execute("PRAGMA synchronous = OFF")
        store.execute("CREATE TABLE entry (name TEXT)")
        store.execute("INSERT INTO entry VALUES ('committed')")
        store.execute("BEGIN IMMEDIATE")
        store.execute("INSERT INTO entry VALUES ('open')")
        await clock.sleep(60)
        store.execute("COMMIT")

    host.start(write)
    await clock.sleep(1)
    host.crash()

    with sqlite3.connect(disk / "store.db") as reopened:
        reopened.execute("INSERT INTO entry VALUES ('after')")
        names = [name for (name,) in reopened.execute("SELECT name FROM entry")]
    reopened.close()

    assert names == ["committed", "after"]


def test_no_finally_runs_even_at_exit() -> None:
    """
    The interpreter's own end does not tidy up after a crashed host either.
    """
    program = """
import asyncio
from harness.simulation import Host, SimLoop, run_virtual

async def hang():
    try:
        await asyncio.Event().wait()
    finally:
        print("tidied up")

async def main():
    loop = asyncio.get_running_loop()
    host = Host(loop=loop, name="service")
    host.start(hang)
    loop.call_later(1, host.crash)
    print((await host.wait_ended()).value)

run_virtual(main)
"""

    ended = subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )

    assert ended.stdout == "crashed\n"
    assert ended.stderr == ""


async def test_what_a_dying_step_starts_never_runs(
    virtual_time: SimLoop, clock: Clock
) -> None:
    """
    A task that a program starts after its power failed is as dead as the program.
    """
    said: list[str] = []

    async def speak() -> None:
        said.append("started")

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            host.crash()
            tasks.create_task(speak())
            said.append("last step")

    host = Host(loop=virtual_time, name="service")
    host.start(main)
    await clock.sleep(1)

    assert said == ["last step"]
    # Nobody who closes the loop waits for it.
    assert asyncio.all_tasks() == {asyncio.current_task()}
