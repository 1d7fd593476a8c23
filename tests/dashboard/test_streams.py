"""
The dashboard on a mock or a service that runs, by its event stream.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

import orjson
import pytest
from aiohttp import web

from harness.clock import LoopClock
from harness.dashboard import DashboardApp, EventStream, find_stream
from harness.dashboard.app import Pane
from harness.dashboard.source import STREAMED_RECORDS_MAX
from harness.errors import UsageError

pytestmark = pytest.mark.sockets

MOCK_RECORDS = (
    {"at_us": 7_000_000, "host": "mock", "kind": "mock_started"},
    {"at_us": 9_000_000, "kind": "scenario_started", "zero_us": 9_000_000},
    {"at_us": 9_500_000, "kind": "upstream_request_received", "request_id": "req_1"},
    {"at_us": 9_600_000, "kind": "upstream_request_ended", "status": 200},
    {"at_us": 9_700_000, "kind": "fault_added", "fault": "status", "fault_id": "f1",
     "source": "control", "target": "upstream"},
)  # fmt: skip


class Peer:
    """
    Something that streams events, and then ends its stream.
    """

    def __init__(self, health_path: str, events_path: str) -> None:
        self.url = ""
        self.token: str | None = None
        self.health_status = 200
        self.streams = 0
        self.app = web.Application()
        self.app.router.add_get(health_path, self._health)
        self.app.router.add_get(events_path, self._events)

    async def _health(self, _: web.Request) -> web.Response:
        return web.json_response({}, status=self.health_status)

    async def _events(self, request: web.Request) -> web.StreamResponse:
        self.token = request.headers.get("Authorization")
        self.streams += 1
        answer = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await answer.prepare(request)
        await answer.write(b": subscribed\n\n")
        for record in MOCK_RECORDS:
            await answer.write(b"data: " + orjson.dumps(record) + b"\n\n")
        return answer


@pytest.fixture
async def serve() -> AsyncIterator[Callable[..., Any]]:
    """
    Serves peers on loopback.
    """
    runners = []

    async def start(health_path: str, events_path: str) -> Peer:
        peer = Peer(health_path, events_path)
        runner = web.AppRunner(peer.app)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        peer.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return peer

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.mark.parametrize(
    ("who", "health_path", "events_path"),
    [
        ("mock", "/_mock/health", "/_mock/events"),
        ("service", "/healthz", "/events"),
    ],
)
async def test_what_listens_at_an_address_is_found_out(
    who: str, health_path: str, events_path: str, serve: Callable[..., Any]
) -> None:
    """
    A mock and a service are told apart by where they say that they are well.
    """
    peer = await serve(health_path, events_path)

    stream = await find_stream(peer.url, token=None, clock=LoopClock())

    assert (stream.who, stream.path) == (who, events_path)


async def test_an_address_without_either_is_refused(serve: Callable[..., Any]) -> None:
    """
    Something else, nothing at all, and a closed door are each called what they are.
    """
    other = await serve("/other", "/else")
    guarded = await serve("/_mock/health", "/_mock/events")
    guarded.health_status = 401

    for url, needle in (
        (other.url, "neither a mock nor a service"),
        (guarded.url, "wants its --token"),
        ("http://127.0.0.1:9", "nothing can be watched at"),
    ):
        with pytest.raises(UsageError, match=needle):
            await find_stream(url, token=None, clock=LoopClock())


async def test_a_mock_is_watched_in_its_own_scenario_time(
    serve: Callable[..., Any],
) -> None:
    """
    Requests are counted, faults shown; time counts from the mock's own zero.
    """
    peer = await serve("/_mock/health", "/_mock/events")
    stream = await find_stream(peer.url, token="s", clock=LoopClock())  # noqa: S106 - made up
    app = DashboardApp(stream)
    async with app.run_test(size=(80, 24)) as pilot:
        while app.state.totals["fault_added"] == 0:
            await pilot.pause(0.05)
        app.paint()
        await pilot.pause()

        assert app.state.now_s == pytest.approx(0.7)
        rates = str(app.query_one("#rates", Pane).render())
        assert "requests" in rates
        assert "answered 1" in rates
        assert "status" in str(app.query_one("#webhooks", Pane).render())
    assert peer.token == "Bearer s"  # noqa: S105 - made up


async def test_a_stream_that_ends_is_opened_again(serve: Callable[..., Any]) -> None:
    """
    A mock that is restarted is found again; until then the header says what is missing.
    """

    class Impatient(LoopClock):
        async def sleep(self, delay_s: float) -> None:
            await super().sleep(delay_s / 100)

    peer = await serve("/_mock/health", "/_mock/events")
    stream = EventStream(
        url=peer.url, who="mock", path="/_mock/events", clock=Impatient()
    )
    async with asyncio.TaskGroup() as tasks:
        following = tasks.create_task(stream.follow())
        while peer.streams < 2:
            await Impatient().sleep(1.0)
        following.cancel()

    assert "connecting again" in stream.waits_for
    assert len(stream.read()) >= len(MOCK_RECORDS)
    assert stream.read() == []


def test_what_is_not_painted_in_time_is_dropped_and_counted() -> None:
    """
    A stream that is faster than the terminal costs no memory without end.
    """
    stream = EventStream(url="http://x", who="mock", path="/", clock=LoopClock())
    for number in range(STREAMED_RECORDS_MAX + 3):
        stream._take({"at_us": number, "kind": "tool_executed"})

    assert stream.dropped == 3
    assert len(stream.read()) == STREAMED_RECORDS_MAX
