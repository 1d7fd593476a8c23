"""
The pytest plugin, from the point of view of a test that uses it.
"""

import asyncio

import pytest
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpClient

from harness.bus import EventBus
from harness.clock import Clock
from harness.events import ServiceStopping
from harness.ids import IdMint
from harness.randomness import Randomness
from harness.testing import WALL_EPOCH_S, Recorder, SimLoop


@pytest.mark.virtual_time
async def test_an_hour_costs_nothing(clock: Clock) -> None:
    """
    Under the marker sleeping an hour moves the clock by exactly an hour.
    """
    started_s = clock.monotonic()

    await clock.sleep(3600)

    assert clock.monotonic() - started_s == 3600.0
    assert clock.wall() == WALL_EPOCH_S + clock.monotonic()


async def test_fixture_is_enough(virtual_time: SimLoop) -> None:
    """
    A test that asks for virtual_time runs on a simulated loop without a marker.
    """
    assert asyncio.get_running_loop() is virtual_time


async def test_other_tests_stay_real() -> None:
    """
    An async test without marker and fixture runs on a real loop.
    """
    assert not isinstance(asyncio.get_running_loop(), SimLoop)


@pytest.mark.virtual_time
async def test_pytest_aiohttp_meets_in_memory(aiohttp_client: AiohttpClient) -> None:
    """
    The client and server of pytest-aiohttp work on the simulated loop.
    """

    async def hello(request: web.Request) -> web.Response:
        return web.Response(text=f"hello {request.host}")

    app = web.Application()
    app.router.add_get("/", hello)
    client = await aiohttp_client(app)

    response = await client.get("/")

    assert await response.text() == "hello 127.0.0.1:40000"


@pytest.mark.virtual_time(seed=7)
async def test_seed_of_the_marker(
    virtual_time: SimLoop, randomness: Randomness, ids: IdMint
) -> None:
    """
    The marker's seed decides the loop, the randomness and the ids.
    """
    assert virtual_time.randomness.seed == randomness.seed == 7
    assert ids.mint("msg") == IdMint(Randomness(7).stream("ids")).mint("msg")


def test_recorder_hears_the_bus(bus: EventBus, recorder: Recorder) -> None:
    """
    What is published on the bus is recorded and found by its type.
    """
    event = ServiceStopping(reason="test")

    bus.publish(event)

    assert recorder.of(ServiceStopping) == recorder.events == [event]


@pytest.mark.virtual_time
async def test_recorder_waits_for_events(
    bus: EventBus, recorder: Recorder, clock: Clock, virtual_time: SimLoop
) -> None:
    """
    Who waits for a number of events is woken when the last of them is published.
    """
    event = ServiceStopping(reason="test")
    for delay_s in (10, 20):
        virtual_time.call_later(delay_s, bus.publish, event)
    started_s = clock.monotonic()

    found = await recorder.wait_recorded(ServiceStopping, count=2)

    assert found == [event, event]
    assert clock.monotonic() - started_s == 20.0
