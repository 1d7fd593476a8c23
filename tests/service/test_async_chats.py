"""
Chats whose callers do not wait.
"""

import asyncio
from typing import Any

import pytest
from aiohttp import web

from harness.clock import LoopClock
from harness.events import ChatAnswered, ChatFailed
from harness.service import Service
from harness.testing import Recorder

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("service")]

_ASYNC = {"Prefer": "respond-async"}


async def test_result_comes_by_webhook_and_stands_at_the_status_url(
    outside: Any, caller: Any
) -> None:
    """
    An accepted chat ends in a webhook and at its status URL, with the same result.
    """
    outside.calls(("call_1", "get_weather", {"city": "Paris"}))
    outside.says("Warm.")

    accepted = await caller.chat("weather?", headers=_ASYNC)

    assert accepted.status == 202
    assert accepted.headers["Preference-Applied"] == "respond-async"
    body = accepted.json
    assert set(body) == {"callback_id", "status_url", "expires_at"}
    (webhook,) = await outside.wait_webhooks("chat.completed")
    status = await caller.request("GET", f"/callbacks/{body['callback_id']}")
    assert body["status_url"].endswith(f"/callbacks/{body['callback_id']}")
    assert status.json["state"] == "completed"
    assert status.json["result"]["response"] == "Warm."
    assert webhook.body["data"]["callback_id"] == body["callback_id"]
    assert webhook.body["data"]["result"] == status.json["result"]


async def test_accepting_does_not_wait(
    outside: Any, caller: Any, clock: LoopClock
) -> None:
    """
    The answer to an asynchronous chat does not wait for the model.
    """
    outside.hangs()
    started_s = clock.monotonic()

    callback_id = await caller.accept()

    assert clock.monotonic() - started_s < 0.1
    status = await caller.request("GET", f"/callbacks/{callback_id}")
    assert status.json == {"callback_id": callback_id, "state": "pending"}


async def test_failure_comes_by_webhook(
    outside: Any, caller: Any, recorder: Recorder
) -> None:
    """
    A chat that fails ends in ``chat.failed`` and at its status URL, with the same error.
    """
    outside.answers(400)

    callback_id = await caller.accept()

    (webhook,) = await outside.wait_webhooks("chat.failed")
    status = await caller.request("GET", f"/callbacks/{callback_id}")
    assert status.json["state"] == "failed"
    assert status.json["error"]["code"] == "upstream_status"
    assert webhook.body["data"]["error"] == status.json["error"]
    assert [event.callback_id for event in recorder.of(ChatFailed)] == [callback_id]


async def test_expires_when_its_time_is_over(
    outside: Any, caller: Any, clock: LoopClock
) -> None:
    """
    A chat that does not end within its total time has expired.
    """
    outside.tools = {"approve_refund": _defer}
    for turn in range(3):
        outside.calls(
            (f"call_{turn}", "approve_refund", {"order_id": "ORD-20260101-AAAAA"})
        )
    started_s = clock.monotonic()

    callback_id = await caller.accept()
    await outside.wait_webhooks("chat.failed")

    status = await caller.request("GET", f"/callbacks/{callback_id}")
    assert clock.monotonic() - started_s == pytest.approx(20, abs=0.2)
    assert status.json["state"] == "expired"
    assert status.json["error"]["code"] == "deadline_exceeded"


async def test_cancel_ends_it(
    outside: Any, caller: Any, clock: LoopClock, recorder: Recorder
) -> None:
    """
    A cancelled chat stops working at once, says so by webhook, and stays cancelled.
    """
    outside.hangs()
    callback_id = await caller.accept()
    await outside.wait_asked(1)
    cancelled_s = clock.monotonic()

    cancelled = await caller.request("DELETE", f"/callbacks/{callback_id}")
    again = await caller.request("DELETE", f"/callbacks/{callback_id}")

    await outside.asked[0].gone.wait()
    assert clock.monotonic() - cancelled_s < 0.1
    (webhook,) = await outside.wait_webhooks("chat.failed")
    assert (cancelled.status, cancelled.json["state"]) == (200, "cancelled")
    assert (again.status, again.json["state"]) == (200, "cancelled")
    assert webhook.body["data"]["error"]["code"] == "cancelled"
    assert recorder.of(ChatAnswered) == []
    assert len(recorder.of(ChatFailed)) == 1


async def test_cancel_after_the_end_changes_nothing(outside: Any, caller: Any) -> None:
    """
    What has ended cannot be cancelled.
    """
    callback_id = await caller.accept()
    await outside.wait_webhooks("chat.completed")

    answer = await caller.request("DELETE", f"/callbacks/{callback_id}")

    status = await caller.request("GET", f"/callbacks/{callback_id}")
    assert (answer.status, answer.error["code"]) == (409, "already_ended")
    assert status.json["state"] == "completed"


@pytest.mark.parametrize("delay_s", [0.0, 0.999, 1.0, 1.001, 1.01])
async def test_cancel_and_end_have_one_winner(
    outside: Any, caller: Any, clock: LoopClock, delay_s: float
) -> None:
    """
    Of a cancellation and an end at the same time exactly one is told, everywhere.
    """

    async def slow(_: Any) -> web.Response:
        await clock.sleep(1)
        return web.json_response({})

    outside.tools = {"get_weather": slow}
    outside.calls(("call_1", "get_weather", {"city": "Paris"}))
    callback_id = await caller.accept()
    await outside.wait_executed(1)
    await clock.sleep(delay_s)

    await caller.request("DELETE", f"/callbacks/{callback_id}")

    await clock.sleep(5)
    status = await caller.request("GET", f"/callbacks/{callback_id}")
    told = [seen.name for seen in outside.webhooks if seen.name.startswith("chat.")]
    ending = {"completed": "chat.completed", "cancelled": "chat.failed"}
    assert told == [ending[status.json["state"]]]


async def test_unknown_callbacks_are_404(caller: Any) -> None:
    """
    Nobody learns anything about chats that there are not.
    """
    for method in ("GET", "DELETE"):
        answer = await caller.request(method, "/callbacks/cb_unknown")
        assert (answer.status, answer.error["code"]) == (404, "not_found")


async def test_more_than_the_limit_are_refused(
    outside: Any, caller: Any, start: Any, service: Service
) -> None:
    """
    Beyond the limit a chat is refused, and nothing of it is kept.
    """
    other_dir = f"{service.settings.data_dir}/other"
    async with start(port=8001, data_dir=other_dir, limits={"async_chats_max": 2}):
        caller.base_url = "http://127.0.0.1:8001"
        for _ in range(2):
            outside.hangs()
            await caller.accept()

        answer = await caller.chat(headers=_ASYNC)

        assert (answer.status, answer.error["code"]) == (503, "overloaded")
        assert answer.headers["Retry-After"] == "1"


async def test_foreign_session_is_refused_at_once(caller: Any, outside: Any) -> None:
    """
    A chat in the session of another user is refused before it is accepted.
    """
    session_id = (await caller.chat()).json["session_id"]

    answer = await caller.chat(headers=_ASYNC, session_id=session_id, user_id="u2")

    assert answer.status == 403
    assert len(outside.asked) == 1


async def test_many_at_once_all_end(outside: Any, caller: Any) -> None:
    """
    Of many chats that were accepted together each ends in one webhook of its own.
    """
    async with asyncio.TaskGroup() as tasks:
        accepting = [tasks.create_task(caller.accept(f"{n}")) for n in range(50)]

    webhooks = await outside.wait_webhooks("chat.completed", 50)
    assert {seen.body["data"]["callback_id"] for seen in webhooks} == {
        task.result() for task in accepting
    }


async def _defer(_: Any) -> web.Response:
    return web.json_response({}, status=202)
