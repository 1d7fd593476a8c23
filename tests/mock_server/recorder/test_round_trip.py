"""
What is recorded from one mock is replayed by another.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

import openai
import pytest

from harness.clock import Clock
from mock_server import RunningMock

pytestmark = pytest.mark.virtual_time

Recording = Callable[[str], AbstractAsyncContextManager[Any]]
Replaying = Callable[..., AbstractAsyncContextManager[RunningMock]]

KEY = "sk-proj-a-very-secret-key-of-mine"

SCRIPT = """
upstream:
  script:
    - match: {last_message: {role: user, contains: weather}, turn: 1}
      reply:
        text: "Let me look, {{ message }}"
        tool_calls:
          - {name: get_weather, arguments: {city: Paris, note: "{{ '{{' }} braces"}}
          - {name: get_weather, arguments: '{"city":  "Rome"}'}
    - match: {last_message: {role: tool}, turn: 2}
      reply:
        tool_calls: [{name: get_time, arguments: {zone: Europe/Paris}}]
    - match: {last_message: {role: tool}, turn: 3}
      reply: {text: "Paris {{ tool.time }},{{ '\\\\r' }}\\n{% raw %}{{ not a template {%{% endraw %} \\u2028 it is 22 °C 🌤."}
    - match: {last_message: {contains: "no way"}}
      reply: {refusal: "I will not."}
    - match: {last_message: {contains: short}}
      reply: {text: "cut off he", finish_reason: length, usage: {prompt_tokens: 7, completion_tokens: 3}}
    - match: {last_message: {contains: broken}}
      reply: {error: {status: 429, message: "Slow down", code: rate_limit_exceeded, retry_after: 2s}}
  latency:
    time_to_first_token: {median: 300ms, p99: 900ms}
    inter_token: {low: 10ms, high: 90ms}
"""

TOOLS: Any = [
    {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}}
    for name in ("get_weather", "get_time")
]


@dataclass(slots=True)
class Heard:
    """
    A conversation as its client heard it.
    """

    turns: list[dict[str, Any]] = field(default_factory=list)
    paces_s: list[list[float]] = field(default_factory=list)


async def converse(
    base_url: str, question: str, *, stream: bool, clock: Clock
) -> Heard:
    """
    Ask, run the tools that are asked for, and go on until there is an answer.
    """
    heard = Heard()
    messages: list[Any] = [{"role": "user", "content": question}]
    async with openai.AsyncOpenAI(
        base_url=base_url, api_key=KEY, max_retries=0
    ) as client:
        for _turn in range(5):
            if stream:
                turn = await _streamed(client, messages, heard, clock)
            else:
                turn = await _plain(client, messages, heard, clock)
            heard.turns.append(turn)
            if not turn["calls"]:
                return heard
            messages.append(_spoken(turn))
            messages += [
                {
                    "role": "tool",
                    "tool_call_id": call["id"],
                    "content": f'{{"time": "noon at {number}"}}',
                }
                for number, call in enumerate(turn["calls"])
            ]
    return heard


def _spoken(turn: dict[str, Any]) -> dict[str, Any]:
    calls = [
        {
            "id": call["id"],
            "type": "function",
            "function": {"name": call["name"], "arguments": call["arguments"]},
        }
        for call in turn["calls"]
    ]
    return {"role": "assistant", "content": turn["text"], "tool_calls": calls}


async def _plain(
    client: openai.AsyncOpenAI, messages: list[Any], heard: Heard, clock: Clock
) -> dict[str, Any]:
    started_s = clock.monotonic()
    completion = await client.chat.completions.create(
        model="gpt-4o", messages=messages, tools=TOOLS
    )
    heard.paces_s.append([clock.monotonic() - started_s])
    choice = completion.choices[0]
    calls: list[Any] = list(choice.message.tool_calls or ())
    return {
        "text": choice.message.content,
        "refusal": choice.message.refusal,
        "calls": [
            {
                "id": call.id,
                "name": call.function.name,
                "arguments": call.function.arguments,
            }
            for call in calls
        ],
        "finish_reason": choice.finish_reason,
        "usage": completion.usage,
    }


async def _streamed(
    client: openai.AsyncOpenAI, messages: list[Any], heard: Heard, clock: Clock
) -> dict[str, Any]:
    last_s = clock.monotonic()
    paces_s = []
    async with client.chat.completions.stream(
        model="gpt-4o",
        messages=messages,
        tools=TOOLS,
        stream_options={"include_usage": True},
    ) as events:
        async for event in events:
            if event.type == "chunk":
                paces_s.append(clock.monotonic() - last_s)
                last_s = clock.monotonic()
        completion = await events.get_final_completion()
    heard.paces_s.append(paces_s)
    choice = completion.choices[0]
    calls: list[Any] = list(choice.message.tool_calls or ())
    return {
        "text": choice.message.content,
        "refusal": choice.message.refusal,
        "calls": [
            {
                "id": call.id,
                "name": call.function.name,
                "arguments": call.function.arguments,
            }
            for call in calls
        ],
        "finish_reason": choice.finish_reason,
        "usage": completion.usage,
    }


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
async def test_a_tool_loop_is_replayed_as_it_was(
    recording: Recording, replaying: Replaying, clock: Clock, *, stream: bool
) -> None:
    """
    Texts, calls with their ids, usage, finish reasons and the pace are the same.
    """
    async with recording(SCRIPT) as bench:
        first = await converse(bench.base_url, "weather?", stream=stream, clock=clock)
    async with replaying() as mock:
        again = await converse(mock.base_url, "weather?", stream=stream, clock=clock)

    assert len(first.turns) == 3
    assert first.turns[2]["text"].startswith("Paris noon at 0,\r\n{{ not a template {%")
    assert len(first.turns[0]["calls"]) == 2
    assert again.turns == first.turns
    for replayed, recorded in zip(again.paces_s, first.paces_s, strict=True):
        assert replayed == pytest.approx(recorded, abs=2e-6 * len(recorded))
    assert sum(map(sum, first.paces_s)) > 0.9


async def test_replies_of_all_kinds_are_replayed(
    recording: Recording, replaying: Replaying, clock: Clock
) -> None:
    """
    Refusals, finish reasons other than the usual, and real token counts are kept.
    """
    # The client's helper for streams calls a cut answer an error.
    questions = [("no way", False), ("no way", True), ("short", False)]
    async with recording(SCRIPT) as bench:
        first = [
            await converse(bench.base_url, question, stream=stream, clock=clock)
            for question, stream in questions
        ]
    async with replaying() as mock:
        again = [
            await converse(mock.base_url, question, stream=stream, clock=clock)
            for question, stream in questions
        ]

    assert [each.turns for each in again] == [each.turns for each in first]
    assert first[0].turns[0]["refusal"] == "I will not."
    assert first[2].turns[0]["usage"].completion_tokens == 3


async def test_errors_are_replayed(
    recording: Recording, replaying: Replaying, clock: Clock
) -> None:
    """
    An error has the status, the fields and the header that say when to ask again.
    """
    seen = []
    async with recording(SCRIPT) as bench:
        with pytest.raises(openai.RateLimitError) as caught:
            await converse(bench.base_url, "broken", stream=False, clock=clock)
        seen.append(caught.value)
    async with replaying() as mock:
        with pytest.raises(openai.RateLimitError) as caught:
            await converse(mock.base_url, "broken", stream=False, clock=clock)
        seen.append(caught.value)

    assert [error.message for error in seen] == [seen[0].message] * 2
    assert [error.code for error in seen] == ["rate_limit_exceeded"] * 2
    assert [e.response.headers["retry-after"] for e in seen] == ["2", "2"]
    assert [e.response.headers["retry-after-ms"] for e in seen] == ["2000", "2000"]


async def test_a_replay_runs_at_a_speed(
    recording: Recording, replaying: Replaying, clock: Clock
) -> None:
    """
    At ten times the speed every delay is a tenth of the recorded one.
    """
    async with recording(SCRIPT) as bench:
        first = await converse(bench.base_url, "weather?", stream=True, clock=clock)
    async with replaying(speed=10) as mock:
        again = await converse(mock.base_url, "weather?", stream=True, clock=clock)

    recorded_s = sum(map(sum, first.paces_s))
    assert sum(map(sum, again.paces_s)) == pytest.approx(recorded_s / 10, rel=0.01)


async def test_what_was_asked_again_is_answered_in_the_order_of_the_record(
    recording: Recording, replaying: Replaying, clock: Clock
) -> None:
    """
    A question that was refused first and answered then is so in the replay, too.
    """
    script = """
    upstream:
      script:
        - reply: [{error: {status: 503}}, {text: one}, {text: one}, {text: two}]
    """

    async def ask_often(base_url: str) -> list[object]:
        answers: list[object] = []
        for _ in range(4):
            try:
                heard = await converse(base_url, "again?", stream=False, clock=clock)
            except openai.InternalServerError as error:
                answers.append(error.status_code)
            else:
                answers.append(heard.turns[0]["text"])
        return answers

    async with recording(script) as bench:
        first = await ask_often(bench.base_url)
    async with replaying() as mock:
        again = await ask_often(mock.base_url)

    assert first == [503, "one", "one", "two"]
    assert again == [503, "one", "two", "two"]


async def test_no_secret_is_written(
    recording: Recording, replaying: Replaying, clock: Clock, written: Callable[[], str]
) -> None:
    """
    Keys and cookies stand nowhere in the script, though the user said them.

    A question that held one is still answered.
    """
    question = f"no way, my key is {KEY}, and cookie c00kie-monster"
    script = SCRIPT.replace('"I will not."', '"I will not use {{ message }}"')
    async with (
        recording(script) as bench,
        openai.AsyncOpenAI(
            base_url=bench.base_url,
            api_key=KEY,
            default_headers={
                "Cookie": "session=c00kie-monster",
                "X-Api-Key": "other-key",
            },
        ) as client,
    ):
        await client.chat.completions.create(
            model="gpt-4o", messages=[{"role": "user", "content": question}]
        )
    text = written()
    async with replaying() as mock:
        again = await converse(mock.base_url, question, stream=False, clock=clock)

    assert "[secret]" in text
    assert all(
        secret not in text for secret in (KEY, "c00kie-monster", "other-key", "Bearer")
    )
    assert again.turns[0]["refusal"].startswith("I will not use no way, my key is [sec")
