"""
``GET /events``: what happens, as it happens.
"""

import asyncio
from collections.abc import Sequence

import orjson
from aiohttp import web

from harness.bus import EventBus, Subscription
from harness.clock import Clock
from harness.errors import OverloadedError
from harness.orchestrator import CallerLeftError, first_error
from harness.telemetry import Redactor, to_record
from harness.web.middleware import AdminGuard
from harness.web.sse import EventStream

KEEP_ALIVE_S = 15.0
"""A silent stream says so often that it is still there."""


class EventRoutes:
    """
    Serves the events of the bus as server-sent events, in the records of the log.

    Each listener has a bounded queue; one that does not read loses events and harms
    nobody.
    """

    def __init__(
        self,
        *,
        bus: EventBus,
        guard: AdminGuard,
        redactor: Redactor,
        clock: Clock,
        streams_max: int,
    ) -> None:
        self._bus = bus
        self._guard = guard
        self._redactor = redactor
        self._clock = clock
        self._streams_max = streams_max
        self._open: set[Subscription] = set()

    def routes(self) -> Sequence[web.RouteDef]:
        """
        Return what is served at which path.
        """
        return [web.get("/events", self._guard.guard(self.get_events))]

    def close(self) -> None:
        """
        End all streams once they have sent what is queued.
        """
        for subscription in self._open:
            subscription.close()

    async def get_events(self, request: web.Request) -> web.StreamResponse:
        """
        Stream events until the listener leaves or the service stops.
        """
        if len(self._open) >= self._streams_max:
            raise OverloadedError(limit="event_streams_max", value=self._streams_max)
        stream = EventStream(request)
        with self._bus.subscribed("events") as subscription:
            self._open.add(subscription)
            try:
                await stream.start()
                await self._forward(subscription, stream)
            except CallerLeftError:
                return stream.response
            finally:
                self._open.discard(subscription)
        await stream.end()
        return stream.response

    async def _forward(self, subscription: Subscription, stream: EventStream) -> None:
        try:
            async with asyncio.TaskGroup() as tasks:
                pulse = tasks.create_task(self._keep_alive(stream), name="keep alive")
                async for envelope in subscription:
                    record = self._redactor.value(to_record(envelope))
                    await stream.send_raw(
                        envelope.event.kind,
                        orjson.dumps(record, option=orjson.OPT_SORT_KEYS, default=str),
                    )
                pulse.cancel()
        except BaseExceptionGroup as group:
            raise first_error(group) from group

    async def _keep_alive(self, stream: EventStream) -> None:
        while True:
            await self._clock.sleep(KEEP_ALIVE_S)
            await stream.comment("keep-alive")
