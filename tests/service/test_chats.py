"""
Chats whose callers wait, end to end.
"""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from harness.clock import LoopClock
from harness.events import ChatAnswered, ChatFailed
from harness.testing import Recorder

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("service")]

_ORDER = {"order_id": "ORD-20260101-AAAAA"}
_TRACE = "0af7651916cd43dd8448eb211c80319c"


async def test_answers(outside: Any, caller: Any, recorder: Recorder) -> None:
    """
    A chat is answered with the model's text in the documented shape.
    """
    outside.says("Hello!")

    answer = await caller.chat("hi")

    assert answer.status == 200
    body = answer.json
    assert body["success"] is True
    assert body["response"] == "Hello!"
    assert body["function_calls"] == []
    assert body["session_id"].startswith("ses_")
    assert len(body["trace_id"]) == 32
    assert [event.turns for event in recorder.of(ChatAnswered)] == [1]


async def test_works_for_the_trace_of_its_caller(outside: Any, caller: Any) -> None:
    """
    The caller's trace reaches the model API, the tools and the webhooks.
    """
    outside.calls(("call_1", "get_weather", {"city": "Paris"}))

    answer = await caller.chat(
        headers={"traceparent": f"00-{_TRACE}-00f067aa0ba902b7-01"}
    )

    assert answer.json["trace_id"] == _TRACE
    (webhook,) = await outside.wait_webhooks("function_call.completed")
    for seen in (*outside.asked, *outside.executed, webhook):
        assert seen.headers["traceparent"].split("-")[1] == _TRACE


async def test_tool_results_go_back_under_their_own_ids(
    outside: Any, caller: Any
) -> None:
    """
    Each tool call is answered once, in the model's order, with its own result.
    """
    outside.calls(
        ("call_a", "get_weather", {"city": "Paris"}), ("call_b", "query_order", _ORDER)
    )
    outside.says("It is warm.")

    answer = await caller.chat()

    messages = outside.asked[1].body["messages"]
    assert [message["role"] for message in messages] == [
        "system",
        "user",
        "assistant",
        "tool",
        "tool",
    ]
    assert [message["tool_call_id"] for message in messages[3:]] == ["call_a", "call_b"]
    assert json.loads(messages[3]["content"]) == {"ran": "get_weather", "city": "Paris"}
    assert answer.json["function_calls"] == [
        {
            "name": "get_weather",
            "arguments": {"city": "Paris"},
            "result": {"ran": "get_weather", "city": "Paris"},
        },
        {
            "name": "query_order",
            "arguments": _ORDER,
            "result": {"ran": "query_order", **_ORDER},
        },
    ]
    assert [seen.headers["idempotency-key"] for seen in outside.executed] == [
        "call_a",
        "call_b",
    ]


async def test_parallel_calls_overlap(
    outside: Any, caller: Any, clock: LoopClock
) -> None:
    """
    The tool calls of one turn take as long as the longest of them.
    """

    async def slow(_: Any) -> web.Response:
        await clock.sleep(3)
        return web.json_response({})

    outside.tools = {"get_weather": slow, "query_order": slow}
    outside.calls(
        ("call_a", "get_weather", {"city": "Paris"}), ("call_b", "query_order", _ORDER)
    )
    started_s = clock.monotonic()

    await caller.chat()

    assert clock.monotonic() - started_s == pytest.approx(3, abs=0.1)


@pytest.mark.parametrize(
    ("name", "arguments", "code"),
    [
        ("get_weather", '{"city": "Par', "invalid_arguments"),
        ("get_weather", {"town": "Paris"}, "invalid_arguments"),
        ("get_weather", "[1]", "invalid_arguments"),
        ("get_weather", "x" * 100_000, "invalid_arguments"),
        ("query_order", {"order_id": "12"}, "invalid_arguments"),
        ("launch_rocket", {}, "unknown_tool"),
        ("x" * 100_000, {}, "unknown_tool"),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_bad_calls_are_told_to_the_model(
    outside: Any, caller: Any, name: str, arguments: Any, code: str
) -> None:
    """
    Malformed arguments and unknown tools run nothing; the model is told, the chat goes on.
    """
    outside.calls(("call_1", name, arguments))
    outside.says("I am sorry.")

    answer = await caller.chat()

    assert answer.status == 200
    assert answer.json["response"] == "I am sorry."
    told = json.loads(outside.asked[1].body["messages"][-1]["content"])
    assert (told["status"], told["code"]) == ("error", code)
    assert answer.json["function_calls"][0]["result"] == told
    assert outside.executed == []
    (webhook,) = await outside.wait_webhooks("function_call.failed")
    assert webhook.body["data"]["error"]["code"] == code


async def test_failing_tool_is_told_to_the_model(outside: Any, caller: Any) -> None:
    """
    A tool that fails or hangs fails its own call alone.
    """

    async def fail(_: Any) -> web.Response:
        return web.json_response({"error": {"message": "broken"}}, status=500)

    outside.tools = {"get_weather": fail}
    outside.calls(
        ("call_a", "get_weather", {"city": "Paris"}), ("call_b", "query_order", _ORDER)
    )

    answer = await caller.chat()

    first, second = answer.json["function_calls"]
    assert (first["result"]["status"], first["result"]["code"]) == (
        "error",
        "tool_failed",
    )
    assert second["result"]["ran"] == "query_order"


async def test_loop_is_bounded(outside: Any, caller: Any) -> None:
    """
    A model that calls tools for ever is stopped, and the last calls are not run.
    """
    for turn in range(20):
        outside.calls((f"call_{turn}", "get_weather", {"city": "Paris"}))

    answer = await caller.chat()

    assert answer.status == 502
    assert answer.error["code"] == "limit_exceeded"
    assert len(outside.asked) == 8
    assert len(outside.executed) == 7


async def test_repeated_call_ids_run_each_time(outside: Any, caller: Any) -> None:
    """
    An id that the model uses again, in this chat or another, names another execution.
    """
    for _ in range(2):
        outside.calls(("call_1", "get_weather", {"city": "Paris"}))
        outside.calls(("call_1", "get_weather", {"city": "Rome"}))
        outside.says("done")
        answer = await caller.chat()
        cities = [call["result"]["city"] for call in answer.json["function_calls"]]
        assert cities == ["Paris", "Rome"]

    keys = [seen.headers["idempotency-key"] for seen in outside.executed]
    assert len(set(keys)) == 4
    assert keys[:2] == ["call_1", "call_1-t2"]
    assert len(await outside.wait_webhooks("function_call.completed", 4)) == 4


async def test_webhooks_do_not_delay_the_chat(
    outside: Any, caller: Any, clock: LoopClock
) -> None:
    """
    An endpoint that hangs costs the chat nothing.
    """

    async def hang(_: Any) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    outside.endpoint = hang
    outside.calls(("call_1", "get_weather", {"city": "Paris"}))
    started_s = clock.monotonic()

    answer = await caller.chat()

    assert answer.status == 200
    assert clock.monotonic() - started_s < 0.1


async def test_session_is_remembered(outside: Any, caller: Any) -> None:
    """
    A second chat of a session goes on where the first one ended.
    """
    outside.says("Hello Ada.")
    first = await caller.chat("I am Ada.")
    session_id = first.json["session_id"]

    second = await caller.chat("Who am I?", session_id=session_id)

    assert second.json["session_id"] == session_id
    assert [
        (message["role"], message["content"])
        for message in outside.asked[1].body["messages"][1:]
    ] == [("user", "I am Ada."), ("assistant", "Hello Ada."), ("user", "Who am I?")]


async def test_session_is_for_its_own_user(outside: Any, caller: Any) -> None:
    """
    Nobody goes on with the session of somebody else.
    """
    first = await caller.chat("I am Ada.")
    session_id = first.json["session_id"]

    other = await caller.chat("Who am I?", session_id=session_id, user_id="u2")

    assert (other.status, other.error["code"]) == (403, "forbidden")
    assert len(outside.asked) == 1


async def test_caller_may_choose_the_model(outside: Any, caller: Any) -> None:
    """
    The model that a caller names is asked, over a circuit of its own.
    """
    await caller.chat(model="gpt-4o-mini")

    assert outside.asked[0].body["model"] == "gpt-4o-mini"
    circuits = await caller.request("GET", "/breakers")
    names = [circuit["name"] for circuit in circuits.json]
    assert names == ["upstream/gpt-4o", "upstream/gpt-4o-mini"]


async def test_leaving_caller_closes_the_upstream_connection(
    outside: Any, caller: Any, clock: LoopClock, recorder: Recorder
) -> None:
    """
    When the caller gives up, the model API sees its connection closed at once.
    """
    outside.hangs()
    started_s = clock.monotonic()

    with pytest.raises(TimeoutError):
        async with clock.timeout(1):
            await caller.chat()
    await outside.asked[0].gone.wait()

    assert clock.monotonic() - started_s == pytest.approx(1, abs=0.1)
    (failed,) = await recorder.wait_recorded(ChatFailed)
    assert (failed.reason, failed.status) == ("cancelled", 499)


async def test_deferred_tool_is_resolved_by_webhook(
    outside: Any, caller: Any, clock: LoopClock
) -> None:
    """
    A chat waits for a deferred tool and goes on when its result comes.
    """
    outside.tools = {"approve_refund": _defer}
    outside.calls(("call_1", "approve_refund", _ORDER))
    outside.says("Approved.")
    async with asyncio.TaskGroup() as tasks:
        chat = tasks.create_task(caller.chat())
        await outside.wait_executed(1)
        await clock.sleep(2)
        received = await caller.resolve(
            "call_1", {"approved": True}, now_s=clock.wall()
        )
        resolved_s = clock.monotonic()
        answer = await chat

    assert received.json == {"status": "received"}
    assert clock.monotonic() - resolved_s < 0.1
    assert answer.json["function_calls"][0]["result"] == {"approved": True}
    (webhook,) = await outside.wait_webhooks("function_call.completed")
    assert webhook.body["data"]["call_id"] == "call_1"
    assert len(outside.executed) == 1


async def test_deferred_tool_times_out(
    outside: Any, caller: Any, clock: LoopClock
) -> None:
    """
    A deferred tool without a result fails at its deadline; a later result is late.
    """
    outside.tools = {"approve_refund": _defer}
    outside.calls(("call_1", "approve_refund", _ORDER))
    outside.says("Nobody answered.")
    started_s = clock.monotonic()

    answer = await caller.chat()
    late = await caller.resolve("call_1", {"approved": True}, now_s=clock.wall())

    assert clock.monotonic() - started_s == pytest.approx(10, abs=0.1)
    assert answer.json["response"] == "Nobody answered."
    assert answer.json["function_calls"][0]["result"]["code"] == "tool_timeout"
    assert late.json == {"status": "late"}
    (webhook,) = await outside.wait_webhooks("function_call.failed")
    assert webhook.body["data"]["error"]["code"] == "tool_timeout"


async def test_first_result_wins(outside: Any, caller: Any, clock: LoopClock) -> None:
    """
    Of two results for one call the first has its effect, the second none.
    """
    outside.tools = {"approve_refund": _defer}
    outside.calls(("call_1", "approve_refund", _ORDER))
    async with asyncio.TaskGroup() as tasks:
        chat = tasks.create_task(caller.chat())
        await outside.wait_executed(1)
        await caller.resolve("call_1", {"approved": True}, now_s=clock.wall())
        second = await caller.resolve(
            "call_1", {"approved": False}, message_id="msg_2", now_s=clock.wall()
        )
        answer = await chat

    assert second.status == 200
    assert answer.json["function_calls"][0]["result"] == {"approved": True}
    await clock.sleep(10)
    assert len(outside.webhooks) == 1


async def _defer(_: Any) -> web.Response:
    return web.json_response({}, status=202)
