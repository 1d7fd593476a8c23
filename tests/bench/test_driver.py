"""
The callers, against a service of a few lines, in virtual time.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from harness.bench import Driver, DriverOptions
from harness.clock import LoopClock
from harness.ids import TraceId
from harness.randomness import Randomness
from harness.scenario import Arrival, Mode

pytestmark = pytest.mark.virtual_time

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
ANSWER = {"success": True, "response": "hello", "function_calls": []}


class Log:
    """
    Keeps the caller's records.
    """

    def __init__(self) -> None:
        self.records: list[dict[str, Any]] = []

    def record(self, kind: str, *, trace_id: str | None = None, **fields: Any) -> None:
        """
        Add a record.
        """
        self.records.append({"kind": kind, "trace_id": trace_id, **fields})

    def of(self, kind: str) -> list[dict[str, Any]]:
        """
        Return the records of a kind.
        """
        return [record for record in self.records if record["kind"] == kind]


def schedule(*times_s: float, mode: Mode = "sync") -> list[Arrival]:
    """
    Return arrivals at these times.
    """
    return [
        Arrival(
            call_id=f"call-{number:06d}",
            intended_s=at_s,
            message=f"hi [#t{number:03d}]",
            tag=f"t{number:03d}",
            mode=mode,
            user_id="user-01",
            trace_id=TraceId(f"{number:032x}"),
            phase=0,
        )
        for number, at_s in enumerate(times_s, start=1)
    ]


@asynccontextmanager
async def serving(chat: Handler, callback: Handler | None = None) -> AsyncIterator[str]:
    """
    Serve a chat handler, and give its address.
    """
    app = web.Application()
    app.router.add_post("/chat", chat)
    if callback is not None:
        app.router.add_get("/callbacks/{id}", callback)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def drive(
    url: str, arrivals: list[Arrival], clock: LoopClock, **options: Any
) -> Log:
    """
    Send the arrivals and return what was recorded.
    """
    log = Log()
    async with aiohttp.ClientSession() as session:
        driver = Driver(
            DriverOptions(base_url=url, **options),
            session=session,
            log=log,
            clock=clock,
            spans=Randomness(1).stream("spans"),
        )
        await driver.run(arrivals, zero_s=clock.monotonic() + 1.0)
    return log


async def test_a_frozen_service_does_not_hold_up_the_schedule(clock: LoopClock) -> None:
    """
    Calls start on time while the service is frozen, and their latency tells.
    """
    frozen_until_s = clock.monotonic() + 11.0

    async def chat(_request: web.Request) -> web.Response:
        await clock.sleep(max(0.0, frozen_until_s - clock.monotonic()))
        return web.json_response(ANSWER)

    async with serving(chat) as url:
        log = await drive(url, schedule(*range(10)), clock)

    assert [record["lag_us"] for record in log.of("call_started")] == [0] * 10
    latencies_s = sorted(record["latency_us"] / 1e6 for record in log.of("call_ended"))
    assert latencies_s == pytest.approx([1, 2, 3, 4, 5, 6, 7, 8, 9, 10], abs=0.01)


async def test_more_calls_than_allowed_at_once_are_dropped_and_counted(
    clock: LoopClock,
) -> None:
    """
    What cannot be sent is recorded as dropped, not sent later.
    """
    asked = 0

    async def chat(_request: web.Request) -> web.Response:
        nonlocal asked
        asked += 1
        await clock.sleep(5.0)
        return web.json_response(ANSWER)

    async with serving(chat) as url:
        log = await drive(url, schedule(0, 1, 2, 6), clock, in_flight_max=2)

    assert asked == 3
    assert [record["call_id"] for record in log.of("call_dropped")] == ["call-000003"]
    assert log.of("generator_sampled")[-1]["dropped"] == 1


@pytest.mark.parametrize(
    ("status", "body", "outcome", "error_code"),
    [
        (200, ANSWER, "answered", None),
        (200, {"success": True}, "failed", "no_answer"),
        (200, "no json", "failed", "no_answer"),
        (429, {"error": {"code": "rate_limited"}}, "refused", "rate_limited"),
        (503, {"error": {"code": "circuit_open"}}, "refused", "circuit_open"),
        (502, {"error": {"code": "upstream_failed"}}, "failed", "upstream_failed"),
        (500, [], "failed", "status_500"),
    ],
)
async def test_answers_are_told_apart(
    clock: LoopClock, status: int, body: Any, outcome: str, error_code: str | None
) -> None:
    """
    A refusal of the service itself is no failure, and a broken answer no success.
    """

    async def chat(_request: web.Request) -> web.Response:
        return web.json_response(body, status=status)

    async with serving(chat) as url:
        log = await drive(url, schedule(0), clock)

    [ended] = log.of("call_ended")
    assert (ended["outcome"], ended["error_code"]) == (outcome, error_code)
    assert ended["status"] == status


async def test_the_message_carries_its_tag_and_the_request_its_trace(
    clock: LoopClock,
) -> None:
    """
    Two ways to find a call again in what reaches the mock.
    """
    seen: list[tuple[Any, str]] = []

    async def chat(request: web.Request) -> web.Response:
        seen.append((await request.json(), request.headers["traceparent"]))
        return web.json_response(ANSWER)

    async with serving(chat) as url:
        log = await drive(url, schedule(0), clock)

    [(body, traceparent)] = seen
    assert body == {"message": "hi [#t001]", "user_id": "user-01"}
    assert traceparent.split("-")[1] == f"{1:032x}"
    assert log.of("call_offered")[0]["tag"] == "t001"


async def test_an_accepted_chat_is_followed_to_its_end(clock: LoopClock) -> None:
    """
    A 202 is no answer: the status URL is asked until the chat has ended.
    """
    done_s = clock.monotonic() + 6.0

    async def chat(request: web.Request) -> web.Response:
        assert request.headers["Prefer"] == "respond-async"
        accepted = {"callback_id": "cb_1", "status_url": "/callbacks/cb_1"}
        return web.json_response(accepted, status=202)

    async def callback(_request: web.Request) -> web.Response:
        if clock.monotonic() < done_s:
            return web.json_response({"state": "pending"})
        return web.json_response({"state": "completed", "result": ANSWER})

    async with serving(chat, callback) as url:
        log = await drive(url, schedule(0, mode="async"), clock)

    [ended] = log.of("call_ended")
    assert log.of("call_accepted")[0]["callback_id"] == "cb_1"
    assert ended["outcome"] == "answered"
    assert 5.0 <= ended["latency_us"] / 1e6 <= 6.1


@pytest.mark.parametrize(
    ("tail", "outcome", "error_code"),
    [
        ('event: done\ndata: {"response": "hello"}\n\n', "answered", None),
        (
            'event: error\ndata: {"error": {"code": "upstream_failed"}}\n\n',
            "failed",
            "upstream_failed",
        ),
        ('event: delta\ndata: {"text": "hel"}\n\n', "failed", "stream_cut"),
    ],
)
async def test_a_stream_counts_by_how_it_ends(
    clock: LoopClock, tail: str, outcome: str, error_code: str | None
) -> None:
    """
    A stream without its last event is no answer.
    """

    async def chat(_request: web.Request) -> web.Response:
        text = 'event: delta\ndata: {"text": "h"}\n\n' + tail
        return web.Response(text=text, content_type="text/event-stream")

    async with serving(chat) as url:
        log = await drive(url, schedule(0, mode="stream"), clock)

    [ended] = log.of("call_ended")
    assert (ended["outcome"], ended["error_code"]) == (outcome, error_code)


async def test_a_connection_that_breaks_leaves_the_outcome_unknown(
    clock: LoopClock,
) -> None:
    """
    Whether the chat had its effect cannot be told from an answer that was cut.
    """

    async def chat(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.json_response(ANSWER)

    async with serving(chat) as url:
        log = await drive(url, schedule(0), clock)

    assert log.of("call_ended")[0]["outcome"] == "unknown"


async def test_a_caller_gives_up_in_the_end(clock: LoopClock) -> None:
    """
    A service that never answers fails the call after the caller's timeout.
    """

    async def chat(_request: web.Request) -> web.Response:
        await clock.sleep(3600.0)
        return web.json_response(ANSWER)

    async with serving(chat) as url:
        log = await drive(url, schedule(0), clock, call_timeout_s=20.0)

    [ended] = log.of("call_ended")
    assert ended["error_code"] == "caller_timeout"
    assert ended["latency_us"] == pytest.approx(20e6, rel=0.001)


async def test_nobody_listening_is_a_failure(clock: LoopClock) -> None:
    """
    A refused connection had no effect: the call failed.
    """
    log = await drive("http://127.0.0.1:9", schedule(0), clock)

    assert log.of("call_ended")[0]["error_code"] == "connection_refused"
