"""
Leaks of the real world, each with a test that notices when a dependency changes it.
"""

import asyncio
import datetime as dt
import gc
import importlib
import math
import os
import random
import secrets
import sys
import threading
import time
import types
import uuid
import weakref
from collections.abc import Callable
from time import monotonic as bound_monotonic  # noqa: TID251 - another way in
from typing import Any

import aiohttp
import aiohttp.connector
import aiohttp.helpers
import pytest
from aiohttp import web
from aiohttp.client_proto import ResponseHandler

from harness.clock import Clock, LoopClock
from harness.simulation import START_S, WALL_EPOCH_S, SimLoop, run_virtual

pytestmark = pytest.mark.virtual_time

Get = Callable[[], Any]

CLOCKS = {
    time.time: "wall",  # noqa: TID251 - looked for, not called
    time.monotonic: "loop",  # noqa: TID251 - looked for, not called
    time.perf_counter: "loop",
}


@web.middleware
async def passing(request: web.Request, handler: Any) -> Any:
    """
    Change nothing: aiohttp keeps handlers that are reached through middlewares.
    """
    return await handler(request)


async def serve(handler: Callable[[web.Request], Any]) -> web.AppRunner:
    """
    Serve a handler on port 8000.
    """
    app = web.Application(middlewares=[passing])
    app.router.add_get("/", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 8_000).start()
    return runner


async def hello(_request: web.Request) -> web.Response:
    """
    Answer 200.
    """
    return web.Response(text="hello")


async def test_clocks_of_libraries_follow_the_loop(virtual_time: SimLoop) -> None:
    """
    Every clock of the time module, however it was bound, follows the loop.
    """
    await LoopClock().sleep(500)

    assert time.time() == WALL_EPOCH_S + START_S + 500  # noqa: TID251 - the door itself
    assert time.time_ns() == int((WALL_EPOCH_S + START_S + 500) * 1e9)
    assert time.monotonic() == virtual_time.time()  # noqa: TID251 - the door itself
    assert time.monotonic_ns() == int((START_S + 500) * 1e9)
    assert time.perf_counter() == bound_monotonic() == START_S + 500
    assert time.perf_counter_ns() == int((START_S + 500) * 1e9)


async def test_dates_follow_the_loop() -> None:
    """
    The methods of datetime that read C's clock tell the simulation's time.
    """
    await LoopClock().sleep(3600)

    assert dt.datetime.now(dt.UTC).isoformat() == "2023-11-14T23:30:00+00:00"  # noqa: TID251 - the door itself
    assert dt.datetime.utcnow().hour == 23  # noqa: DTZ003 - the door itself
    assert dt.datetime.today() == dt.datetime.now()  # noqa: DTZ002, DTZ005, TID251 - the door itself
    assert time.gmtime()[:5] == (2023, 11, 14, 23, 30)
    assert time.mktime(time.localtime()) == time.time()  # noqa: TID251 - the door itself


def test_dates_are_real_again_afterwards() -> None:
    """
    Outside of a simulation datetime reads the machine's clock, by its own C code.
    """
    before = vars(dt.datetime)["now"]

    run_virtual(lambda: LoopClock().sleep(1))

    assert vars(dt.datetime)["now"] is before
    assert dt.datetime.now(dt.UTC).timestamp() == pytest.approx(time.time(), abs=60)  # noqa: TID251 - the door itself


def test_names_bound_inside_work_outside() -> None:
    """
    A module that is imported in virtual time has a real clock afterwards.
    """
    late = types.ModuleType("late")

    async def main() -> None:
        exec("from time import monotonic", vars(late))  # noqa: S102 - as an import does

    run_virtual(main)

    assert abs(vars(late)["monotonic"]() - time.monotonic()) < 60  # noqa: TID251 - the real one


def test_everything_is_put_back() -> None:
    """
    After a simulation the process has the doors that it had before.
    """
    doors: dict[str, Get] = {
        "sleep": lambda: time.sleep,  # noqa: TID251 - compared, not called
        "time": lambda: time.time,  # noqa: TID251 - compared, not called
        "urandom": lambda: os.urandom,
        "connector": lambda: aiohttp.connector.monotonic,  # type: ignore[attr-defined]
        "start": lambda: threading.Thread.start,
        "random": random.getstate,
    }
    before = {name: door() for name, door in doors.items()}

    async def main() -> None:
        random.seed()  # noqa: TID251 - the door itself

    run_virtual(main)

    assert {name: door() for name, door in doors.items()} == before


def test_other_threads_see_the_real_world() -> None:
    """
    While a simulation runs, another thread has real clocks.
    """
    reached, done = threading.Event(), threading.Event()
    seen: list[float] = []

    def look() -> None:
        reached.wait(10)
        seen.append(time.time())  # noqa: TID251 - the door itself
        done.set()

    watcher = threading.Thread(target=look)
    watcher.start()

    async def main() -> None:
        reached.set()
        while not done.is_set():
            await LoopClock().sleep(0.001)

    run_virtual(main, steps_max=10**9)
    watcher.join()

    assert seen[0] > WALL_EPOCH_S + 10_000_000


async def test_pooled_connections_age(clock: Clock, virtual_time: SimLoop) -> None:
    """
    A connection that aiohttp kept longer than its keep-alive time is not used again.
    """
    runner = await serve(hello)
    connector = aiohttp.TCPConnector(keepalive_timeout=15)
    async with aiohttp.ClientSession(connector=connector) as session:
        for pause_s in (0, 10, 30):
            await clock.sleep(pause_s)
            await (await session.get("http://127.0.0.1:8000/")).read()

    assert virtual_time.network.connections == 2
    await runner.cleanup()


async def test_date_header_is_virtual(clock: Clock) -> None:
    """
    The Date header of aiohttp, cached by the second, is that of the simulation.
    """
    aiohttp.helpers.rfc822_formatted_time()
    runner = await serve(hello)
    async with aiohttp.ClientSession() as session:
        first = (await session.get("http://127.0.0.1:8000/")).headers["Date"]
        await clock.sleep(3600)
        second = (await session.get("http://127.0.0.1:8000/")).headers["Date"]

    assert first == "Tue, 14 Nov 2023 22:30:00 GMT"
    assert second == "Tue, 14 Nov 2023 23:30:00 GMT"
    await runner.cleanup()


def test_the_date_cache_has_the_name_that_is_reset() -> None:
    """
    The cached second stands in aiohttp under the name that a simulation resets.
    """
    assert hasattr(aiohttp.helpers, "_cached_current_datetime")


def test_a_world_is_let_go_when_it_is_over() -> None:
    """
    What a simulated server was made of is freed: a thousand seeds are no thousand worlds.
    """
    handlers = []

    class Handler:
        async def get(self, _request: web.Request) -> web.Response:
            return web.Response(text="hello")

    async def ask() -> None:
        handler = Handler()
        handlers.append(weakref.ref(handler))
        runner = await serve(handler.get)
        async with aiohttp.ClientSession() as session:
            await session.get("http://127.0.0.1:8000/")
        await runner.cleanup()

    with asyncio.Runner(loop_factory=SimLoop) as loop:
        loop.run(ask())
    gc.collect()

    assert [handler() for handler in handlers] == [None]


@pytest.mark.parametrize(("threshold", "expected_s"), [(5, 9.0), (math.inf, 8.25)])
async def test_aiohttp_rounds_long_timeouts(
    clock: Clock, threshold: float, expected_s: float
) -> None:
    """
    A timeout over five seconds is rounded up by aiohttp unless ceil_threshold says no.
    """

    async def hang(_request: web.Request) -> web.Response:
        await clock.sleep(60)
        return web.Response()

    runner = await serve(hang)
    timeout = aiohttp.ClientTimeout(total=8.25, ceil_threshold=threshold)
    started_s = clock.monotonic()
    async with aiohttp.ClientSession(timeout=timeout) as session:
        with pytest.raises(TimeoutError):
            await session.get("http://127.0.0.1:8000/")

        assert clock.monotonic() - started_s == expected_s
    await runner.cleanup()


def test_randomness_of_libraries_follows_the_seed() -> None:
    """
    The global generator, the system's bytes and unseeded generators repeat by seed.
    """

    async def draw() -> list[object]:
        return [
            random.random(),  # noqa: S311, TID251 - the door itself
            random.Random().random(),  # noqa: S311 - the door itself
            os.urandom(8),
            secrets.token_hex(8),
            random.SystemRandom().random(),
            uuid.uuid1(),
            uuid.uuid4(),  # noqa: TID251 - the door itself
        ]

    first, again, other = (run_virtual(draw, seed=seed) for seed in (1, 1, 2))

    assert first == again
    assert not set(map(repr, first)) & set(map(repr, other))


async def test_time_in_an_id_is_virtual() -> None:
    """
    A UUID of the first kind holds the simulation's time, whatever was made before.
    """
    made = uuid.uuid1()

    assert made.version == 1
    assert made.time / 1e7 - 0x01B21DD213814000 / 1e7 == pytest.approx(
        WALL_EPOCH_S + START_S
    )


def test_chance_goes_on_from_one_stretch_to_the_next() -> None:
    """
    A loop that is left and entered again does not draw the same numbers again.
    """

    async def draw() -> float:
        return random.random()  # noqa: S311, TID251 - the door itself

    with asyncio.Runner(loop_factory=SimLoop) as runner:
        drawn = [runner.run(draw()) for _stretch in range(3)]

    assert len(set(drawn)) == 3


async def test_wait_returns_tasks_by_number() -> None:
    """
    The sets of asyncio.wait have an order that no address decides.
    """
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(LoopClock().sleep(1)) for _ in range(30)]
        done, _ = await asyncio.wait(tasks)

    numbers = [hash(task) for task in done]
    assert numbers == [hash(task) for task in set(tasks)]
    assert [hash(task) for task in tasks] == sorted(numbers)


async def test_futures_have_an_order_in_sets(virtual_time: SimLoop) -> None:
    """
    Futures in a set come by number: aiohttp wakes who waits for a name in its order.
    """
    futures = [virtual_time.create_future() for _ in range(30)]
    kept = set(futures)

    numbers = [hash(future) for future in futures]

    assert numbers == list(range(numbers[0], numbers[0] + 30))
    assert len(kept) == 30


async def test_connections_have_an_order_in_sets(virtual_time: SimLoop) -> None:
    """
    What aiohttp's connector keeps in a set is hashed by number, not by address.
    """
    protocols = [ResponseHandler(virtual_time) for _ in range(3)]
    placeholder = aiohttp.connector._TransportPlaceholder(virtual_time.create_future())

    numbers = [hash(protocol) for protocol in protocols]

    assert numbers == list(range(numbers[0], numbers[0] + 3))
    assert hash(placeholder) == hash(placeholder.closed)


async def test_as_completed_starts_coroutines_in_order() -> None:
    """
    Coroutines given to as_completed start in the order in which they were given.
    """
    started: list[int] = []

    async def start(number: int) -> None:
        started.append(number)

    for next_one in asyncio.as_completed([start(number) for number in range(50)]):
        await next_one

    assert started == list(range(50))


@pytest.mark.parametrize(
    "package",
    ["aiohttp", "aiohappyeyeballs", "openai", "httpx2", "httpcore2", "anyio", "apsw"],
)
def test_no_library_holds_a_clock_in_another_way(package: str) -> None:
    """
    Libraries reach clocks by module names only, which a simulation can lead inside.

    A default argument or a class attribute would keep the real function.
    """
    importlib.import_module(package)
    hidden = [
        f"{module_name}.{name}"
        for module_name, module in list(sys.modules.items())
        if module_name.partition(".")[0] == package
        for name, value in list(vars(module).items())
        # Asked of their types: a proxy for an optional package loads it when touched.
        if issubclass(type(value), type | types.FunctionType)
        and value.__module__.partition(".")[0] == package
        and _holds_a_clock(value)
    ]

    assert hidden == []


def _holds_a_clock(value: object) -> bool:
    members = list(vars(value).values()) if isinstance(value, type) else []
    held = [*members]
    for function in [value, *members]:
        defaults = getattr(function, "__defaults__", None)
        held += defaults if isinstance(defaults, tuple) else ()
    return any(each is clock for each in held for clock in CLOCKS)
