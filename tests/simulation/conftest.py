"""
What the tests of the simulation share.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import pytest

from harness.clock import Clock
from harness.simulation import SimLoop

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Connect = Callable[[], Awaitable[tuple[asyncio.StreamReader, asyncio.StreamWriter]]]
Serve = Callable[[Handler], Awaitable[Connect]]

PORT: Final = 8_000


@pytest.fixture
async def serve(virtual_time: SimLoop, clock: Clock) -> AsyncIterator[Serve]:
    """
    Serve a handler of streams, and return what connects to it.
    """

    async def begin(handler: Handler) -> Connect:
        await asyncio.start_server(handler, "127.0.0.1", PORT)
        return lambda: asyncio.open_connection("127.0.0.1", PORT)

    yield begin

    # Handlers that are cut short by the end of the loop complain about it.
    await clock.sleep(10)
    for end in virtual_time.network.ends:
        end.abort()
    await clock.sleep(10)
