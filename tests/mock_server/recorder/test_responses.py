"""
Responses are recorded and replayed as chats are.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import openai
import pytest

from harness.clock import Clock
from mock_server import RunningMock

pytestmark = pytest.mark.virtual_time

Recording = Callable[[str], AbstractAsyncContextManager[Any]]
Replaying = Callable[..., AbstractAsyncContextManager[RunningMock]]

SCRIPT = """
upstream:
  script:
    - match: {last_message: {role: user, contains: weather}}
      reply:
        tool_calls:
          - {name: get_weather, arguments: {city: Paris}}
          - {name: get_weather, arguments: {city: Rome}}
    - match: {last_message: {role: tool}}
      reply: {text: "It is 22 degrees in Paris, and 30 in Rome.", usage: {prompt_tokens: 70, completion_tokens: 11}}
    - match: {last_message: {contains: short}}
      reply: {text: "cut off he", finish_reason: length}
  latency: {time_to_first_token: 300ms, inter_token: {low: 10ms, high: 90ms}}
"""
TOOLS: Any = [
    {"type": "function", "name": "get_weather", "parameters": {"type": "object"}}
]


def described(response: Any) -> dict[str, Any]:
    """
    Return what of a response must be the same in a replay.
    """
    calls = [item for item in response.output if item.type == "function_call"]
    return {
        "status": response.status,
        "text": response.output_text,
        "calls": [(call.call_id, call.name, call.arguments) for call in calls],
        "usage": response.usage,
        "reason": response.incomplete_details and response.incomplete_details.reason,
    }


async def ask(client: openai.AsyncOpenAI, *, stream: bool, **fields: Any) -> Any:
    """
    Return a response, streamed or plain.
    """
    if not stream:
        return await client.responses.create(model="gpt-4o", tools=TOOLS, **fields)
    async with client.responses.stream(model="gpt-4o", tools=TOOLS, **fields) as events:
        async for _ in events:
            pass
        return await events.get_final_response()


async def converse(base_url: str, *, stream: bool, clock: Clock) -> list[Any]:
    """
    Ask, answer the calls in a response that continues the first, and ask again.
    """
    started_s = clock.monotonic()
    async with openai.AsyncOpenAI(
        base_url=base_url, api_key="sk-a-secret-key-of-mine", max_retries=0
    ) as client:
        first = await ask(client, stream=stream, input="weather?")
        outputs = [
            {"type": "function_call_output", "call_id": item.call_id, "output": "22"}
            for item in first.output
        ]
        second = await ask(
            client, stream=stream, input=outputs, previous_response_id=first.id
        )
        # The client's helper for streams takes no response that is incomplete.
        third = await ask(client, stream=False, input="short")
    heard = [described(each) for each in (first, second, third)]
    return [*heard, pytest.approx(clock.monotonic() - started_s, abs=1e-3)]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
async def test_a_chain_of_responses_is_replayed(
    recording: Recording, replaying: Replaying, clock: Clock, *, stream: bool
) -> None:
    """
    Calls with their ids, texts, usage, reasons and the time it took are the same.
    """
    async with recording(SCRIPT) as bench:
        first = await converse(bench.base_url, stream=stream, clock=clock)
    async with replaying() as mock:
        again = await converse(mock.base_url, stream=stream, clock=clock)

    assert len(first[0]["calls"]) == 2
    assert first[1]["usage"].output_tokens == 11
    assert first[2]["reason"] == "max_output_tokens"
    assert again[:3] == first[:3]
    assert again[3].expected == first[3]


async def test_what_cannot_be_repeated_is_passed_on(
    recording: Recording,
) -> None:
    """
    Background responses and those that continue something unknown make no rule.
    """
    async with (
        recording(SCRIPT) as bench,
        openai.AsyncOpenAI(
            base_url=bench.base_url, api_key="sk-a-secret-key", max_retries=0
        ) as client,
    ):
        await client.responses.create(model="gpt-4o", input="weather?", background=True)
        with pytest.raises(openai.BadRequestError):
            await client.responses.create(
                model="gpt-4o", input="weather?", previous_response_id="resp_unknown"
            )
        recorded = bench.recorder.recording

    assert not recorded.exchanges
    assert sum(recorded.skipped.values()) == 2
