"""
A service that takes webhooks.
"""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from aiohttp import web

from mock_server import LoopClock


@dataclass(slots=True)
class Delivery:
    path: str
    headers: dict[str, str]
    body: bytes
    at_s: float

    @property
    def value(self) -> Any:
        """
        The body as JSON.
        """
        return orjson.loads(self.body)


@dataclass(slots=True)
class Receiver:
    clock: LoopClock
    answers: list[int]
    url: str = ""
    deliveries: list[Delivery] = field(default_factory=list)

    @property
    def types(self) -> list[str]:
        """
        What was told, in its order.
        """
        return [delivery.value["type"] for delivery in self.deliveries]

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """
        Take a delivery and give the next answer, else 200.
        """
        self.deliveries.append(
            Delivery(
                path=request.path,
                headers={k.lower(): v for k, v in request.headers.items()},
                body=await request.read(),
                at_s=self.clock.monotonic(),
            )
        )
        return web.Response(status=self.answers.pop(0) if self.answers else 200)


Receiving = Callable[..., AbstractAsyncContextManager[Receiver]]


@pytest.fixture
def receiving(clock: LoopClock) -> Receiving:
    """
    Return what runs a receiver that gives these statuses as its first answers.
    """

    @asynccontextmanager
    async def run(*answers: int) -> AsyncIterator[Receiver]:
        receiver = Receiver(clock, list(answers))
        server = web.Server(receiver.handle, access_log=None)
        runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        try:
            yield receiver
        finally:
            await runner.cleanup()

    return run
