"""
What every layer is worth that stands between the service and the outside: it is used.
"""

import json
from typing import Any

import pytest

from harness.clock import LoopClock
from harness.events import OperationRejected, RateLimiterWaited
from harness.service import Service
from harness.testing import Recorder

pytestmark = pytest.mark.virtual_time


async def test_chats_are_let_out_at_the_rate(
    outside: Any, start: Any, caller: Any, clock: LoopClock, recorder: Recorder
) -> None:
    """
    A chat beyond the burst waits for its permit; the answer is as good as any.
    """
    async with start(rate_limit={"rate": "2/s", "burst": 1}):
        first = await caller.chat()
        started_s = clock.monotonic()
        second = await caller.chat()

    assert (first.status, second.status) == (200, 200)
    assert clock.monotonic() - started_s == pytest.approx(0.5, abs=0.05)
    assert len(recorder.of(RateLimiterWaited)) == 1
    del outside


async def test_who_would_wait_too_long_is_429(
    outside: Any, start: Any, caller: Any, recorder: Recorder
) -> None:
    """
    Where no permit can be had in time our own rate limit says so, and when to come back.
    """
    async with start(rate_limit={"rate": "6/min", "burst": 1, "wait_max": "5s"}):
        await caller.chat()
        refused = await caller.chat()
        streamed = await caller.chat(headers={"Accept": "text/event-stream"})

    for answer in (refused, streamed):
        assert (answer.status, answer.error["code"]) == (429, "rate_limited")
        assert answer.headers["Retry-After"] == "10"
        assert answer.error["retry_after_s"] == pytest.approx(10, abs=0.1)
        assert set(answer.error) == {"code", "message", "trace_id", "retry_after_s"}
    assert len(outside.asked) == 1
    assert {event.strategy for event in recorder.of(OperationRejected)} == {
        "rate_limiter"
    }


async def test_connections_are_used_again(
    outside: Any, caller: Any, service: Service
) -> None:
    """
    Chat after chat, the model API, the tools and the endpoint see one connection each.
    """
    del service
    for number in range(5):
        outside.calls((f"call_{number}", "get_weather", {"city": "Paris"}))
        await caller.chat()
        await outside.wait_webhooks("function_call.completed", number + 1)

    assert len(outside.asked) == 10
    for seen in (outside.asked, outside.executed, outside.webhooks):
        assert len({each.peer for each in seen}) == 1


async def test_no_tool_calls_are_no_tool_calls(
    outside: Any, caller: Any, service: Service
) -> None:
    """
    A reply that names its tool calls and has none is an answer.
    """
    del service
    message = {"role": "assistant", "content": "Hello.", "tool_calls": None}
    choice = {"index": 0, "message": message, "finish_reason": "stop"}
    outside.gives(json.dumps({"id": "c", "choices": [choice]}).encode())

    answer = await caller.chat()

    assert (answer.status, answer.json["response"]) == (200, "Hello.")
    assert answer.json["function_calls"] == []
