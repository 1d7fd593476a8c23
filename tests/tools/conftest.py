from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from harness.ids import ToolCallId
from harness.tools import ToolContext

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class FakeBackend:
    """
    A tool backend that answers as told, one answer per execution.
    """

    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    seen: list[tuple[str, Any, dict[str, str]]] = field(default_factory=list)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """
        Record an execution and answer it.
        """
        headers = {name.lower(): value for name, value in request.headers.items()}
        self.seen.append((request.path, await request.json(), headers))
        return await self.answers.pop(0)(request)

    def will_answer(self, body: bytes, *, status: int = 200) -> None:
        """
        Answer the next execution with this body.
        """

        async def answer(_request: web.Request) -> web.StreamResponse:
            return web.Response(body=body, status=status)

        self.answers.append(answer)

    def will_reset(self) -> None:
        """
        Reset the connection of the next execution.
        """

        async def answer(request: web.Request) -> web.StreamResponse:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

        self.answers.append(answer)


@pytest.fixture
def context() -> ToolContext:
    """
    Return what an execution is told.
    """
    return ToolContext(tool_call_id=ToolCallId("call_a"))


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """
    Return the connections of a client.
    """
    async with aiohttp.ClientSession() as session:
        yield session


@pytest.fixture
async def fake_backend() -> AsyncIterator[FakeBackend]:
    """
    Return a backend that listens.
    """
    fake = FakeBackend()
    app = web.Application()
    app.router.add_post("/base/tools/{name}", fake.handle)
    runner = web.AppRunner(app, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}/base"
    yield fake
    await runner.cleanup()
