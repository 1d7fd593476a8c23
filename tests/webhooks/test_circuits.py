"""
An endpoint that keeps failing is left alone, and probed with its oldest delivery.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from harness.clock import Clock
from harness.errors import StoreUnavailableError
from harness.events import (
    WebhookAttemptEnded,
    WebhookAttemptRejected,
    WebhookAttemptStarted,
    WebhookCircuitChanged,
    WebhookDead,
    WebhookDelivered,
    WebhookRetryScheduled,
)
from harness.ids import MessageId
from harness.resilience import CircuitBreakerOptions
from harness.stores import ClaimedDelivery, SqliteStore
from harness.testing import Recorder
from harness.webhooks import RetrySchedule, SenderOptions

pytestmark = pytest.mark.virtual_time

Behaviour = Callable[[Any], Awaitable[None]]
OpenEndpoint = Callable[..., Awaitable[Any]]

TOUCHY = CircuitBreakerOptions(
    failure_threshold=3, break_duration_s=20.0, probes_max=1, successes_to_close=1
)
PATIENT = RetrySchedule.doubling(attempts_max=12, first_delay_s=1.0)


class SlowStore:
    """
    A store that takes its time over claims, and may be out when one is given back.
    """

    def __init__(self, store: SqliteStore, *, clock: Clock, outages: int = 0) -> None:
        self.claim_s = 0.0
        self.give_back_s = 0.0
        self.outages = outages
        self._store = store
        self._clock = clock

    async def claim(self, **values: Any) -> list[ClaimedDelivery]:
        """
        Claim, and say so late.
        """
        claims = list(await self._store.claim(**values))
        await self._clock.sleep(self.claim_s)
        return claims

    async def give_back(self, claim: ClaimedDelivery) -> bool:
        """
        Give back, once the outages are over.
        """
        await self._clock.sleep(self.give_back_s)
        if self.outages:
            self.outages -= 1
            raise StoreUnavailableError(reason="test")
        return await self._store.give_back(claim)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def answer(
    status: int, *, after_s: float = 0.0, clock: Clock | None = None
) -> Behaviour:
    """
    Answer with a status.
    """

    async def behave(writer: Any) -> None:
        if clock is not None:
            await clock.sleep(after_s)
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


async def test_what_waited_is_sent_once_the_circuit_closes(
    open_endpoint: OpenEndpoint, open_desk: Any, recorder: Recorder
) -> None:
    """
    A probe that succeeds lets the others go at once, not at the next look at the store.
    """
    endpoint = await open_endpoint(*[answer(500)] * 3, answer(200))
    options = SenderOptions(circuit_breaker=TOUCHY, poll_s=3_600.0)

    async with open_desk(endpoint, options=options, schedule=PATIENT) as desk:
        for number in range(20):
            await desk.send(str(number))
        await recorder.wait_recorded(WebhookDelivered, count=20)

    closed_s = recorder.envelopes[
        [getattr(event, "to_state", None) for event in recorder.events].index("closed")
    ].time_s
    assert all(seen.time_s - closed_s < 0.1 for seen in endpoint.seen)


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


@pytest.mark.parametrize("outages", [0, 3])
async def test_what_was_claimed_as_it_opened_waits(
    open_endpoint: OpenEndpoint,
    open_desk: Any,
    clock: Clock,
    recorder: Recorder,
    store: SqliteStore,
    outages: int,
) -> None:
    """
    A delivery whose circuit opens while it is claimed is neither sent nor counted.
    """
    slow = SlowStore(store, clock=clock, outages=outages)
    late = answer(500, after_s=0.3, clock=clock)
    endpoint = await open_endpoint(late, late, late, answer(200))
    options = SenderOptions(circuit_breaker=TOUCHY)

    async with open_desk(
        endpoint, options=options, schedule=PATIENT, through=slow
    ) as desk:
        for number in range(3):
            await desk.send(f"early-{number}")
        await recorder.wait_recorded(WebhookAttemptStarted, count=3)
        slow.claim_s = 0.6
        await desk.send("late")
        (rejected,) = await recorder.wait_recorded(WebhookAttemptRejected)
        slow.claim_s = 0.0
        assert len(endpoint.seen) == 3
        await recorder.wait_recorded(WebhookDelivered, count=4)

    assert rejected.message_id == "msg_late"
    assert 19 < rejected.retry_after_s < 20
    # It was due before the others, and is the probe.
    assert endpoint.seen[3].headers["webhook-id"] == "msg_late"
    assert endpoint.seen[3].time_s - endpoint.seen[2].time_s > 20
    assert len(await store.load_attempts(MessageId("msg_late"))) == 1
    numbers = [
        event.attempt_number
        for event in recorder.of(WebhookAttemptEnded)
        if event.message_id == "msg_late"
    ]
    assert numbers == [1]


async def test_what_is_given_back_late_is_sent_at_once(
    open_endpoint: OpenEndpoint,
    open_desk: Any,
    clock: Clock,
    recorder: Recorder,
    store: SqliteStore,
) -> None:
    """
    A circuit may close before what it refused is back in the store.
    """
    slow = SlowStore(store, clock=clock)
    slow.give_back_s = 25.0
    late = answer(500, after_s=0.3, clock=clock)
    endpoint = await open_endpoint(late, late, late, answer(200))
    options = SenderOptions(circuit_breaker=TOUCHY, poll_s=3_600.0)

    async with open_desk(
        endpoint, options=options, schedule=PATIENT, through=slow
    ) as desk:
        for number in range(3):
            await desk.send(f"early-{number}")
        await recorder.wait_recorded(WebhookAttemptStarted, count=3)
        slow.claim_s = 0.6
        await desk.send("late")
        await recorder.wait_recorded(WebhookDelivered, count=3)
        slow.claim_s = 0.0
        assert recorder.of(WebhookAttemptRejected) == []
        await recorder.wait_recorded(WebhookAttemptRejected)
        rejected_s = clock.monotonic()
        await recorder.wait_recorded(WebhookDelivered, count=4)

    assert clock.monotonic() - rejected_s < 0.1


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
