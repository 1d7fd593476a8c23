"""
The connections that calls share.
"""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web

from harness.clock import LoopClock
from harness.upstream import PooledConnector, open_session

pytestmark = pytest.mark.virtual_time

_URL = "http://127.0.0.1:4010/"


@pytest.fixture
async def connections(clock: LoopClock) -> AsyncIterator[set[object]]:
    """
    A server that takes a second per request, and the connections that it has seen.
    """
    seen: set[object] = set()

    async def answer(request: web.Request) -> web.Response:
        assert request.transport is not None
        seen.add(request.transport.get_extra_info("peername"))
        await clock.sleep(1)
        return web.Response()

    app = web.Application()
    app.router.add_get("/", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 4010).start()
    yield seen
    await runner.cleanup()


async def test_they_are_used_again(connections: set[object]) -> None:
    """
    Calls one after the other need one connection.
    """
    async with open_session(
        connections_max=10, kept_alive_max=2, keep_alive_s=15
    ) as session:
        for _ in range(3):
            async with session.get(_URL) as response:
                assert response.status == 200

    assert len(connections) == 1


async def test_no_more_are_open_or_kept_than_allowed(
    connections: set[object], clock: LoopClock
) -> None:
    """
    Twelve calls at once wait for ten connections, of which two are kept, for a while.
    """
    async with open_session(
        connections_max=10, kept_alive_max=2, keep_alive_s=15
    ) as session:

        async def call() -> None:
            async with session.get(_URL) as response:
                await response.read()

        started_s = clock.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for _ in range(12):
                tasks.create_task(call())

        assert clock.monotonic() - started_s == pytest.approx(2, abs=0.1)
        connector = session.connector
        assert isinstance(connector, PooledConnector)
        assert connector.idle_connections == 2
        await clock.sleep(31)
        assert connector.idle_connections == 0
    assert len(connections) <= 12
