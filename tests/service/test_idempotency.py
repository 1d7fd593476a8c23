"""
One effect per idempotency key.
"""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from harness.clock import LoopClock
from harness.errors import StoreUnavailableError

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("service")]

_KEY = {"Idempotency-Key": "key-1"}


async def test_repetition_gets_the_same_answer(outside: Any, caller: Any) -> None:
    """
    The same key and body give the same answer, and the work is done once.
    """
    outside.calls(("call_1", "get_weather", {"city": "Paris"}))

    first = await caller.chat("weather?", headers=_KEY)
    second = await caller.chat("weather?", headers=_KEY)

    assert first.status == 200
    assert (second.status, second.text) == (first.status, first.text)
    assert len(outside.asked) == 2
    assert len(outside.executed) == 1


async def test_other_body_is_refused(outside: Any, caller: Any) -> None:
    """
    A key that was used with another body is refused.
    """
    await caller.chat("one", headers=_KEY)

    answer = await caller.chat("two", headers=_KEY)

    assert (answer.status, answer.error["code"]) == (422, "idempotency_conflict")
    assert len(outside.asked) == 1


async def test_running_request_is_409(outside: Any, caller: Any) -> None:
    """
    While the first request is running, its repetition is told to come back.
    """
    outside.hangs()
    async with asyncio.TaskGroup() as tasks:
        first = tasks.create_task(caller.chat(headers=_KEY))
        await outside.wait_asked(1)

        answer = await caller.chat(headers=_KEY)

        first.cancel()

    assert (answer.status, answer.error["code"]) == (409, "idempotency_running")
    assert int(answer.headers["Retry-After"]) >= 1


async def test_twenty_at_once_have_one_effect(outside: Any, caller: Any) -> None:
    """
    Of many requests with one key at the same time one does the work.
    """
    async with asyncio.TaskGroup() as tasks:
        chats = [tasks.create_task(caller.chat(headers=_KEY)) for _ in range(20)]

    statuses = sorted(chat.result().status for chat in chats)
    assert set(statuses) <= {200, 409}
    assert statuses[0] == 200
    assert len(outside.asked) == 1


async def test_keys_of_two_users_are_two_keys(outside: Any, caller: Any) -> None:
    """
    A user does not get the answer of another one who chose the same key.
    """
    await caller.chat(headers=_KEY)
    await caller.chat(headers=_KEY, user_id="u2")

    assert len(outside.asked) == 2


async def test_leaving_caller_finds_the_answer_later(
    outside: Any, caller: Any, clock: LoopClock
) -> None:
    """
    A chat with a key goes on when its caller leaves, for whoever comes back.
    """

    async def slow(_: Any) -> Any:
        await clock.sleep(3)
        return web.json_response({"temperature": 20})

    outside.tools = {"get_weather": slow}
    outside.calls(("call_1", "get_weather", {"city": "Paris"}))
    with pytest.raises(TimeoutError):
        async with clock.timeout(1):
            await caller.chat(headers=_KEY)
    await clock.sleep(5)

    answer = await caller.chat(headers=_KEY)

    assert answer.status == 200
    assert answer.json["function_calls"][0]["result"] == {"temperature": 20}
    assert len(outside.executed) == 1


async def test_failure_without_effect_may_be_tried_again(
    outside: Any, caller: Any
) -> None:
    """
    A request that failed before it did anything is done again under its key.
    """
    outside.answers(400)
    outside.says("Better.")

    first = await caller.chat(headers=_KEY)
    second = await caller.chat(headers=_KEY)

    assert first.status == 502
    assert (second.status, second.json["response"]) == (200, "Better.")


async def test_failure_with_effect_is_the_answer(outside: Any, caller: Any) -> None:
    """
    A request that failed after a tool had run is not done again under its key.
    """
    outside.calls(("call_1", "get_weather", {"city": "Paris"}))
    outside.answers(400)

    first = await caller.chat(headers=_KEY)
    second = await caller.chat(headers=_KEY)

    assert first.status == second.status == 502
    assert second.text == first.text
    assert len(outside.executed) == 1


async def test_streams_are_repeated_by_their_end(outside: Any, caller: Any) -> None:
    """
    The repetition of a streamed chat gets its last event.
    """
    headers = {**_KEY, "Accept": "text/event-stream"}
    outside.says("Hello.")

    first = await caller.chat(headers=headers)
    second = await caller.chat(headers=headers)

    assert second.events == first.events[-1:]
    assert len(outside.asked) == 1


async def test_asynchronous_chats_are_accepted_once(outside: Any, caller: Any) -> None:
    """
    The repetition of an asynchronous chat is told of the chat that runs already.
    """
    headers = {**_KEY, "Prefer": "respond-async"}

    first = await caller.chat(headers=headers)
    second = await caller.chat(headers=headers)

    assert first.status == second.status == 202
    assert first.json["callback_id"] == second.json["callback_id"]
    await outside.wait_webhooks("chat.completed")
    assert len(outside.asked) == 1


@pytest.mark.parametrize("key", ["", " ", "x" * 256])
async def test_bad_keys_are_refused(caller: Any, key: str) -> None:
    """
    A key is neither empty nor endless.
    """
    answer = await caller.chat(headers={"Idempotency-Key": key})

    assert (answer.status, answer.error["code"]) == (422, "invalid_request")


async def test_a_crash_behind_the_acceptance_makes_no_second_chat(
    outside: Any,
    start: Any,
    caller: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Once a chat is accepted its key is answered, whatever becomes of the request.
    """

    async def fail(*_: Any, **__: Any) -> Any:
        raise StoreUnavailableError(reason="crashed")

    headers = {"Prefer": "respond-async", "Idempotency-Key": "k1"}
    async with start(port=8001, data_dir=str(tmp_path / "other")) as crashing:
        caller.base_url = "http://127.0.0.1:8001"
        monkeypatch.setattr(crashing.store, "finish_idempotent", fail)
        first = await caller.chat(headers=headers)
    async with start(port=8001, data_dir=str(tmp_path / "other")):
        again = await caller.chat(headers=headers)
        await outside.wait_webhooks("chat.completed")

    assert again.json == first.json
    assert len(outside.asked) == 1
