"""
The unmodified openai client in virtual time.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable

import openai
import pytest
from aiohttp import web

from harness.clock import Clock
from harness.simulation import SimLoop

pytestmark = pytest.mark.virtual_time

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
Upstream = Callable[[Handler], Awaitable[openai.AsyncOpenAI]]

COMPLETION = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "created": 1_700_000_000,
    "model": "gpt-4o",
    "choices": [
        {
            "index": 0,
            "finish_reason": "stop",
            "message": {"role": "assistant", "content": "It is 22 °C in Paris."},
        }
    ],
}


def chunk(text: str) -> bytes:
    """
    Return one event of a stream.
    """
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "gpt-4o",
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": None}],
    }
    return f"data: {json.dumps(body)}\n\n".encode()


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    """
    Serve a handler as a model API, and return a client for it.
    """
    runners: list[web.AppRunner] = []
    clients: list[openai.AsyncOpenAI] = []

    async def begin(handler: Handler) -> openai.AsyncOpenAI:
        app = web.Application()
        app.router.add_post("/v1/chat/completions", handler)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        runners.append(runner)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 4_010).start()
        client = openai.AsyncOpenAI(
            base_url="http://localhost:4010/v1", api_key="sk-test", timeout=60
        )
        clients.append(client)
        return client

    yield begin

    for client in clients:
        await client.close()
    for runner in runners:
        await runner.cleanup()


async def ask(client: openai.AsyncOpenAI) -> str | None:
    """
    Ask for the weather in one go.
    """
    completion = await client.chat.completions.create(
        model="gpt-4o", messages=[{"role": "user", "content": "weather?"}]
    )
    return completion.choices[0].message.content


async def test_waits_as_long_as_it_is_told(upstream: Upstream, clock: Clock) -> None:
    """
    Two 429 with Retry-After 20 make the client answer after exactly forty seconds.
    """
    came_s: list[float] = []
    started_s = clock.monotonic()

    async def refuse_twice(_request: web.Request) -> web.Response:
        came_s.append(clock.monotonic() - started_s)
        if len(came_s) <= 2:
            return web.json_response(
                {"error": {"message": "slow down"}},
                status=429,
                headers={"Retry-After": "20"},
            )
        return web.json_response(COMPLETION)

    client = await upstream(refuse_twice)

    text = await ask(client)

    assert text == "It is 22 °C in Paris."
    assert came_s == [0.0, 20.0, 40.0]


async def test_gives_up_on_a_hung_request(upstream: Upstream, clock: Clock) -> None:
    """
    A request that is never answered ends after the client's sixty seconds.
    """

    async def hang(_request: web.Request) -> web.Response:
        await asyncio.Event().wait()
        return web.Response()

    client = (await upstream(hang)).with_options(max_retries=0)
    started_s = clock.monotonic()

    with pytest.raises(openai.APITimeoutError):
        await ask(client)

    assert clock.monotonic() - started_s == pytest.approx(60.0)


async def test_notices_a_cut_stream(upstream: Upstream) -> None:
    """
    A stream that breaks off raises after what had come.
    """

    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        await response.write(chunk("It is "))
        await response.write(chunk("22"))
        assert request.transport is not None
        request.transport.abort()
        return response

    client = await upstream(cut)
    received: list[str | None] = []

    async def read() -> None:
        stream = await client.chat.completions.create(
            model="gpt-4o",
            messages=[{"role": "user", "content": "weather?"}],
            stream=True,
        )
        async for event in stream:
            received.append(event.choices[0].delta.content)  # noqa: PERF401 - it raises

    with pytest.raises(openai.APIConnectionError):
        await read()

    assert received == ["It is ", "22"]


async def test_runs_many_chats_at_once(
    upstream: Upstream, clock: Clock, virtual_time: SimLoop
) -> None:
    """
    Fifty chats that take a minute each take a minute together.
    """

    async def answer_slowly(_request: web.Request) -> web.Response:
        await clock.sleep(59)
        return web.json_response(COMPLETION)

    client = await upstream(answer_slowly)
    started_s = clock.monotonic()

    async with asyncio.TaskGroup() as tasks:
        chats = [tasks.create_task(ask(client)) for _ in range(50)]

    assert {chat.result() for chat in chats} == {"It is 22 °C in Paris."}
    assert clock.monotonic() - started_s == 59.0
    assert virtual_time.network.connections == 50
