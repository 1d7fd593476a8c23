"""
An endpoint that keeps failing is left alone, and probed with its oldest delivery.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from harness.clock import Clock
from harness.events import (
    WebhookCircuitChanged,
    WebhookDead,
    WebhookDelivered,
    WebhookRetryScheduled,
)
from harness.resilience import CircuitBreakerOptions
from harness.testing import Recorder
from harness.webhooks import RetrySchedule, SenderOptions

pytestmark = pytest.mark.virtual_time

Behaviour = Callable[[Any], Awaitable[None]]
OpenEndpoint = Callable[..., Awaitable[Any]]

TOUCHY = CircuitBreakerOptions(
    failure_threshold=3, break_duration_s=20.0, probes_max=1, successes_to_close=1
)
PATIENT = RetrySchedule.doubling(attempts_max=12, first_delay_s=1.0)


def answer(status: int) -> Behaviour:
    """
    Answer with a status.
    """

    async def behave(writer: Any) -> None:
        writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()

    return behave


async def test_a_failing_endpoint_is_left_alone(
    open_endpoint: OpenEndpoint, open_desk: Any, clock: Clock, recorder: Recorder
) -> None:
    """
    After three failures in a row nothing is sent for a break, and then one probe.
    """
    endpoint = await open_endpoint(*[answer(500)] * 3, answer(200))
    options = SenderOptions(circuit_breaker=TOUCHY, in_flight_max=1)

    async with open_desk(endpoint, options=options, schedule=PATIENT) as desk:
        for number in range(5):
            await desk.send(str(number))
        await recorder.wait_recorded(WebhookDelivered, count=5)

    times_s = [seen.time_s for seen in endpoint.seen]
    assert times_s[2] - times_s[0] < 1
    assert times_s[3] - times_s[2] == pytest.approx(20, abs=0.1)
    states = [event.to_state for event in recorder.of(WebhookCircuitChanged)]
    assert states == ["open", "half_open", "closed"]
    assert len(endpoint.seen) == 8
    assert clock.monotonic() > 0


async def test_the_probe_is_the_oldest_delivery(
    open_endpoint: OpenEndpoint, open_desk: Any, recorder: Recorder
) -> None:
    """
    Of what waits while the circuit is open, the delivery due first is the probe.
    """
    endpoint = await open_endpoint(*[answer(500)] * 3, answer(200))
    options = SenderOptions(circuit_breaker=TOUCHY, in_flight_max=3)

    async with open_desk(endpoint, options=options, schedule=PATIENT) as desk:
        for number in range(3):
            await desk.send(f"early-{number}")
        await recorder.wait_recorded(WebhookRetryScheduled, count=3)
        for number in range(10):
            await desk.send(f"late-{number}")
        await recorder.wait_recorded(WebhookDelivered, count=13)

    probe = endpoint.seen[3].headers["webhook-id"]
    assert probe == "msg_late-0"
    # Nothing is sent beside the probe before it is acknowledged.
    assert endpoint.seen[4].time_s > endpoint.seen[3].time_s - 1e-9


async def test_an_open_circuit_spends_no_attempts(
    open_endpoint: OpenEndpoint, open_desk: Any, recorder: Recorder
) -> None:
    """
    What waits for a broken endpoint keeps its attempts: three are enough for an outage.
    """
    endpoint = await open_endpoint(*[answer(503)] * 6, answer(200))
    options = SenderOptions(circuit_breaker=TOUCHY, in_flight_max=1)

    async with open_desk(endpoint, options=options) as desk:
        for number in range(20):
            await desk.send(str(number))
        await recorder.wait_recorded(WebhookDelivered, count=20)

    assert recorder.of(WebhookDead) == []


async def test_one_open_circuit_concerns_one_endpoint(
    open_endpoint: OpenEndpoint, open_desk: Any, clock: Clock, recorder: Recorder
) -> None:
    """
    The others are served at once, however often one fails.
    """
    broken, well = await open_endpoint(answer(500)), await open_endpoint(answer(200))
    options = SenderOptions(circuit_breaker=TOUCHY)

    async with open_desk(broken, well, options=options, schedule=PATIENT) as desk:
        for number in range(30):
            await desk.send(f"broken-{number}")
        await recorder.wait_recorded(WebhookCircuitChanged)
        started_s = clock.monotonic()
        for number in range(30):
            await desk.send(f"well-{number}", endpoint="other")
        await recorder.wait_recorded(WebhookDelivered, count=30)
        assert clock.monotonic() - started_s < 0.1

    assert {event.endpoint for event in recorder.of(WebhookCircuitChanged)} == {
        "default"
    }


@pytest.mark.parametrize("status", [400, 404, 410, 429])
async def test_only_ill_health_opens_it(
    open_endpoint: OpenEndpoint, open_desk: Any, recorder: Recorder, status: int
) -> None:
    """
    An endpoint that refuses what it is sent is not unwell: its circuit stays closed.
    """
    endpoint = await open_endpoint(answer(status))
    options = SenderOptions(circuit_breaker=TOUCHY, in_flight_max=1)

    async with open_desk(endpoint, options=options) as desk:
        for number in range(5):
            await desk.send(str(number))
        await recorder.wait_recorded(WebhookDead, count=5)

    assert recorder.of(WebhookCircuitChanged) == []


async def test_it_can_be_switched_off(
    open_endpoint: OpenEndpoint, open_desk: Any, recorder: Recorder
) -> None:
    """
    Without a circuit every attempt is made on schedule.
    """
    endpoint = await open_endpoint(answer(500))
    options = SenderOptions(circuit_breaker=None)

    async with open_desk(endpoint, options=options) as desk:
        for number in range(20):
            await desk.send(str(number))
        await recorder.wait_recorded(WebhookDead, count=20)

    assert len(endpoint.seen) == 60
    assert recorder.of(WebhookCircuitChanged) == []
