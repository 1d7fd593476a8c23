"""
Conversations that run at once change nothing for each other.
"""

import asyncio
import json
import re
from typing import Any

import pytest

from mock_server import LoopClock, MockOptions
from mock_server.testing import MockInTest, mock_in_test

pytestmark = pytest.mark.virtual_time

SCRIPT = """
upstream:
  script:
    - match: {last_message: {role: user, contains: weather}}
      reply:
        - {tool_calls: [{name: get_weather, arguments: {city: Paris}}]}
        - {text: "again"}
    - match: {last_message: {role: tool}}
      reply: {text: "It is {{ tool.temperature }} °C."}
  latency: {time_to_first_token: {median: 40ms, p99: 200ms}, inter_token: 5ms}
  faults:
    - {fault: status, status: 503, injection_rate: 0.3}
    - {fault: disconnect, injection_rate: 0.1}
    - {fault: arguments, injection_rate: 0.2}
"""
CONVERSATIONS = 40
ATTEMPTS_MAX = 12


def without_time(body: bytes) -> bytes:
    """
    Return a body without the second it was created in: runs are at different times.
    """
    return re.sub(rb'"created":\d+', b"", body)


async def converse(mock: MockInTest, number: int) -> list[tuple[Any, ...]]:
    """
    Have a conversation of two turns and return what happened in it.
    """
    headers = {"traceparent": f"00-{number + 1:032x}-00f067aa0ba902b7-01"}
    messages: list[dict[str, Any]] = [
        {"role": "user", "content": f"weather? [#k{number}]"}
    ]
    seen: list[tuple[Any, ...]] = []
    for _ in range(ATTEMPTS_MAX):
        answer = await mock.chat(
            messages=messages, headers=headers, stream=number % 2 == 1
        )
        body = without_time(answer.body)
        seen.append((answer.status, len(messages), body, answer.ending))
        if answer.status != 200 or not answer.is_whole:
            continue
        if len(messages) > 1:
            break
        [ended] = [
            record
            for record in mock.of("upstream_request_ended")
            if record["request_id"] == answer.headers["x-request-id"]
        ]
        call = ended["tool_calls"][0]
        function = {"name": call["name"], "arguments": call["arguments"]}
        asked = {"id": call["tool_call_id"], "type": "function", "function": function}
        messages += [
            {"role": "assistant", "tool_calls": [asked]},
            {
                "role": "tool",
                "tool_call_id": call["tool_call_id"],
                "content": json.dumps({"temperature": number}),
            },
        ]
    return seen


async def run(order: list[int], clock: LoopClock) -> dict[int, list[tuple[Any, ...]]]:
    """
    Have all conversations at once, begun in that order.
    """
    options = MockOptions(port=0, seed=11)
    async with mock_in_test(SCRIPT, options, clock=clock) as mock:
        async with asyncio.TaskGroup() as tasks:
            begun = {n: tasks.create_task(converse(mock, n)) for n in order}
        return {number: task.result() for number, task in sorted(begun.items())}


async def test_order_of_arrival_changes_nothing(clock: LoopClock) -> None:
    """
    The same seed gives each conversation the same replies, ids and faults.
    """
    forward = await run(list(range(CONVERSATIONS)), clock)
    backward = await run(list(reversed(range(CONVERSATIONS))), clock)

    statuses = [status for seen in forward.values() for status, *_ in seen]
    assert {200, 503} <= set(statuses)
    assert forward == backward


async def test_a_reply_that_a_fault_ate_comes_again(clock: LoopClock) -> None:
    """
    A sequence of a script moves on only with what the client got.
    """
    script = """
    upstream:
      script: [{reply: [{text: one}, {text: two}]}]
      faults: [{fault: status, status: 503, times: 1}]
    """
    async with mock_in_test(script, clock=clock) as mock:
        answers = [await mock.chat("hi") for _ in range(3)]

    assert [answer.status for answer in answers] == [503, 200, 200]
    texts = [a.json["choices"][0]["message"]["content"] for a in answers[1:]]
    assert texts == ["one", "two"]


async def test_two_keys_are_two_worlds(clock: LoopClock) -> None:
    """
    Each API key has its own cursor, for the same message too.
    """
    script = "upstream: {script: [{reply: [{text: one}, {text: two}]}]}"
    async with mock_in_test(script, clock=clock) as mock:
        answers = [
            await mock.chat("hi", api_key=key)
            for key in ("sk-a", "sk-b", "sk-a", "sk-b")
        ]

    texts = [answer.json["choices"][0]["message"]["content"] for answer in answers]
    assert texts == ["one", "one", "two", "two"]


async def test_what_cannot_be_told_apart_is_marked(clock: LoopClock) -> None:
    """
    The same question without tag or trace may be a retry or another conversation.
    """
    async with mock_in_test("{}", clock=clock) as mock:
        for _ in range(2):
            await mock.chat("hi")
        for _ in range(2):
            await mock.chat("hi [#k1]")
        received = mock.of("upstream_request_received")

    assert [record.get("ambiguous", False) for record in received] == [
        False,
        True,
        False,
        False,
    ]
