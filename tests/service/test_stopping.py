"""
The orderly end: what is under way is finished, what is new is refused.
"""

import asyncio
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from harness.clock import LoopClock
from harness.events import ChatFailed, ServiceStopped, ServiceStopping
from harness.testing import Recorder

pytestmark = pytest.mark.virtual_time

_ORDER = {"order_id": "ORD-20260101-AAAAA"}
_GRACE_S = 1.0


async def test_finishes_what_is_in_flight(
    outside: Any, start: Any, caller: Any, clock: LoopClock, recorder: Recorder
) -> None:
    """
    A chat that is under way when the service stops is still answered.
    """

    async def slow(_: Any) -> web.Response:
        await clock.sleep(0.5)
        return web.json_response({})

    outside.tools = {"get_weather": slow}
    outside.calls(("call_1", "get_weather", {"city": "Paris"}))
    async with asyncio.TaskGroup() as tasks, start():
        chat = tasks.create_task(caller.chat())
        await outside.wait_executed(1)

    assert chat.result().status == 200
    assert len(await outside.wait_webhooks("function_call.completed")) == 1
    (stopped,) = recorder.of(ServiceStopped)
    assert (stopped.unfinished_chats, stopped.unfinished_deliveries) == (0, 0)


async def test_webhooks_are_taken_while_chats_wait_for_them(
    outside: Any, start: Any, caller: Any, clock: LoopClock, recorder: Recorder
) -> None:
    """
    A chat that waits for a deferred tool gets its result, although the end has begun.
    """
    outside.tools = {"approve_refund": _defer}
    outside.calls(("call_1", "approve_refund", _ORDER))

    async def resolve() -> Any:
        await recorder.wait_recorded(ServiceStopping)
        return await caller.resolve(
            "call_1", {"approved": True}, now_s=int(clock.wall())
        )

    async with asyncio.TaskGroup() as tasks, start():
        chat = tasks.create_task(caller.chat())
        await outside.wait_executed(1)
        resolved = tasks.create_task(resolve())

    assert resolved.result().json == {"status": "received"}
    assert chat.result().json["function_calls"][0]["result"] == {"approved": True}


async def test_takes_nothing_on(
    outside: Any, start: Any, caller: Any, recorder: Recorder
) -> None:
    """
    From the signal on every chat is refused, readiness is gone, and health still there.
    """
    outside.hangs()

    async def ask() -> list[Any]:
        await recorder.wait_recorded(ServiceStopping)
        return [
            await caller.chat(),
            await caller.chat(headers={"Prefer": "respond-async"}),
            await caller.chat(headers={"Accept": "text/event-stream"}),
            await caller.chat(headers={"Idempotency-Key": "k1"}),
            await caller.request("GET", "/readyz"),
            await caller.request("GET", "/healthz"),
        ]

    async with asyncio.TaskGroup() as tasks, start():
        tasks.create_task(caller.chat())
        await outside.wait_asked(1)
        asked = tasks.create_task(ask())

    *refused, ready, health = asked.result()
    for answer in refused:
        assert (answer.status, answer.error["code"]) == (503, "stopping")
        assert answer.headers["Retry-After"] == "1"
        assert answer.headers["Connection"] == "close"
    assert (ready.status, ready.json["reason"]) == (503, "stopping")
    assert health.status == 200
    assert len(outside.asked) == 1


@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k1"}])
async def test_who_waits_too_long_is_told(
    outside: Any,
    start: Any,
    caller: Any,
    clock: LoopClock,
    recorder: Recorder,
    headers: dict[str, str],
) -> None:
    """
    A chat that does not end in time is answered 503, all within the grace time.
    """
    outside.hangs()
    async with asyncio.TaskGroup() as tasks, start():
        chat = tasks.create_task(caller.chat(headers=headers))
        await outside.wait_asked(1)
        stopped_s = clock.monotonic()

    assert (chat.result().status, chat.result().error["code"]) == (503, "stopping")
    assert clock.monotonic() - stopped_s <= _GRACE_S
    assert outside.asked[0].gone.is_set()
    assert [event.reason for event in recorder.of(ChatFailed)] == ["stopping"]


async def test_a_key_is_free_after_the_end(
    outside: Any, start: Any, caller: Any
) -> None:
    """
    A chat that the end cut off is done under its key by the successor.
    """
    headers = {"Idempotency-Key": "k1"}
    outside.calls(("call_1", "get_weather", {"city": "Paris"}))
    outside.hangs()
    async with asyncio.TaskGroup() as tasks, start():
        cut_off = tasks.create_task(caller.chat(headers=headers))
        await outside.wait_asked(2)

    async with start():
        answer = await caller.chat(headers=headers)

    assert cut_off.result().status == 503
    assert answer.status == 200


async def test_a_listener_that_does_not_read_holds_nothing_up(
    outside: Any, start: Any, caller: Any, clock: LoopClock, recorder: Recorder
) -> None:
    """
    An open event stream ends with the service and does not delay it.
    """
    del outside
    async with asyncio.TaskGroup() as tasks, start():
        response = await caller.session.get(f"{caller.base_url}/events")
        reading = tasks.create_task(response.read())
        stopped_s = clock.monotonic()

    assert clock.monotonic() - stopped_s <= _GRACE_S
    assert b"service_stopping" in reading.result()
    assert len(recorder.of(ServiceStopped)) == 1


async def _defer(_: Any) -> web.Response:
    return web.json_response({}, status=202)


async def test_under_load_nothing_gets_lost(
    outside: Any, start: Any, caller: Any, clock: LoopClock, recorder: Recorder
) -> None:
    """
    Stopped in the middle of sixty chats and begun again, it has ended all it took on.

    Who waits gets an answer or a refusal, never a broken connection, and every finished
    call and every accepted chat is reported once.
    """

    async def slow(_: Any) -> web.Response:
        await clock.sleep(0.3)
        return web.json_response({})

    outside.tools = {"get_weather": slow}
    outside.always_calls("get_weather", {"city": "Paris"})
    answers: list[Any] = []

    async def chat(number: int) -> None:
        await clock.sleep(number * 0.03)
        headers = {"Prefer": "respond-async"} if number % 2 else {}
        try:
            answers.append(await caller.chat(f"weather {number}", headers=headers))
        except aiohttp.ClientConnectorError:
            # The port is closed by then, which is a refusal too.
            answers.append(None)

    async with asyncio.TaskGroup() as tasks:
        async with start():
            for number in range(60):
                tasks.create_task(chat(number))
            await clock.sleep(1)
        while len(answers) < 60:
            await clock.sleep(0.1)
    async with start():
        accepted = [each for each in answers if each is not None and each.status == 202]
        chats = await outside.wait_webhooks("chat.completed", len(accepted))
        answered = [each for each in answers if each is not None and each.status == 200]
        calls = await outside.wait_webhooks(
            "function_call.completed", len(accepted) + len(answered)
        )

    told = {each.status for each in answers if each is not None}
    assert told == {200, 202, 503}
    callback_ids = {each.json["callback_id"] for each in accepted}
    assert {each.body["data"]["callback_id"] for each in chats} == callback_ids
    ids = [each.body["data"]["call_id"] for each in calls]
    assert len(set(ids)) == len(ids) == len(outside.executed)
    assert len(accepted) > 10
    assert len(answered) > 10
    assert recorder.of(ServiceStopped)[-1].unfinished_deliveries == 0
