"""
Starting, stopping, dying and starting again.
"""

import asyncio
import json
from typing import Any

import pytest
from aiohttp import web

from harness.clock import LoopClock
from harness.errors import StoreLockedError, SubjectError, UsageError
from harness.events import (
    ChatResumed,
    ServiceStarted,
    ServiceStopped,
    ServiceStopping,
    ToolCallStarted,
    WebhookEnqueued,
)
from harness.service import check_workers
from harness.testing import Recorder

pytestmark = pytest.mark.virtual_time

_ORDER = {"order_id": "ORD-20260101-AAAAA"}


async def test_says_that_it_starts_and_stops(
    outside: Any, start: Any, recorder: Recorder
) -> None:
    """
    Start, stop and end are events, in this order.
    """
    del outside
    async with start() as service:
        assert service.url == "http://127.0.0.1:8000"

    kinds = [type(event) for event in recorder.events]
    assert kinds == [ServiceStarted, ServiceStopping, ServiceStopped]


async def test_accepted_chats_go_on_after_a_restart(
    outside: Any, start: Any, caller: Any, recorder: Recorder
) -> None:
    """
    A chat that was accepted ends, also when the service stops before it could.
    """
    outside.hangs()
    async with start():
        callback_id = await caller.accept()
        await outside.wait_asked(1)
    outside.says("Here I am.")

    async with start():
        (webhook,) = await outside.wait_webhooks("chat.completed")
        status = await caller.request("GET", f"/callbacks/{callback_id}")

    assert status.json["state"] == "completed"
    assert status.json["result"]["response"] == "Here I am."
    assert webhook.body["data"]["callback_id"] == callback_id
    assert [event.callback_id for event in recorder.of(ChatResumed)] == [callback_id]


async def test_restart_does_not_run_finished_calls_again(
    outside: Any, start: Any, caller: Any, recorder: Recorder
) -> None:
    """
    What had run before the restart is not run again; its result is used.
    """
    outside.calls(
        ("call_a", "get_weather", {"city": "Paris"}), ("call_b", "query_order", _ORDER)
    )
    outside.hangs()
    async with start():
        callback_id = await caller.accept()
        await outside.wait_asked(2)

    async with start():
        await outside.wait_webhooks("chat.completed")
        status = await caller.request("GET", f"/callbacks/{callback_id}")

    results = [call["result"] for call in status.json["result"]["function_calls"]]
    assert [result["ran"] for result in results] == ["get_weather", "query_order"]
    assert len(outside.executed) == 2
    assert len(recorder.of(ToolCallStarted)) == 2
    assert len(outside.asked) == 3


async def test_half_a_turn_is_finished_after_a_restart(
    outside: Any, start: Any, caller: Any
) -> None:
    """
    Nobody knows what a call had done that was cut off: it fails and is not run again.
    """

    async def hang(_: Any) -> web.Response:
        await asyncio.Event().wait()
        raise AssertionError

    outside.tools = {"query_order": hang}
    outside.calls(
        ("call_a", "get_weather", {"city": "Paris"}), ("call_b", "query_order", _ORDER)
    )
    async with start():
        await caller.accept()
        await outside.wait_webhooks("function_call.completed")
    outside.tools = {}

    async with start():
        await outside.wait_webhooks("chat.completed")

    keys = [seen.headers["idempotency-key"] for seen in outside.executed]
    assert keys == ["call_a", "call_b"]
    assert len(outside.asked) == 2
    told = {
        message["tool_call_id"]: json.loads(message["content"])
        for message in outside.asked[-1].body["messages"]
        if message["role"] == "tool"
    }
    assert told["call_a"]["ran"] == "get_weather"
    assert told["call_b"]["code"] == "tool_timeout"


async def test_pending_calls_survive_a_restart(
    outside: Any, start: Any, caller: Any, clock: LoopClock
) -> None:
    """
    A deferred tool may be resolved after a restart; it is not dispatched again.
    """

    async def defer(_: Any) -> web.Response:
        return web.json_response({}, status=202)

    outside.tools = {"approve_refund": defer}
    outside.calls(("call_1", "approve_refund", _ORDER))
    async with start():
        callback_id = await caller.accept()
        await outside.wait_executed(1)

    async with start():
        await caller.resolve("call_1", {"approved": True}, now_s=clock.wall())
        await outside.wait_webhooks("chat.completed")
        status = await caller.request("GET", f"/callbacks/{callback_id}")

    (call,) = status.json["result"]["function_calls"]
    assert call["result"] == {"approved": True}
    assert len(outside.executed) == 1


async def test_chats_that_expired_meanwhile_end(
    outside: Any, start: Any, caller: Any, clock: LoopClock
) -> None:
    """
    A chat whose time was over before the restart ends as expired, and says so.
    """
    outside.hangs()
    async with start():
        callback_id = await caller.accept()
        await outside.wait_asked(1)
    await clock.sleep(60)

    async with start():
        await outside.wait_webhooks("chat.failed")
        status = await caller.request("GET", f"/callbacks/{callback_id}")

    assert status.json["state"] == "expired"
    assert len(outside.asked) == 1


async def test_webhooks_go_out_after_a_restart(
    outside: Any, start: Any, caller: Any
) -> None:
    """
    A webhook that could not be delivered before is delivered after the restart, once.
    """
    is_up = False

    async def endpoint(_: Any) -> web.Response:
        return web.Response(status=204 if is_up else 500)

    outside.endpoint = endpoint
    async with start():
        await caller.accept()
        await outside.wait_webhooks("chat.completed")
    is_up = True

    async with start():
        webhooks = await outside.wait_webhooks("chat.completed", 2)

    assert len({seen.headers["webhook-id"] for seen in webhooks}) == 1


async def test_calls_that_nobody_waits_for_expire(
    outside: Any, start: Any, caller: Any, clock: LoopClock, recorder: Recorder
) -> None:
    """
    A deferred call whose caller has left ends at its deadline, its webhook on record.
    """

    async def defer(_: Any) -> web.Response:
        return web.json_response({}, status=202)

    outside.tools = {"approve_refund": defer}
    outside.calls(("call_1", "approve_refund", _ORDER))
    async with start():
        with pytest.raises(TimeoutError):
            async with clock.timeout(1):
                await caller.chat()
        [webhook] = await outside.wait_webhooks("function_call.failed")

    assert clock.monotonic() == pytest.approx(outside.executed[0].at_s + 10, abs=6)
    enqueued = [event.message_id for event in recorder.of(WebhookEnqueued)]
    assert enqueued == [webhook.headers["webhook-id"]]


async def test_taken_port_is_told(outside: Any, start: Any, tmp_path: Any) -> None:
    """
    A port that somebody else has is an error that names it.
    """
    del outside
    async with start():
        with pytest.raises(SubjectError, match=r"127\.0\.0\.1:8000"):
            async with start(data_dir=str(tmp_path / "other")):
                pass


async def test_store_has_one_owner(outside: Any, start: Any) -> None:
    """
    A second service on the same store is refused.
    """
    del outside
    async with start():
        with pytest.raises(StoreLockedError):
            async with start(port=8001):
                pass


async def test_url_without_a_secret_is_refused(outside: Any, start: Any) -> None:
    """
    A service that would have to send unsigned webhooks does not start.
    """
    del outside
    with pytest.raises(UsageError, match="secret"):
        async with start(webhook={"secret": None}):
            pass


async def test_works_alone(outside: Any, start: Any, caller: Any) -> None:
    """
    Without backend and endpoint the sample tools answer, the deferred one after a second.
    """
    outside.calls(
        ("call_a", "get_weather", {"city": "Paris"}),
        ("call_b", "approve_refund", _ORDER),
    )
    async with start(tools={"base_url": None}, webhook={"url": None, "secret": None}):
        answer = await caller.chat()

    weather, refund = answer.json["function_calls"]
    assert weather["result"]["city"] == "Paris"
    assert refund["result"] == {**_ORDER, "approved": True}
    assert outside.executed == []
    assert outside.webhooks == []


def test_workers_need_a_shared_store() -> None:
    """
    More than one worker is refused on a store that only one process may write to.
    """
    check_workers(1, store_url="sqlite:///x")
    check_workers(4, store_url="redis://127.0.0.1:6379/0")
    with pytest.raises(UsageError, match="4 workers"):
        check_workers(4, store_url="sqlite:///x")
