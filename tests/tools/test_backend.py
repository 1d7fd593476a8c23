import asyncio
from typing import Any

import aiohttp
import pytest

from harness.clock import Clock
from harness.errors import ToolFailedError, ToolTimeoutError, UsageError
from harness.ids import IdMint, ToolCallId, TraceId
from harness.resilience import Deadline
from harness.tools import (
    Deferred,
    ToolBackend,
    ToolBackendOptions,
    ToolContext,
    ToolResult,
)

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def backend(
    fake_backend: Any, session: aiohttp.ClientSession, clock: Clock
) -> ToolBackend:
    """
    Return a client of the fake.
    """
    return ToolBackend(
        session=session,
        base_url=fake_backend.url,
        clock=clock,
        ids=IdMint(),
        options=ToolBackendOptions(timeout_s=1.0, answer_bytes_max=1000),
    )


async def test_returns_result(
    backend: ToolBackend, fake_backend: Any, context: ToolContext
) -> None:
    """
    The arguments are the body, and what stands in a 200 is the result.
    """
    fake_backend.will_answer(b'{"temperature": 22}')

    answer = await backend.run("get_weather", {"city": "Paris"}, context)

    assert answer == ToolResult({"temperature": 22})
    path, body, headers = fake_backend.seen[0]
    assert (path, body) == ("/base/tools/get_weather", {"city": "Paris"})
    assert headers["idempotency-key"] == "call_a"
    assert headers["content-type"] == "application/json"
    assert "traceparent" not in headers


async def test_defers(
    backend: ToolBackend, fake_backend: Any, context: ToolContext
) -> None:
    """
    A 202 says that the result comes by webhook.
    """
    fake_backend.will_answer(b"", status=202)

    assert await backend.run("approve_refund", {}, context) == Deferred()


async def test_sends_trace_and_deadline(
    backend: ToolBackend, fake_backend: Any, clock: Clock
) -> None:
    """
    The backend is told which trace it works for and how much time is left.
    """
    fake_backend.will_answer(b"null")
    context = ToolContext(
        tool_call_id=ToolCallId("call\n€"),
        trace_id=TraceId("0af7651916cd43dd8448eb211c80319c"),
        deadline=Deadline.after(clock, 5.0),
    )

    await backend.run("f", {}, context)

    headers = fake_backend.seen[0][2]
    version, trace_id, span_id, flags = headers["traceparent"].split("-")
    assert (version, trace_id, flags) == ("00", context.trace_id, "01")
    assert len(span_id) == 16
    assert 0 < int(headers["x-deadline-ms"]) <= 5000
    assert headers["idempotency-key"] == "call%0A%E2%82%AC"


@pytest.mark.parametrize(
    ("status", "body", "reason"),
    [
        (500, b"", "it answered 500"),
        (500, b"<html>", "it answered 500"),
        (500, b'{"error": {"message": "disk full"}}', "it answered 500: disk full"),
        (404, b'{"error": "no such order"}', "it answered 404: no such order"),
        (422, b'{"error": {"message": 7}}', "it answered 422"),
        (204, b"", "it answered 204"),
        (302, b"", "it answered 302"),
        (200, b"", "its answer is not JSON"),
        (200, b'{"a": NaN}', "its answer is not JSON"),
        (200, b'"' + b"x" * 2000 + b'"', "its answer has more than 1000 bytes"),
        (500, b"x" * 2000, "its answer has more than 1000 bytes"),
    ],
)
async def test_fails(
    backend: ToolBackend,
    fake_backend: Any,
    context: ToolContext,
    status: int,
    body: bytes,
    reason: str,
) -> None:
    """
    Every other answer fails the call, with its status and the reason it gave.
    """
    fake_backend.will_answer(body, status=status)

    with pytest.raises(ToolFailedError) as caught:
        await backend.run("f", {}, context)

    assert (caught.value.reason, caught.value.status) == (reason, status)


async def test_executes_once(
    backend: ToolBackend, fake_backend: Any, context: ToolContext
) -> None:
    """
    A lost connection fails the call; the tool may have run, and is not run again.
    """
    fake_backend.will_reset()

    with pytest.raises(ToolFailedError, match="connection error"):
        await backend.run("f", {}, context)

    assert len(fake_backend.seen) == 1


async def test_bounds_time(
    fake_backend: Any,
    session: aiohttp.ClientSession,
    clock: Clock,
    context: ToolContext,
) -> None:
    """
    A backend that does not answer in time is left, and sees that it was.
    """
    gone = asyncio.Event()

    async def hang(_request: Any) -> Any:
        try:
            await clock.sleep(60.0)
        finally:
            gone.set()

    fake_backend.answers.append(hang)
    backend = ToolBackend(
        session=session,
        base_url=fake_backend.url,
        clock=clock,
        ids=IdMint(),
        options=ToolBackendOptions(timeout_s=0.05),
    )

    with pytest.raises(ToolTimeoutError):
        await backend.run("f", {}, context)

    await gone.wait()


@pytest.mark.parametrize("address", ["", "tools", "ftp://host", "http://", "http://["])
def test_refuses_address(
    session: aiohttp.ClientSession, clock: Clock, address: str
) -> None:
    """
    An address that is none of the web is refused at once.
    """
    with pytest.raises(UsageError):
        ToolBackend(session=session, base_url=address, clock=clock, ids=IdMint())
