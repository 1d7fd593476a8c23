"""
The webhooks that the mock sends: the results of deferred tools.
"""

import base64
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import pairwise

import orjson
import pytest
from aiohttp import web

from mock_server import Limits, LoopClock, MockOptions
from mock_server.signatures import check
from mock_server.testing import MockInTest, mock_in_test

pytestmark = pytest.mark.virtual_time

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@dataclass(slots=True)
class Delivery:
    path: str
    headers: dict[str, str]
    body: bytes
    at_s: float
    reason: str | None

    @property
    def data(self) -> dict[str, object]:
        """
        What the message says.
        """
        return dict(orjson.loads(self.body)["data"])


@dataclass(slots=True)
class Service:
    clock: LoopClock
    answers: list[int | float | None]
    url: str = ""
    asks_s: int | None = None
    deliveries: list[Delivery] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """
        Take a delivery and give the next answer; None hangs.
        """
        body = await request.read()
        found = check(
            request.headers,
            body,
            secret=SECRET,
            now_s=self.clock.wall(),
            tolerance_s=300,
        )
        self.deliveries.append(
            Delivery(
                path=request.path,
                headers={k.lower(): v for k, v in request.headers.items()},
                body=body,
                at_s=self.clock.monotonic(),
                reason=found.reason,
            )
        )
        status = self.answers.pop(0) if self.answers else 200
        if status is None:
            await self.clock.sleep(1000)
            status = 200
        headers = {} if self.asks_s is None else {"retry-after": str(self.asks_s)}
        return web.Response(status=int(status), headers=headers)


@asynccontextmanager
async def _service(clock: LoopClock, *answers: int | None) -> AsyncIterator[Service]:
    service = Service(clock, list(answers))
    server = web.Server(service.handle, access_log=None, handler_cancellation=True)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    service.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield service
    finally:
        await runner.cleanup()


TOOL = "tools: {approve: {deferred: true, result: {approved: true}, resolve_after: 2s}}"


@asynccontextmanager
async def _approving(
    clock: LoopClock, script: str = TOOL, *answers: int | None
) -> AsyncIterator[tuple[MockInTest, Service]]:
    async with _service(clock, *answers) as service:
        options = MockOptions(port=0, service_url=service.url, webhook_secret=SECRET)
        async with mock_in_test(script, options, clock=clock) as mock:
            headers = {
                "idempotency-key": "call_1",
                "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01",
            }
            await mock.send("POST", "/tools/approve", {}, headers=headers)
            yield mock, service


async def test_sends_the_result_signed(clock: LoopClock) -> None:
    """
    The result comes after its delay, signed, under the call's own id and trace.
    """
    async with _approving(clock) as (mock, service):
        asked_s = clock.monotonic()
        await clock.sleep(10)
        [delivery] = service.deliveries
        [emitted] = mock.of("webhook_emitted")

    assert delivery.path == "/webhook/callback"
    assert delivery.reason is None
    assert delivery.at_s - asked_s == pytest.approx(2.0)
    assert delivery.headers["traceparent"].startswith(f"00-{TRACE}-")
    body = orjson.loads(delivery.body)
    assert body["type"] == "function_call.completed"
    assert body["timestamp"].endswith("Z")
    assert delivery.data == {
        "call_id": "call_1",
        "function": "approve",
        "result": {"approved": True},
    }
    assert emitted["message_id"] == delivery.headers["webhook-id"]
    assert (emitted["status"], emitted["attempt_number"]) == (200, 1)
    assert (emitted["tool_call_id"], emitted["trace_id"]) == ("call_1", TRACE)


async def test_reports_a_failure(clock: LoopClock) -> None:
    """
    A deferred tool that fails sends ``function_call.failed`` with its error.
    """
    script = "tools: {approve: {deferred: true, error: {code: no, message: Never.}}}"
    async with _approving(clock, script) as (_, service):
        await clock.sleep(10)
        [delivery] = service.deliveries

    assert orjson.loads(delivery.body)["type"] == "function_call.failed"
    assert delivery.data["error"] == {"code": "no", "message": "Never."}
    assert "result" not in delivery.data


async def test_tries_again_until_it_is_acknowledged(clock: LoopClock) -> None:
    """
    Attempts have one id, double their delays, and end with the first 2xx.
    """
    async with _approving(clock, TOOL, 500, 503, 204) as (mock, service):
        await clock.sleep(60)
        emitted = mock.of("webhook_emitted")

    times = [delivery.at_s for delivery in service.deliveries]
    assert [b - a for a, b in pairwise(times)] == pytest.approx([0.5, 1.0])
    assert len({d.headers["webhook-id"] for d in service.deliveries}) == 1
    assert all(delivery.reason is None for delivery in service.deliveries)
    assert [record["status"] for record in emitted] == [500, 503, 204]
    assert [record["attempt_number"] for record in emitted] == [1, 2, 3]


async def test_gives_up(clock: LoopClock) -> None:
    """
    After its attempts a message is given up.
    """
    script = TOOL + "\nwebhook_emitter: {attempts_max: 3}"
    async with _approving(clock, script, *[500] * 9) as (mock, service):
        await clock.sleep(1000)

        assert mock.running.mock.health()["holds"]["emissions"] == 0

    assert len(service.deliveries) == 3


async def test_bounds_an_attempt(clock: LoopClock) -> None:
    """
    A service that does not answer in time counts as failed.
    """
    script = TOOL + "\nwebhook_emitter: {timeout: 3s}"
    async with _approving(clock, script, None) as (mock, service):
        await clock.sleep(20)
        emitted = mock.of("webhook_emitted")

    assert [record["status"] for record in emitted] == [None, 200]
    assert emitted[0]["reason"] == "timeout"
    assert service.deliveries[1].at_s - service.deliveries[0].at_s == pytest.approx(3.5)


async def test_survives_a_service_that_is_not_there(clock: LoopClock) -> None:
    """
    A refused connection is an attempt without a status.
    """
    options = MockOptions(
        port=0, service_url="http://127.0.0.1:9", webhook_secret=SECRET
    )
    async with mock_in_test(TOOL, options, clock=clock) as mock:
        await mock.send("POST", "/tools/approve", {})
        await clock.sleep(100)
        emitted = mock.of("webhook_emitted")

    assert [record["status"] for record in emitted] == [None] * 5
    assert emitted[0]["reason"] == "ClientConnectorError"


async def test_says_that_there_is_nowhere_to_send(clock: LoopClock) -> None:
    """
    Without a service the webhook is dropped, counted and told.
    """
    async with mock_in_test(TOOL, clock=clock) as mock:
        await mock.send("POST", "/tools/approve", {})
        [emitted] = mock.of("webhook_emitted")

        assert mock.running.mock.health()["dropped"]["emissions_max"] == 1

    assert (emitted["status"], emitted["reason"]) == (None, "no_service_url")


Look = Callable[[list[Delivery]], None]


def _is_none(deliveries: list[Delivery]) -> None:
    assert deliveries == []


def _is_refused_as(reason: str) -> Look:
    def look(deliveries: list[Delivery]) -> None:
        assert [delivery.reason for delivery in deliveries] == [reason]

    return look


def _is_late(deliveries: list[Delivery]) -> None:
    assert [delivery.reason for delivery in deliveries] == [None]
    assert deliveries[0].at_s == pytest.approx(1007.0)


def _is_repeated(deliveries: list[Delivery]) -> None:
    assert len(deliveries) == 3
    assert len({delivery.headers["webhook-id"] for delivery in deliveries}) == 1
    assert len({delivery.body for delivery in deliveries}) == 1
    assert [delivery.reason for delivery in deliveries] == [None] * 3


def _has_a_rival(deliveries: list[Delivery]) -> None:
    first, second = deliveries
    assert first.reason is second.reason is None
    assert first.headers["webhook-id"] != second.headers["webhook-id"]
    assert first.data["call_id"] == second.data["call_id"]
    assert second.data["result"] == {"rival": True}
    assert first.data["result"] == {"approved": True}


def _is_for_nobody(deliveries: list[Delivery]) -> None:
    assert [delivery.reason for delivery in deliveries] == [None]
    assert deliveries[0].data["call_id"] == "call_nobody_knows_this_one"


@pytest.mark.parametrize(
    ("fault", "look"),
    [
        ("drop", _is_none),
        ("delay", _is_late),
        ("duplicate, copies: 2", _is_repeated),
        ("bad_signature", _is_refused_as("bad_signature")),
        ("missing_signature", _is_refused_as("missing_headers")),
        ("wrong_secret", _is_refused_as("bad_signature")),
        ("stale_timestamp", _is_refused_as("stale_timestamp")),
        ("future_timestamp", _is_refused_as("stale_timestamp")),
        ("body_changed", _is_refused_as("bad_signature")),
        ("rival_result", _has_a_rival),
        ("unknown_call", _is_for_nobody),
    ],
)
async def test_has_the_faults_of_a_sender(
    fault: str, look: Look, clock: LoopClock
) -> None:
    """
    Each fault of the emitter arrives at the service as the catalogue says.
    """
    script = f"{TOOL}\nwebhook_emitter: {{faults: [{{fault: {fault}}}]}}"
    async with _approving(clock, script) as (mock, service):
        await clock.sleep(100)
        [applied] = mock.of("fault_applied")

    assert applied["surface"] == "webhook_emitter"
    look(service.deliveries)


async def test_a_lost_reply_of_a_deferred_tool_still_resolves(
    clock: LoopClock,
) -> None:
    """
    The tool ran, so its webhook comes although the 202 was lost; a refused one's does not.
    """
    for fault, deliveries in (("lost_reply", 1), ("status", 0)):
        script = f"tools: {{approve: {{deferred: true, faults: [{{fault: {fault}}}]}}}}"
        async with _approving(clock, script) as (_, service):
            await clock.sleep(10)

        assert len(service.deliveries) == deliveries


async def test_a_reset_forgets_what_waits(clock: LoopClock) -> None:
    """
    After a reset nothing is sent that was due before it.
    """
    async with _approving(clock) as (mock, service):
        await mock.send("POST", "/_mock/reset")
        await clock.sleep(100)

    assert service.deliveries == []


async def test_holds_so_many_messages(clock: LoopClock) -> None:
    """
    What is beyond the limit is dropped, counted and told; the others are sent.
    """
    async with _service(clock) as service:
        options = MockOptions(
            port=0,
            service_url=service.url,
            webhook_secret=SECRET,
            limits=Limits(emissions_max=1),
        )
        async with mock_in_test(TOOL, options, clock=clock) as mock:
            for number in range(3):
                headers = {"idempotency-key": f"call_{number}"}
                await mock.send("POST", "/tools/approve", {}, headers=headers)
            health = mock.running.mock.health()
            await clock.sleep(10)
            emitted = mock.of("webhook_emitted")

    assert health["holds"]["emissions"] == 1
    assert health["dropped"]["emissions_max"] == 2
    assert [record.get("reason") for record in emitted] == [
        "emissions_max",
        "emissions_max",
        None,
    ]
    assert [delivery.data["call_id"] for delivery in service.deliveries] == ["call_0"]


async def test_honours_the_wait_that_the_service_asks_for(clock: LoopClock) -> None:
    """
    A ``Retry-After`` of the service is the least that the next attempt waits.
    """
    async with _approving(clock, TOOL, 503) as (_, service):
        service.asks_s = 30
        await clock.sleep(100)

    first, second = service.deliveries
    assert second.at_s - first.at_s == pytest.approx(30)
