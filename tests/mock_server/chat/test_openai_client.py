"""
The official client, unmodified, cannot tell the mock from the API.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import openai
import pytest
from openai.types.chat import ChatCompletionMessageParam

from mock_server.testing import MockInTest, mock_in_test

pytestmark = pytest.mark.sockets

SCRIPT = """
upstream:
  models: [gpt-4o]
  api_keys: [sk-good]
  script:
    - match: {last_message: {role: user, contains: weather and order}}
      reply:
        tool_calls:
          - {name: get_weather, arguments: {city: Paris}}
          - {name: query_order, arguments: {order_id: ORD-20260115-AB12C}}
    - match: {last_message: {role: tool}}
      reply: {text: "{{ results.get_weather.temperature }} °C, {{ results.query_order.status }}."}
    - match: {last_message: {contains: limit}}
      reply: {error: {status: 429, retry_after: 1s, message: Slow down.}}
    - match: {last_message: {contains: broken}}
      reply: {error: {status: 500}}
    - match: {last_message: {contains: refuse}}
      reply: {refusal: "I will not."}
    - match: {last_message: {regex: '^Hello'}}
      reply: {text: "Hello to you, dear user."}
"""

TOOLS: list[Any] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {"type": "object", "properties": {key: {"type": "string"}}},
        },
    }
    for name, key in (("get_weather", "city"), ("query_order", "order_id"))
]

RESULTS: dict[str, Any] = {
    "get_weather": {"temperature": 22},
    "query_order": {"status": "shipped"},
}


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


def ask(text: str) -> list[ChatCompletionMessageParam]:
    """
    Return a transcript with one question.
    """
    return [{"role": "user", "content": text}]


async def test_chat(client: openai.AsyncOpenAI) -> None:
    """
    A chat comes back as text, with ids, usage and the request id.
    """
    reply = await client.chat.completions.create(model="gpt-4o", messages=ask("Hello"))

    assert reply.choices[0].message.content == "Hello to you, dear user."
    assert reply.choices[0].finish_reason == "stop"
    assert reply.id.startswith("chatcmpl-")
    assert reply.usage is not None
    assert reply.usage.total_tokens > 0
    assert (reply._request_id or "").startswith("req_")


async def test_streamed_chat(client: openai.AsyncOpenAI) -> None:
    """
    A streamed chat adds up to the same text, its usage last.
    """
    stream = await client.chat.completions.create(
        model="gpt-4o",
        messages=ask("Hello"),
        stream=True,
        stream_options={"include_usage": True},
    )
    chunks = [chunk async for chunk in stream]
    texts = [c.choices[0].delta.content or "" for c in chunks if c.choices]

    assert "".join(texts) == "Hello to you, dear user."
    assert len(texts) > 3
    assert chunks[-1].usage is not None


@pytest.mark.parametrize("stream", [False, True])
async def test_loop_with_two_parallel_calls(
    client: openai.AsyncOpenAI, *, stream: bool
) -> None:
    """
    A loop with two parallel tool calls ends in a text that holds both results.
    """
    messages = ask("weather and order")

    async def turn() -> Any:
        if not stream:
            reply = await client.chat.completions.create(
                model="gpt-4o", messages=messages, tools=TOOLS
            )
            return reply.choices[0]
        async with client.chat.completions.stream(
            model="gpt-4o", messages=messages, tools=TOOLS
        ) as events:
            return (await events.get_final_completion()).choices[0]

    first = await turn()
    calls = first.message.tool_calls
    messages.append(first.message.model_dump(exclude_none=True))
    messages += [
        {
            "role": "tool",
            "tool_call_id": call.id,
            "content": json.dumps(RESULTS[call.function.name]),
        }
        for call in reversed(calls)
    ]
    second = await turn()

    assert first.finish_reason == "tool_calls"
    assert [json.loads(call.function.arguments) for call in calls] == [
        {"city": "Paris"},
        {"order_id": "ORD-20260115-AB12C"},
    ]
    assert len({call.id for call in calls}) == 2
    assert second.message.content == "22 °C, shipped."


async def test_refusal(client: openai.AsyncOpenAI) -> None:
    """
    A refusal arrives as one, plain and streamed.
    """
    plain = await client.chat.completions.create(model="gpt-4o", messages=ask("refuse"))
    async with client.chat.completions.stream(
        model="gpt-4o", messages=ask("refuse")
    ) as events:
        streamed = await events.get_final_completion()

    for reply in (plain, streamed):
        assert reply.choices[0].message.refusal == "I will not."
        assert reply.choices[0].message.content is None


@pytest.mark.parametrize(
    ("text", "model", "error", "code"),
    [
        ("limit", "gpt-4o", openai.RateLimitError, "rate_limit_exceeded"),
        ("broken", "gpt-4o", openai.InternalServerError, None),
        ("Hello", "gpt-9", openai.NotFoundError, "model_not_found"),
        ("what nobody scripted", "gpt-4o", openai.NotFoundError, "no_matching_rule"),
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_errors(
    client: openai.AsyncOpenAI,
    text: str,
    model: str,
    error: type[openai.APIStatusError],
    code: str | None,
    *,
    stream: bool,
) -> None:
    """
    Each status is the client's own exception, with the code of the body.
    """
    with pytest.raises(error) as caught:
        await client.chat.completions.create(
            model=model, messages=ask(text), stream=stream
        )

    assert caught.value.code == code
    assert (caught.value.request_id or "").startswith("req_")


async def test_wrong_key(client: openai.AsyncOpenAI) -> None:
    """
    A key that is not accepted is an authentication error that does not repeat it.
    """
    stranger = client.with_options(api_key="sk-somebody-elses-key")

    with pytest.raises(openai.AuthenticationError) as caught:
        await stranger.chat.completions.create(model="gpt-4o", messages=ask("Hello"))

    assert caught.value.code == "invalid_api_key"
    assert "somebody" not in str(caught.value)


async def test_bad_request(client: openai.AsyncOpenAI) -> None:
    """
    A bad parameter is a bad request that names it.
    """
    with pytest.raises(openai.BadRequestError) as caught:
        await client.chat.completions.create(
            model="gpt-4o", messages=ask("Hello"), temperature=9
        )

    assert caught.value.param == "temperature"
    assert caught.value.code == "decimal_above_max_value"


async def test_models(client: openai.AsyncOpenAI) -> None:
    """
    The models of the script are listed and found; another is not found.
    """
    names = [model.id async for model in client.models.list()]
    found = await client.models.retrieve("gpt-4o")

    assert names == ["gpt-4o"]
    assert found.object == "model"
    with pytest.raises(openai.NotFoundError) as caught:
        await client.models.retrieve("gpt-9")
    assert caught.value.code == "model_not_found"


async def test_retries_count_as_attempts(mock: MockInTest) -> None:
    """
    The client's own retries of a failed call are attempts of one call.
    """
    async with openai.AsyncOpenAI(
        base_url=mock.running.base_url, api_key="sk-good", max_retries=1
    ) as client:
        with pytest.raises(openai.InternalServerError):
            await client.chat.completions.create(
                model="gpt-4o", messages=ask("broken [#k1]")
            )

    received = mock.of("upstream_request_received")
    assert [record["attempt_number"] for record in received] == [1, 2]
    assert {record["tag"] for record in received} == {"k1"}
    assert not any(record.get("ambiguous") for record in received)


async def test_blocking_client(mock: MockInTest) -> None:
    """
    The blocking client works as well.
    """

    def chat() -> str | None:
        with openai.OpenAI(
            base_url=mock.running.base_url, api_key="sk-good", max_retries=0
        ) as client:
            reply = client.chat.completions.create(
                model="gpt-4o", messages=ask("Hello")
            )
            return reply.choices[0].message.content

    assert await asyncio.to_thread(chat) == "Hello to you, dear user."
