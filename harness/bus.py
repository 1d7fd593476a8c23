"""
Where events are published and listened to.

Publishing is synchronous and cannot fail. A *direct* listener sees every event
before ``publish`` returns; the event log and the metrics are such. A *queued* listener
has a bounded queue of its own: when it is too slow it loses events, they are counted,
and nobody else notices.
"""

import asyncio
import collections
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

from harness.clock import Clock
from harness.events import Envelope, Event, EventsDropped, current_trace_id

QUEUE_EVENTS_MAX = 10_000
"""How many events wait for a queued listener before it loses some."""

Listener = Callable[[Envelope], None]


class Subscription:
    """
    The events of one queued listener, oldest first; iterate to take them.

    Attributes:
        dropped_events: How many this listener lost so far.
    """

    def __init__(self, *, name: str, events_max: int) -> None:
        self.name = name
        self.dropped_events = 0
        self._events_max = events_max
        self._waiting: collections.deque[Envelope] = collections.deque()
        self._arrived = asyncio.Event()
        self._closed = False

    def offer(self, envelope: Envelope) -> None:
        """
        Queue an event, or count it as dropped.
        """
        if len(self._waiting) >= self._events_max:
            self.dropped_events += 1
            return
        self._waiting.append(envelope)
        self._arrived.set()

    def close(self) -> None:
        """
        End the iteration once what is queued has been taken.
        """
        self._closed = True
        self._arrived.set()

    async def __aiter__(self) -> AsyncIterator[Envelope]:
        while True:
            while self._waiting:
                yield self._waiting.popleft()
            if self._closed:
                return
            self._arrived.clear()
            await self._arrived.wait()


class EventBus:
    """
    Takes facts from everywhere and hands them to whoever listens.

    Attributes:
        failed_listeners: How often a direct listener raised; its error goes no further.
    """

    def __init__(self, *, clock: Clock) -> None:
        self.failed_listeners = 0
        self._clock = clock
        self._number = 0
        self._listeners: list[Listener] = []
        self._subscriptions: list[Subscription] = []

    @property
    def is_heard(self) -> bool:
        """
        Whether anybody listens; on a path that is hot, an event nobody hears need not be made.
        """
        return bool(self._listeners or self._subscriptions)

    def publish(self, event: Event) -> None:
        """
        Tell everybody; never raises and never waits.
        """
        self._number += 1
        envelope = Envelope(
            number=self._number,
            time_s=self._clock.monotonic(),
            trace_id=current_trace_id(),
            event=event,
        )
        for listener in self._listeners:
            try:
                listener(envelope)
            except Exception:  # noqa: BLE001 - a listener must not harm the publisher
                self.failed_listeners += 1
        for subscription in self._subscriptions:
            subscription.offer(envelope)

    @contextmanager
    def listening(self, listener: Listener) -> Iterator[None]:
        """
        Call ``listener`` with every event while inside.
        """
        self._listeners.append(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)

    @contextmanager
    def subscribed(
        self, name: str, *, events_max: int = QUEUE_EVENTS_MAX
    ) -> Iterator[Subscription]:
        """
        Queue every event for one listener while inside.
        """
        subscription = Subscription(name=name, events_max=events_max)
        self._subscriptions.append(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.remove(subscription)
            subscription.close()
            if subscription.dropped_events:
                self.publish(
                    EventsDropped(
                        listener=name, dropped_events=subscription.dropped_events
                    )
                )
