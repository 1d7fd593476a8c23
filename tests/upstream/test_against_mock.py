from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest

from harness.clock import LoopClock
from harness.errors import UpstreamStatusError
from harness.events import trace_scope
from harness.ids import IdMint, TraceId
from harness.resilience import Pipelines
from harness.upstream import (
    ChatRequest,
    Completion,
    FinishReason,
    UpstreamClient,
    UpstreamOptions,
)
from mock_server import MockOptions, running_mock
from mock_server.script import MockScript

pytestmark = pytest.mark.virtual_time

TEXT = "It is 22 °C in Paris — and it will stay so."
CITIES = ["Paris", "Rome"]
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
RULES = [
    {"match": {"last_message": {"contains": "say"}}, "reply": {"text": TEXT}},
    {
        "match": {"last_message": {"contains": "call"}},
        "reply": {
            "tool_calls": [
                {"name": "get_weather", "arguments": {"city": city}} for city in CITIES
            ]
        },
    },
    {"match": {"last_message": {"contains": "refuse"}}, "reply": {"refusal": "No."}},
    {
        "match": {"last_message": {"contains": "fail"}},
        "reply": [{"error": {"status": 500}}, {"text": "Hello"}],
    },
]


@asynccontextmanager
async def mocked(
    clock: LoopClock, ids: IdMint, pipelines: Pipelines, *faults: dict[str, Any]
) -> AsyncIterator[UpstreamClient]:
    """
    Yield a client of a mock that has these faults.
    """
    script = MockScript.model_validate(
        {"upstream": {"script": RULES, "faults": list(faults)}}
    )
    async with (
        running_mock(script, MockOptions(port=0)) as mock,
        aiohttp.ClientSession() as session,
    ):
        yield UpstreamClient(
            session=session,
            options=UpstreamOptions(base_url=f"{mock.url}/v1", api_key="sk-mock"),
            pipelines=pipelines,
            clock=clock,
            ids=ids,
        )


async def ask(
    client: UpstreamClient, word: str, *, stream: bool
) -> tuple[Completion, str]:
    """
    Return the answer to a word, and what was streamed of it.
    """
    texts: list[str] = []

    async def listen(text: str) -> None:
        texts.append(text)

    completion = await client.complete(
        ChatRequest(
            model="gpt-4o", messages=[{"role": "user", "content": word}], tools=[TOOL]
        ),
        on_delta=listen if stream else None,
    )
    return completion, "".join(texts)


@pytest.mark.parametrize("stream", [False, True])
async def test_understands_answers(
    clock: LoopClock, ids: IdMint, pipelines: Pipelines, *, stream: bool
) -> None:
    """
    Text, calls and refusals mean the same, streamed or not.
    """
    async with mocked(clock, ids, pipelines) as client:
        said, streamed = await ask(client, "say", stream=stream)
        called, _ = await ask(client, "call", stream=stream)
        refused, _ = await ask(client, "refuse", stream=stream)

    assert (said.text, said.finish_reason) == (TEXT, FinishReason.STOP)
    assert streamed == (TEXT if stream else "")
    assert said.usage is not None
    assert said.usage.total_tokens > 0
    assert called.finish_reason is FinishReason.TOOL_CALLS
    assert [call.arguments for call in called.tool_calls] == [
        f'{{"city":"{city}"}}' for city in CITIES
    ]
    assert len({call.id for call in called.tool_calls}) == 2
    assert (refused.text, refused.refusal) == (None, "No.")


async def test_retries(clock: LoopClock, ids: IdMint, pipelines: Pipelines) -> None:
    """
    The mock takes a retry for the next attempt of the same turn.
    """
    async with mocked(clock, ids, pipelines) as client:
        with trace_scope(TraceId("0af7651916cd43dd8448eb211c80319c")):
            completion, _ = await ask(client, "fail", stream=False)

    assert completion.text == "Hello"


async def test_raises_what_no_rule_answers(
    clock: LoopClock, ids: IdMint, pipelines: Pipelines
) -> None:
    """
    An error in the shape of the API keeps its words.
    """
    async with mocked(clock, ids, pipelines) as client:
        with pytest.raises(UpstreamStatusError) as caught:
            await ask(client, "something else", stream=False)

    assert caught.value.status == 404
    assert "rule" in caught.value.message
    assert caught.value.request_id is not None


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "fault", ["status", "reset_before_headers", "truncate", "malformed_event", "stall"]
)
async def test_recovers(
    clock: LoopClock,
    ids: IdMint,
    pipelines: Pipelines,
    fault: str,
    *,
    stream: bool,
) -> None:
    """
    A fault that strikes once before any text came costs a retry and nothing else.
    """
    once = {"fault": fault, "times": 1}

    async with mocked(clock, ids, pipelines, once) as client:
        completion, _ = await ask(client, "call", stream=stream)

    assert len(completion.tool_calls) == len(CITIES)


@pytest.mark.parametrize("how", ["close", "reset"])
async def test_asks_again_on_a_new_connection(
    clock: LoopClock, ids: IdMint, pipelines: Pipelines, how: str
) -> None:
    """
    A kept connection that dies under a request costs a retry and nothing else.
    """
    fault = {"fault": "stale_keep_alive", "how": how}

    async with mocked(clock, ids, pipelines, fault) as client:
        answers = [await ask(client, "say", stream=False) for _ in range(2)]

    assert [completion.text for completion, _ in answers] == [TEXT, TEXT]
