import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.ids import IdMint
from harness.randomness import Randomness
from harness.resilience import PipelineOptions, Pipelines
from harness.upstream import UpstreamClient, UpstreamOptions, classify

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

API_KEY = "sk-test-0123456789abcdef"


@dataclass
class Seen:
    """
    A request as the fake got it.
    """

    path: str
    body: Any
    headers: dict[str, str]
    at_s: float
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when its handler ended, however."""


@dataclass
class FakeUpstream:
    """
    A model API that answers as told, one answer per request; the last one repeats.
    """

    clock: LoopClock
    url: str = ""
    answers: list[Answer] = field(default_factory=list)
    seen: list[Seen] = field(default_factory=list)
    was_asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """
        Record a request and answer it.
        """
        headers = {name.lower(): value for name, value in request.headers.items()}
        seen = Seen(
            path=request.path,
            body=await request.json(),
            headers=headers,
            at_s=self.clock.monotonic(),
        )
        self.seen.append(seen)
        self.was_asked.set()
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        try:
            return await answer(request)
        finally:
            seen.gone.set()

    def will_answer(
        self,
        body: bytes,
        *,
        status: int = 200,
        content_type: str = "application/json",
        **headers: str,
    ) -> None:
        """
        Answer with a body that is sent whole.
        """
        names = {name.replace("_", "-"): value for name, value in headers.items()}

        async def answer(_request: web.Request) -> web.StreamResponse:
            return web.Response(
                body=body, status=status, content_type=content_type, headers=names
            )

        self.answers.append(answer)

    def will_say(self, text: str) -> None:
        """
        Answer with a completion that is a text.
        """
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        self.will_answer(json.dumps({"choices": [choice]}).encode())

    def will_stream(
        self,
        *fragments: bytes,
        delay_s: float = 0.0,
        end: str = "end",
        content_type: str = "text/event-stream",
    ) -> None:
        """
        Answer in pieces, and ``end``, ``close``, ``reset`` or ``hang`` behind them.
        """

        async def answer(request: web.Request) -> web.StreamResponse:
            response = web.StreamResponse(headers={"content-type": content_type})
            await response.prepare(request)
            for fragment in fragments:
                await self.clock.sleep(delay_s)
                await response.write(fragment)
            await self._end(request, end)
            return response

        self.answers.append(answer)

    def will_break(self, end: str) -> None:
        """
        Answer nothing, and ``close``, ``reset`` or ``hang``.
        """

        async def answer(request: web.Request) -> web.StreamResponse:
            await self._end(request, end)
            return web.Response()

        self.answers.append(answer)

    async def _end(self, request: web.Request, end: str) -> None:
        assert request.transport is not None
        match end:
            case "close":
                request.transport.close()
            case "reset":
                request.transport.abort()
            case "hang":
                await self.clock.sleep(3600.0)
            case _:
                assert end == "end"


def event_of(text: str | None = None, finish_reason: str | None = None) -> bytes:
    """
    Return a chunk of text as an event.
    """
    content = {} if text is None else {"content": text}
    choice = {"index": 0, "delta": content, "finish_reason": finish_reason}
    return f"data: {json.dumps({'choices': [choice]})}\n\n".encode()


@pytest.fixture
async def upstream(clock: LoopClock) -> AsyncIterator[FakeUpstream]:
    """
    Return a model API that listens.
    """
    fake = FakeUpstream(clock=clock)
    app = web.Application(client_max_size=2**24)
    app.router.add_post("/v1/{path:.*}", fake.handle)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=1.0)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    fake.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    yield fake
    await runner.cleanup()


@pytest.fixture
def pipeline_options() -> PipelineOptions:
    """
    Return how a pipeline behaves; a module may have its own.
    """
    return PipelineOptions()


@pytest.fixture
def pipelines(
    clock: LoopClock,
    randomness: Randomness,
    bus: EventBus,
    pipeline_options: PipelineOptions,
) -> Pipelines:
    """
    Return the pipelines of the client.
    """
    return Pipelines(
        clock=clock,
        randomness=randomness,
        bus=bus,
        options_for=lambda _name: pipeline_options,
        classify=classify,
    )


@pytest.fixture
async def client_of(
    clock: LoopClock, ids: IdMint, pipelines: Pipelines
) -> AsyncIterator[Callable[[str], UpstreamClient]]:
    """
    Return what makes clients of the model API at an address.
    """
    async with aiohttp.ClientSession() as session:
        yield lambda base_url: UpstreamClient(
            session=session,
            options=UpstreamOptions(
                base_url=base_url, api_key=API_KEY, answer_bytes_max=100_000
            ),
            pipelines=pipelines,
            clock=clock,
            ids=ids,
        )


@pytest.fixture
def client(
    upstream: FakeUpstream, client_of: Callable[[str], UpstreamClient]
) -> UpstreamClient:
    """
    Return a client of the fake.
    """
    return client_of(upstream.url)


@pytest.fixture
def api_key() -> str:
    """
    Return the key of the client.
    """
    return API_KEY


@pytest.fixture
def chunk_of() -> Callable[..., bytes]:
    """
    Return what makes chunks.
    """
    return event_of
