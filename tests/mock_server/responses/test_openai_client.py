"""
The official client, unmodified, cannot tell the mock from the Responses API.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai.types.responses import ResponseInputParam
from openai.types.webhooks import ResponseCompletedWebhookEvent
from pydantic import BaseModel

from mock_server import MockOptions
from mock_server.testing import MockInTest, mock_in_test

pytestmark = pytest.mark.sockets

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
SCRIPT = """
upstream:
  models: [gpt-4o]
  script:
    - match: {last_message: {role: user, contains: weather and order}}
      reply:
        reasoning: "Two tools will do."
        tool_calls:
          - {name: get_weather, arguments: {city: Paris}}
          - {name: query_order, arguments: {order_id: ORD-1}}
    - match: {last_message: {role: tool}}
      reply: {text: "{{ results.get_weather.temperature }} °C, {{ results.query_order.status }}."}
    - match: {last_message: {contains: limit}}
      reply: {error: {status: 429, retry_after: 1s, message: Slow down.}}
    - match: {last_message: {contains: fail}}
      reply: {error: {status: 500, message: Broken., failure: nested}}
    - match: {last_message: {contains: refuse}}
      reply: {refusal: "I will not."}
    - match: {last_message: {contains: shell}}
      reply: {tool_calls: [{name: shell, arguments: "ls"}]}
    - match: {last_message: {contains: long}}
      reply: {text: "Hello to", finish_reason: length}
    - match: {last_message: {contains: capital}}
      reply: {text: '{"city": "Paris", "people": 2000000}'}
    - match: {last_message: {contains: slow}}
      latency: {time_to_first_token: 100ms, inter_token: 20ms}
      reply: {text: "one two three four"}
    - match: {last_message: {regex: '^Hello'}}
      reply: {text: "Hello to you, dear user."}
"""
TOOLS: list[Any] = [
    {
        "type": "function",
        "name": name,
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {key: {"type": "string"}},
            "required": [key],
            "additionalProperties": False,
        },
    }
    for name, key in (("get_weather", "city"), ("query_order", "order_id"))
]
RESULTS = {"get_weather": {"temperature": 22}, "query_order": {"status": "shipped"}}


class City(BaseModel):
    city: str
    people: int


@pytest.fixture
async def mock() -> AsyncIterator[MockInTest]:
    """
    Run the mock on real sockets.
    """
    async with mock_in_test(SCRIPT) as mock:
        yield mock


@pytest.fixture
async def client(mock: MockInTest) -> AsyncIterator[openai.AsyncOpenAI]:
    """
    Give the official client, with its strict validation of responses on.
    """
    async with openai.AsyncOpenAI(
        base_url=mock.running.base_url,
        api_key="sk-good",
        max_retries=0,
        _strict_response_validation=True,
    ) as client:
        yield client


async def test_response(client: openai.AsyncOpenAI) -> None:
    """
    A response comes back as text, with ids, usage and the request id.
    """
    response = await client.responses.create(model="gpt-4o", input="Hello")

    assert response.output_text == "Hello to you, dear user."
    assert response.status == "completed"
    assert response.usage is not None
    assert response.usage.total_tokens > 0
    assert (response._request_id or "").startswith("req_")


async def test_sync_client(mock: MockInTest) -> None:
    """
    The client without asyncio works as well, streamed and plain.
    """

    def run() -> tuple[str, str]:
        with openai.OpenAI(
            base_url=mock.running.base_url,
            api_key="sk-good",
            _strict_response_validation=True,
        ) as client:
            plain = client.responses.create(model="gpt-4o", input="Hello")
            with client.responses.stream(model="gpt-4o", input="Hello") as stream:
                streamed = stream.get_final_response()
        return plain.output_text, streamed.output_text

    assert await asyncio.to_thread(run) == ("Hello to you, dear user.",) * 2


async def test_streamed_events(client: openai.AsyncOpenAI) -> None:
    """
    Each event is of a type that the client knows, and they add up.
    """
    stream = await client.responses.create(model="gpt-4o", input="Hello", stream=True)
    events = [event async for event in stream]

    text = "".join(e.delta for e in events if e.type == "response.output_text.delta")
    assert text == "Hello to you, dear user."
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("chains", [False, True])
async def test_function_call_loop(
    client: openai.AsyncOpenAI, *, stream: bool, chains: bool
) -> None:
    """
    The calls are run and sent back, whole or by the previous response, until text.
    """
    given: ResponseInputParam = [{"role": "user", "content": "weather and order"}]
    previous: Any = openai.omit
    for _ in range(3):
        options: Any = {
            "model": "gpt-4o",
            "input": given,
            "tools": TOOLS,
            "previous_response_id": previous,
        }
        if stream:
            async with client.responses.stream(**options) as events:
                response: Any = await events.get_final_response()
        else:
            response = await client.responses.create(**options)
        calls = [item for item in response.output if item.type == "function_call"]
        if not calls:
            break
        outputs: ResponseInputParam = [
            {
                "type": "function_call_output",
                "call_id": call.call_id,
                "output": json.dumps(RESULTS[call.name]),
            }
            for call in calls
        ]
        if chains:
            given, previous = outputs, response.id
        else:
            given = [*given, *response.output, *outputs]

    assert response.output_text == "22 °C, shipped."


async def test_parsed_output(client: openai.AsyncOpenAI) -> None:
    """
    Structured output becomes the caller's own type, streamed and plain.
    """
    response = await client.responses.parse(
        model="gpt-4o", input="capital", text_format=City
    )
    async with client.responses.stream(
        model="gpt-4o", input="capital", text_format=City
    ) as stream:
        streamed = await stream.get_final_response()

    assert response.output_parsed == City(city="Paris", people=2000000)
    assert streamed.output_parsed == response.output_parsed


async def test_refusal_custom_tool_and_incomplete(client: openai.AsyncOpenAI) -> None:
    """
    Refusals, custom tools and incomplete answers are of the client's own types.
    """
    refused = await client.responses.create(model="gpt-4o", input="refuse")
    called = await client.responses.create(
        model="gpt-4o", input="shell", tools=[{"type": "custom", "name": "shell"}]
    )
    cut = await client.responses.create(model="gpt-4o", input="long")

    message, call = refused.output[0], called.output[0]
    assert message.type == "message"
    assert message.content[0].type == "refusal"
    assert call.type == "custom_tool_call"
    assert call.input == "ls"
    assert cut.incomplete_details is not None
    assert cut.incomplete_details.reason == "max_output_tokens"


async def test_errors_have_the_client_s_types(client: openai.AsyncOpenAI) -> None:
    """
    Statuses become the client's exceptions, with code and param.
    """
    with pytest.raises(openai.BadRequestError) as unknown:
        await client.responses.create(model="gpt-9", input="Hello")
    with pytest.raises(openai.RateLimitError) as limited:
        await client.responses.create(model="gpt-4o", input="limit")
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve("resp_X")

    assert (unknown.value.code, unknown.value.param) == ("model_not_found", "model")
    assert limited.value.response.headers["retry-after"] == "1"


async def test_failed_stream_raises(client: openai.AsyncOpenAI) -> None:
    """
    A stream that fails raises after the events that came before.
    """
    stream = await client.responses.create(model="gpt-4o", input="fail", stream=True)
    seen: list[str] = []

    async def read() -> None:
        async for event in stream:
            seen.append(event.type)  # noqa: PERF401 - kept although the stream fails

    with pytest.raises(openai.APIError, match="Broken") as failed:
        await read()

    assert seen == ["response.created", "response.in_progress"]
    assert failed.value.type == "server_error"


async def test_resumed_stream(client: openai.AsyncOpenAI) -> None:
    """
    A background stream that was left is taken up where it was left.
    """
    stream = await client.responses.create(
        model="gpt-4o", input="slow", background=True, stream=True
    )
    text, number, response_id = "", 0, ""
    async for event in stream:
        number = event.sequence_number
        if event.type == "response.created":
            response_id = event.response.id
        if event.type == "response.output_text.delta":
            text += event.delta
            break
    await stream.close()
    rest = await client.responses.retrieve(
        response_id, stream=True, starting_after=number
    )
    async for event in rest:
        if event.type == "response.output_text.delta":
            text += event.delta

    assert text == "one two three four"
    assert event.type == "response.completed"


async def test_stored_state(client: openai.AsyncOpenAI) -> None:
    """
    Items, counts and conversations are what the client expects; deleting works.
    """
    conversation = await client.conversations.create(
        items=[{"type": "message", "role": "user", "content": "Hello"}],
        metadata={"a": "b"},
    )
    response = await client.responses.create(
        model="gpt-4o", input="Hello again", conversation=conversation.id
    )
    items = [
        item async for item in client.conversations.items.list(conversation.id, limit=1)
    ]
    listed = [item async for item in client.responses.input_items.list(response.id)]
    counted = await client.responses.input_tokens.count(model="gpt-4o", input="Hello")
    item = await client.conversations.items.retrieve(
        items[0].id or "", conversation_id=conversation.id
    )
    await client.responses.delete(response.id)
    deleted = await client.conversations.delete(conversation.id)

    assert len(items) == 3
    assert len(listed) == 2
    assert counted.input_tokens > 0
    assert item == items[0]
    assert deleted.deleted
    with pytest.raises(openai.NotFoundError):
        await client.responses.retrieve(response.id)


async def test_webhook_endpoints_and_unwrap(
    mock: MockInTest, client: openai.AsyncOpenAI
) -> None:
    """
    Endpoints are managed by the client, and what comes is unwrapped by it.
    """
    received: asyncio.Queue[tuple[bytes, dict[str, str]]] = asyncio.Queue(maxsize=4)

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        lines = head.decode().split("\r\n")[1:-2]
        headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
        body = await reader.readexactly(int(headers["content-length"]))
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
        await writer.drain()
        writer.close()
        received.put_nowait((body, headers))

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        endpoint = await client.webhooks.create(
            name="mine",
            url=f"http://127.0.0.1:{port}/hook",
            event_types=["response.completed"],
        )
        types = await client.webhooks.event_types.list()
        listed = [found.id async for found in client.webhooks.list()]
        tested = await client.webhooks.test(
            endpoint.id, event_type="response.completed"
        )
        await received.get()
        rotated = await client.webhooks.rotate_secret(
            endpoint.id, keep_old_secret_active_for_24_hours=True
        )
        response = await client.responses.create(
            model="gpt-4o", input="Hello", background=True
        )
        body, headers = await received.get()
        deleted = await client.webhooks.delete(endpoint.id)

    assert "response.completed" in types.data
    assert listed == [endpoint.id]
    assert tested.status_code == 200
    assert deleted.deleted
    for secret in (endpoint.signing_secret, rotated.signing_secret):
        event = client.webhooks.unwrap(body, headers, secret=secret)
        assert isinstance(event, ResponseCompletedWebhookEvent)
        assert event.data.id == response.id
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(body, headers, secret=SECRET)
    assert mock.of("webhook_emitted")[-1]["object_id"] == response.id


async def test_list_of_keys_holds_here_too() -> None:
    """
    A key that is not accepted is refused on every path.
    """
    script = "upstream: {api_keys: [sk-good]}"
    async with (
        mock_in_test(script, MockOptions(port=0)) as mock,
        openai.AsyncOpenAI(
            base_url=mock.running.base_url, api_key="sk-bad", max_retries=0
        ) as client,
    ):
        with pytest.raises(openai.AuthenticationError) as first:
            await client.responses.create(model="gpt-4o", input="Hello")
        with pytest.raises(openai.AuthenticationError):
            await client.conversations.create()
        with pytest.raises(openai.AuthenticationError):
            await client.webhooks.event_types.list()

    assert first.value.code == "invalid_api_key"
