"""
What a caller is told when something goes wrong.
"""

import asyncio
import io
from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from harness.clock import LoopClock
from harness.errors import StoreUnavailableError
from harness.service import Service

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("service")]

_JSON = {"Content-Type": "application/json"}
_API_KEY = "sk-of-the-tests-0123456789"


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 400, "not_json"),
        (b"{", 400, "not_json"),
        (b"\xff\xfe", 400, "not_json"),
        (b'{"message": NaN, "user_id": "u"}', 400, "not_json"),
        (b"[" * 100_000, 400, "not_json"),
        (b"[]", 422, "invalid_request"),
        (b"null", 422, "invalid_request"),
        (b"{}", 422, "invalid_request"),
        (b'{"message": "", "user_id": "u"}', 422, "invalid_request"),
        (b'{"message": " \\n", "user_id": "u"}', 422, "invalid_request"),
        (b'{"message": 1, "user_id": "u"}', 422, "invalid_request"),
        (b'{"message": "hi", "user_id": ""}', 422, "invalid_request"),
        (
            b'{"message": "hi", "user_id": "u", "model": "../x"}',
            422,
            "invalid_request",
        ),
        (b'{"message": "hi", "user_id": "u", "session_id": "a b"}', 422, None),
        (b'{"message": "hi", "user_id": "u", "massage": "hi"}', 422, None),
        (
            b'{"message": "' + b"x" * 40_000 + b'", "user_id": "u"}',
            422,
            "invalid_request",
        ),
    ],
    ids=lambda value: str(value)[:20],
)
async def test_bad_bodies(
    outside: Any, caller: Any, data: bytes, status: int, code: str | None
) -> None:
    """
    A body that cannot be used is refused with the reason and asks nobody.
    """
    answer = await caller.request("POST", "/chat", data=data, headers=_JSON)

    assert answer.status == status
    assert answer.error["code"] == (code or "invalid_request")
    assert answer.error["message"]
    assert len(answer.error["trace_id"]) == 32
    assert outside.asked == []


async def test_all_mistakes_of_a_body_are_told(caller: Any) -> None:
    """
    Every mistake of a body is in the answer, each with its place.
    """
    answer = await caller.request("POST", "/chat", body={"message": 1, "modell": "x"})

    mistakes = answer.error["message"].split("; ")
    assert [mistake.split(":")[0] for mistake in mistakes] == [
        "message",
        "user_id",
        "modell",
    ]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {**_JSON, "Content-Encoding": "gzip"},
    ],
)
async def test_other_types_are_refused(caller: Any, headers: dict[str, str]) -> None:
    """
    Only plain JSON is taken; nothing is inflated.
    """
    answer = await caller.request("POST", "/chat", data=b"{}", headers=headers)

    assert (answer.status, answer.error["code"]) == (415, "unsupported_media_type")


@pytest.mark.parametrize("kind", ["declared", "chunked"])
async def test_large_body_is_refused(outside: Any, caller: Any, kind: str) -> None:
    """
    A body beyond the limit is refused, whether or not it says how large it is.
    """

    async def fragments() -> AsyncIterator[bytes]:
        for _ in range(20):
            yield b"x" * 65_536

    body = io.BytesIO(b"x" * 2_000_000) if kind == "declared" else fragments()
    answer = await caller.request("POST", "/chat", data=body, headers=_JSON)

    assert (answer.status, answer.error["code"]) == (413, "payload_too_large")
    assert outside.asked == []


async def test_unknown_paths_and_methods(caller: Any) -> None:
    """
    What is not served is refused in the same shape as everything else.
    """
    missing = await caller.request("GET", "/nowhere")
    wrong = await caller.request("GET", "/chat")

    assert (missing.status, missing.error["code"]) == (404, "not_found")
    assert (wrong.status, wrong.error["code"]) == (405, "method_not_allowed")
    assert wrong.headers["Allow"] == "POST"


@pytest.mark.parametrize(
    ("upstream_status", "attempts"), [(400, 1), (401, 1), (404, 1), (500, 3), (503, 3)]
)
async def test_upstream_status_is_502(
    outside: Any, caller: Any, upstream_status: int, attempts: int
) -> None:
    """
    An error of the model API is 502, and what it said stays here.
    """
    for _ in range(3):
        outside.answers(upstream_status)

    answer = await caller.chat()

    assert (answer.status, answer.error["code"]) == (502, "upstream_status")
    assert str(upstream_status) in answer.error["message"]
    assert _API_KEY not in answer.text
    assert "Traceback" not in answer.text
    assert len(outside.asked) == attempts


@pytest.mark.parametrize("body", [b"", b"<html>", b"{", b"{}", b'{"choices": []}'])
async def test_broken_upstream_is_502(outside: Any, caller: Any, body: bytes) -> None:
    """
    A broken reply never becomes a success.
    """
    for _ in range(3):
        outside.gives(body)

    answer = await caller.chat()

    assert (answer.status, answer.error["code"]) == (502, "upstream_protocol")


async def test_hanging_upstream_is_bounded(
    outside: Any, caller: Any, clock: LoopClock
) -> None:
    """
    A model API that never answers is given up within the total timeout.
    """
    for _ in range(9):
        outside.hangs()
    started_s = clock.monotonic()

    answer = await caller.chat()

    assert answer.status in {502, 504}
    assert clock.monotonic() - started_s <= 20.1


async def test_deadline_is_504(outside: Any, caller: Any, clock: LoopClock) -> None:
    """
    A chat whose time is over is 504, whatever it waits for.
    """

    async def slow(_: Any) -> Any:
        await clock.sleep(60)

    outside.tools = {"get_weather": slow}
    for turn in range(4):
        outside.calls((f"call_{turn}", "get_weather", {"city": "Paris"}))
    started_s = clock.monotonic()

    answer = await caller.chat()

    assert (answer.status, answer.error["code"]) == (504, "deadline_exceeded")
    assert clock.monotonic() - started_s == pytest.approx(20, abs=0.1)


async def test_waiting_for_a_tool_counts(
    outside: Any, caller: Any, start: Any, service: Service, clock: LoopClock
) -> None:
    """
    The total time bounds a chat also while it waits for a deferred tool.
    """

    async def defer(_: Any) -> web.Response:
        return web.json_response({}, status=202)

    outside.tools = {"approve_refund": defer}
    outside.calls(("call_1", "approve_refund", {"order_id": "ORD-20260101-AAAAA"}))
    other_dir = f"{service.settings.data_dir}/other"
    started_s = clock.monotonic()
    async with start(port=8001, data_dir=other_dir, tools={"pending_timeout": "60s"}):
        caller.base_url = "http://127.0.0.1:8001"

        answer = await caller.chat()

        ended_s = clock.monotonic()

    assert (answer.status, answer.error["code"]) == (504, "deadline_exceeded")
    assert ended_s - started_s == pytest.approx(20, abs=0.1)


async def test_webhooks_are_not_inflated(caller: Any) -> None:
    """
    A webhook with a content encoding is refused unread, whatever its bytes are.
    """
    headers = {**_JSON, "Content-Encoding": "gzip"}

    answer = await caller.request(
        "POST", "/webhook/callback", data=b"no gzip", headers=headers
    )

    assert answer.status == 415


async def test_open_circuit_is_503(outside: Any, caller: Any) -> None:
    """
    While the circuit is open chats are refused at once, with the time to come back.
    """
    for _ in range(6):
        outside.answers(500)
    for _ in range(2):
        await caller.chat()

    answer = await caller.chat()

    assert (answer.status, answer.error["code"]) == (503, "circuit_open")
    assert 0 < answer.error["retry_after_s"] <= 30
    assert 1 <= int(answer.headers["Retry-After"]) <= 30
    assert len(outside.asked) == 5


async def test_store_outage_is_503(
    caller: Any, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What cannot be committed is not acknowledged.
    """

    async def fail(*_: Any, **__: Any) -> Any:
        raise StoreUnavailableError(reason="disk_full", retry_after_s=2)

    monkeypatch.setattr(service.store, "accept_chat", fail)
    monkeypatch.setattr(service.store, "counts", fail)

    answer = await caller.chat(headers={"Prefer": "respond-async"})
    ready = await caller.request("GET", "/readyz")

    assert (answer.status, answer.error["code"]) == (503, "store_unavailable")
    assert answer.headers["Retry-After"] == "2"
    assert ready.status == 503


async def test_own_mistakes_are_500_without_details(
    caller: Any,
    service: Service,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    A mistake of the service itself is 500; what it was is in the log alone.
    """

    async def fail(*_: Any, **__: Any) -> Any:
        message = f"secret {_API_KEY}"
        raise RuntimeError(message)

    monkeypatch.setattr(service.store, "save_session", fail)

    answer = await caller.chat()

    assert (answer.status, answer.error["code"]) == (500, "internal_error")
    assert "secret" not in answer.text
    assert "RuntimeError" in caplog.text


async def test_too_many_waiting_callers_are_503(
    outside: Any, caller: Any, service: Service, start: Any
) -> None:
    """
    Beyond the limit of waiting callers a chat is refused at once.
    """
    other_dir = f"{service.settings.data_dir}/other"
    async with start(port=8001, data_dir=other_dir, limits={"chats_max": 1}):
        caller.base_url = "http://127.0.0.1:8001"
        outside.hangs()
        async with asyncio.TaskGroup() as tasks:
            waiting = tasks.create_task(caller.chat())
            await outside.wait_asked(1)

            answer = await caller.chat()

            waiting.cancel()

    assert (answer.status, answer.error["code"]) == (503, "overloaded")
    assert answer.headers["Retry-After"] == "1"
