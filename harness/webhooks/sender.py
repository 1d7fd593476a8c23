"""
Moves deliveries from the store to their endpoints.

The store is the truth: a delivery is leased, its attempt counted, before anything is
sent, and what follows is decided once and written under the lease's fence. While an
outcome cannot be written, nothing more is claimed.
"""

import asyncio
import collections
import functools
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import aiohttp

from harness.bus import EventBus
from harness.clock import Clock, wait_set
from harness.errors import StoreUnavailableError, check_options
from harness.events import (
    WebhookAttemptRejected,
    WebhookAttemptStarted,
    WebhookPurged,
    WebhookRedelivered,
    trace_scope,
)
from harness.ids import IdMint, MessageId
from harness.randomness import Randomness
from harness.resilience import CircuitBreakerOptions
from harness.stores import (
    ClaimedDelivery,
    DeliveryAttempt,
    RetryAt,
    Store,
)
from harness.webhooks.circuits import EndpointCircuits
from harness.webhooks.endpoint import Endpoint, make_headers
from harness.webhooks.exchange import exchange
from harness.webhooks.facts import attempt_ended, step_taken
from harness.webhooks.schedule import Answer, RetrySchedule, next_step

_LOG: Final = logging.getLogger(__name__)

ENDPOINT_CIRCUIT: Final = CircuitBreakerOptions(
    failure_threshold=10, break_duration_s=5.0, probes_max=1, successes_to_close=1
)
"""An endpoint that failed ten times in a row is asked again every five seconds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SenderOptions:
    """
    How much is sent at once, and how long an endpoint has.
    """

    attempt_timeout_s: float = 10.0
    """For the whole exchange, the answer included."""

    in_flight_max: int = 32
    """Attempts under way to one endpoint; each endpoint has its own."""

    lease_margin_s: float = 30.0
    """How much longer than an attempt may take its lease lasts."""

    poll_s: float = 5.0
    """The longest time without a look into the store, should the wall clock be set."""

    outage_delay_s: float = 0.5
    """The wait before a store that was out is asked again."""

    circuit_breaker: CircuitBreakerOptions | None = ENDPOINT_CIRCUIT
    """When an endpoint that keeps failing is left alone; None for never."""

    def __post_init__(self) -> None:
        check_options(
            self,
            attempt_timeout_s=self.attempt_timeout_s > 0,
            in_flight_max=self.in_flight_max >= 1,
            lease_margin_s=self.lease_margin_s > 0,
            poll_s=self.poll_s > 0,
            outage_delay_s=self.outage_delay_s > 0,
        )


class WebhookSender:
    """
    Claims what is due, sends it, and records what came of it.

    Args:
        store: Holds the deliveries.
        session: Its connector guards what is dialled; see ``open_session``.
        endpoints: By name. It is read at every attempt, so that a changed address or
            secret holds from the next attempt on.
        schedule: The waits between attempts.
        clock: The only source of time.
        randomness: Draws the jitter.
        ids: Mints the owner's name and span ids.
        bus: Is told what happened.
        options: Limits.
    """

    def __init__(
        self,
        *,
        store: Store,
        session: aiohttp.ClientSession,
        endpoints: Mapping[str, Endpoint],
        schedule: RetrySchedule,
        clock: Clock,
        randomness: Randomness,
        ids: IdMint,
        bus: EventBus,
        options: SenderOptions | None = None,
    ) -> None:
        self._store = store
        self._session = session
        self._endpoints = endpoints
        self._schedule = schedule
        self._clock = clock
        self._randomness = randomness
        self._ids = ids
        self._bus = bus
        self._options = options or SenderOptions()
        self._circuits = EndpointCircuits(
            options=self._options.circuit_breaker,
            clock=clock,
            randomness=randomness,
            bus=bus,
        )
        self._owner = ids.mint("own")
        self._woken = asyncio.Event()
        self._is_asked = True
        self._ended = asyncio.Event()
        self._ended.set()
        self._is_stopping = False
        self._in_flight: collections.Counter[str] = collections.Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._paused_until_s: dict[str, float] = {}
        self._unrecorded = 0

    def wake(self) -> None:
        """
        Look into the store at once: something was committed.
        """
        self._is_asked = True
        self._woken.set()

    async def run(self) -> None:
        """
        Send until :meth:`drain` is called or this is cancelled.
        """
        self._ended.clear()
        try:
            async with asyncio.TaskGroup() as tasks:
                while not self._is_stopping:
                    self._woken.clear()
                    is_asked, self._is_asked = self._is_asked, False
                    idle_s = await self._start_due(tasks, is_asked=is_asked)
                    await self._wait(idle_s)
        finally:
            self._ended.set()

    async def drain(self, grace_s: float) -> int:
        """
        Claim nothing more and let what is in flight end.

        Args:
            grace_s: How long it may take; what is left then is cancelled. The store
                releases its leases when it is closed.

        Returns:
            How many attempts were cancelled.
        """
        self._is_stopping = True
        self.wake()
        if await wait_set(self._ended, clock=self._clock, timeout_s=grace_s):
            return 0
        cut_off = len(self._tasks)
        for task in self._tasks:
            task.cancel()
        await self._ended.wait()
        return cut_off

    async def redeliver(self, message_id: MessageId) -> bool:
        """
        Put a dead letter back to be sent at once; False if there is none.

        Raises:
            StoreUnavailableError: Nothing changed.
        """
        letter = await self._store.redeliver(message_id)
        if letter is None:
            return False
        self._bus.publish(
            WebhookRedelivered(message_id=message_id, endpoint=letter.endpoint)
        )
        self.wake()
        return True

    async def purge(self, message_id: MessageId) -> bool:
        """
        Forget a dead letter; False if there is none.

        Raises:
            StoreUnavailableError: Nothing changed.
        """
        letter = await self._store.purge(message_id)
        if letter is None:
            return False
        self._bus.publish(
            WebhookPurged(message_id=message_id, endpoint=letter.endpoint)
        )
        return True

    async def _start_due(self, tasks: asyncio.TaskGroup, *, is_asked: bool) -> float:
        """
        Start what is due and return for how long there will be nothing to do.
        """
        room = self._room()
        try:
            if self._unrecorded:
                return self._options.outage_delay_s
            # A look that nobody asked for mostly finds nothing, and costs least so.
            if not is_asked and (idle_s := await self._idle_s(room)) > 0:
                return idle_s
            claims = await self._claim(room)
            for claimed in claims:
                self._start(tasks, claimed)
            return await self._idle_s(self._room())
        except StoreUnavailableError:
            return self._options.outage_delay_s

    async def _claim(self, room: Mapping[str, int]) -> Sequence[ClaimedDelivery]:
        if not room:
            return ()
        lease_s = self._options.attempt_timeout_s + self._options.lease_margin_s
        return await self._store.claim(owner=self._owner, lease_s=lease_s, room=room)

    def _room(self) -> dict[str, int]:
        """
        Return how many more attempts each endpoint may have.
        """
        now_s = self._clock.wall()
        room = {}
        for name in self._endpoints:
            if self._paused_until_s.get(name, 0.0) > now_s:
                continue
            free = self._options.in_flight_max - self._in_flight[name]
            probes = self._circuits.room(name)
            if probes is not None:
                free = min(free, probes)
            if free > 0:
                room[name] = free
        return room

    async def _idle_s(self, room: Mapping[str, int]) -> float:
        """
        Return how long nothing will be due, as far as can be told.
        """
        due_s = await self._store.next_due_s(endpoints=tuple(room)) if room else None
        now_s = self._clock.wall()
        times_s = [end_s for end_s in self._paused_until_s.values() if end_s > now_s]
        times_s += [
            now_s + refuses_for_s
            for name in self._endpoints
            if (refuses_for_s := self._circuits.refuses_for_s(name)) > 0
        ]
        if due_s is not None:
            times_s.append(due_s)
        idle_s = min(times_s, default=now_s + self._options.poll_s) - now_s
        return min(max(idle_s, 0.0), self._options.poll_s)

    async def _wait(self, idle_s: float) -> None:
        """
        Wait to be woken, but not for longer.
        """
        if self._is_stopping:
            return
        # Not a timeout, which is a cancellation: most waits of an idle sender end so.
        alarm = self._clock.call_at(self._clock.monotonic() + idle_s, self._woken.set)
        try:
            await self._woken.wait()
        finally:
            alarm.cancel()

    def _start(self, tasks: asyncio.TaskGroup, claimed: ClaimedDelivery) -> None:
        self._in_flight[claimed.endpoint] += 1
        was_closed = self._circuits.is_closed(claimed.endpoint)
        task = tasks.create_task(
            self._deliver(claimed), name=f"deliver {claimed.delivery_id}"
        )
        self._tasks.add(task)
        # A callback runs for a task that was cancelled before it started, too.
        task.add_done_callback(
            lambda done: self._ended_one(done, claimed.endpoint, was_closed=was_closed)
        )

    def _ended_one(
        self, task: asyncio.Task[None], endpoint: str, *, was_closed: bool
    ) -> None:
        self._tasks.discard(task)
        was_full = self._in_flight[endpoint] >= self._options.in_flight_max
        self._in_flight[endpoint] -= 1
        if was_full or not (was_closed and self._circuits.is_closed(endpoint)):
            # Something may have waited for this slot, or for the circuit to close; else
            # nothing has changed.
            self.wake()

    async def _deliver(self, claimed: ClaimedDelivery) -> None:
        with trace_scope(claimed.trace_id):
            if self._circuits.room(claimed.endpoint) == 0:
                await self._give_back(claimed)
                return
            self._bus.publish(
                WebhookAttemptStarted(
                    message_id=claimed.message_id,
                    endpoint=claimed.endpoint,
                    attempt_number=claimed.attempt_number,
                )
            )
            started_s, began_s = self._clock.wall(), self._clock.monotonic()
            answer = await self._attempt(claimed)
            attempt = DeliveryAttempt(
                started_s=started_s,
                duration_s=self._clock.monotonic() - began_s,
                outcome="success" if answer.is_success else "failure",
                reason=answer.reason,
                status=answer.status,
            )
            self._bus.publish(attempt_ended(claimed, attempt))
            now_s = self._clock.wall()
            self._pause(claimed.endpoint, answer, now_s)
            step = next_step(
                answer,
                attempt_number=claimed.attempt_number,
                schedule=self._schedule,
                now_s=now_s,
                draw=self._randomness.draw(
                    "webhook_retry", claimed.message_id, claimed.attempt_number
                ),
            )
            write = functools.partial(
                self._store.finish_delivery, claimed, attempt=attempt, step=step
            )
            if await self._write(write):
                if isinstance(step, RetryAt):
                    # It may be due before anything else that is known of.
                    self.wake()
                self._bus.publish(step_taken(claimed, attempt, step, now_s))

    async def _give_back(self, claimed: ClaimedDelivery) -> None:
        """
        Let a delivery wait whose circuit opened while it was claimed.
        """
        retry_after_s = self._circuits.refuses_for_s(claimed.endpoint)
        if await self._write(functools.partial(self._store.give_back, claimed)):
            self._bus.publish(
                WebhookAttemptRejected(
                    message_id=claimed.message_id,
                    endpoint=claimed.endpoint,
                    retry_after_s=retry_after_s,
                )
            )

    async def _attempt(self, claimed: ClaimedDelivery) -> Answer:
        endpoint = self._endpoints.get(claimed.endpoint)
        if endpoint is None:
            return Answer(reason="no_endpoint")
        try:
            return await self._circuits.attempt(
                claimed.endpoint,
                functools.partial(
                    exchange,
                    self._session,
                    endpoint.url,
                    headers=make_headers(
                        claimed, endpoint, now_s=self._clock.wall(), ids=self._ids
                    ),
                    body=claimed.body,
                    timeout_s=self._options.attempt_timeout_s,
                    clock=self._clock,
                ),
            )
        except Exception:  # noqa: BLE001 - one delivery must not stop all others
            _LOG.exception("attempt %s failed by a mistake of ours", claimed.message_id)
            return Answer(reason="internal_error")

    def _pause(self, endpoint: str, answer: Answer, now_s: float) -> None:
        """
        Leave an endpoint alone for as long as it asked for.
        """
        if answer.pause_s is not None:
            until_s = self._paused_until_s.get(endpoint, 0.0)
            self._paused_until_s[endpoint] = max(until_s, now_s + answer.pause_s)

    async def _write(self, write: Callable[[], Awaitable[bool]]) -> bool:
        """
        Write what follows, over outages too; False if somebody else owns it by then.
        """
        try:
            return await write()
        except StoreUnavailableError:
            self._unrecorded += 1
        try:
            while True:
                await self._clock.sleep(self._options.outage_delay_s)
                try:
                    return await write()
                except StoreUnavailableError:
                    continue
        finally:
            self._unrecorded -= 1
