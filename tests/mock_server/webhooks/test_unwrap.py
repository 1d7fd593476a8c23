"""
OpenAI's own events, taken from the wire by the official client.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import openai
import pytest
from aiohttp import web

from mock_server import MockOptions, running_mock
from mock_server.documents import parse_document
from mock_server.script import script_of

pytestmark = pytest.mark.sockets

SECRET = "whsec_c2VjcmV0LXRoYXQtaXMtbG9uZy1lbm91Z2g="  # noqa: S105 - a test's
SCRIPT = """
upstream:
  batches: {validating: 0s, in_progress: 0s, finalizing: 0s}
  background: {queue: 0s}
  script:
    - match: {last_message: {contains: fail}}
      reply: {error: {status: 500, message: Broken., failure: nested}}
    - reply: {text: done}
"""

Received = tuple[Mapping[str, str], bytes]


@asynccontextmanager
async def receiving(received: "asyncio.Queue[Received]") -> AsyncIterator[str]:
    """
    Take webhooks while the context lasts.
    """

    async def take(request: web.Request) -> web.Response:
        received.put_nowait((dict(request.headers), await request.read()))
        return web.Response()

    app = web.Application()
    app.router.add_post("/webhook/callback", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def told(
    client: openai.AsyncOpenAI, received: "asyncio.Queue[Received]", object_id: str
) -> tuple[str, str, str]:
    """
    Return what the client makes of the next webhook, which is about this object.
    """
    headers, body = await received.get()
    event: Any = client.webhooks.unwrap(body, headers)
    assert event.data.id == object_id
    return type(event).__name__, event.type, event.object


async def test_the_client_unwraps_what_becomes_of_responses_and_batches() -> None:
    """
    Each event is verified and parsed into its own type, naming what it is about.
    """
    received: asyncio.Queue[Received] = asyncio.Queue()
    script = script_of(parse_document(SCRIPT, file="script"))
    async with receiving(received) as service_url:
        options = MockOptions(port=0, service_url=service_url, webhook_secret=SECRET)
        async with (
            running_mock(script, options) as running,
            openai.AsyncOpenAI(
                base_url=running.base_url, api_key="sk-test", webhook_secret=SECRET
            ) as client,
        ):
            seen = []
            for text in ("hello", "fail"):
                response = await client.responses.create(
                    model="gpt-4o", input=text, background=True
                )
                seen.append(await told(client, received, response.id))
            body = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hi"}]}
            path = "/v1/chat/completions"
            line = {"custom_id": "a", "method": "POST", "url": path, "body": body}
            for content in (json.dumps(line), "{"):
                file = await client.files.create(
                    file=("lines.jsonl", content.encode()), purpose="batch"
                )
                batch = await client.batches.create(
                    input_file_id=file.id,
                    endpoint="/v1/chat/completions",
                    completion_window="24h",
                )
                seen.append(await told(client, received, batch.id))

    assert seen == [
        ("ResponseCompletedWebhookEvent", "response.completed", "event"),
        ("ResponseFailedWebhookEvent", "response.failed", "event"),
        ("BatchCompletedWebhookEvent", "batch.completed", "event"),
        ("BatchFailedWebhookEvent", "batch.failed", "event"),
    ]
    assert received.empty()
