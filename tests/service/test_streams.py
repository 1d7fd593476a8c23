"""
Chats whose answers are streamed.
"""

import asyncio
from typing import Any

import pytest

from harness.clock import LoopClock
from harness.events import ChatFailed
from harness.testing import Recorder

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("service")]

_STREAM = {"Accept": "text/event-stream"}


async def test_tells_every_step(outside: Any, caller: Any) -> None:
    """
    Tool calls, their results and the pieces of the text come as they happen.
    """
    outside.calls(("call_1", "get_weather", {"city": "Paris"}))
    outside.says("Warm.")

    answer = await caller.chat(headers=_STREAM)

    assert answer.status == 200
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    *steps, (last, body) = answer.events
    result = {"ran": "get_weather", "city": "Paris"}
    assert steps == [
        (
            "tool_call",
            {
                "name": "get_weather",
                "arguments": {"city": "Paris"},
                "call_id": "call_1",
            },
        ),
        ("tool_result", {"call_id": "call_1", "result": result}),
        ("delta", {"text": "Wa"}),
        ("delta", {"text": "rm."}),
    ]
    assert last == "done"
    assert (body["response"], body["success"]) == ("Warm.", True)


async def test_failure_before_the_first_event_is_an_error_answer(
    outside: Any, caller: Any
) -> None:
    """
    As long as nothing was said a failure is an ordinary error answer.
    """
    outside.answers(400)

    answer = await caller.chat(headers=_STREAM)

    assert (answer.status, answer.error["code"]) == (502, "upstream_status")


async def test_failure_after_the_first_event_is_an_error_event(
    outside: Any, caller: Any
) -> None:
    """
    Once something was said a failure ends the stream with an error event.
    """
    outside.calls(("call_1", "get_weather", {"city": "Paris"}))
    outside.answers(400)

    answer = await caller.chat(headers=_STREAM)

    name, data = answer.events[-1]
    assert answer.status == 200
    assert (name, data["error"]["code"]) == ("error", "upstream_status")


async def test_leaving_listener_ends_the_chat(
    outside: Any, caller: Any, clock: LoopClock, recorder: Recorder
) -> None:
    """
    When the listener leaves, the model API sees its connection closed.
    """
    outside.calls(("call_1", "get_weather", {"city": "Paris"}))
    outside.hangs()
    async with asyncio.TaskGroup() as tasks:
        chat = tasks.create_task(caller.chat(headers=_STREAM))
        await outside.wait_asked(2)
        await clock.sleep(1)
        chat.cancel()
    await outside.asked[1].gone.wait()

    (failed,) = await recorder.wait_recorded(ChatFailed)
    assert failed.reason == "cancelled"
