"""
Keeps what a bus said, for tests to look at.
"""

import asyncio
from typing import TypeVar

from harness.events import Envelope, Event

E = TypeVar("E", bound=Event)


class Recorder:
    """
    Every event of a bus, oldest first.

    Give :meth:`record` to ``bus.listening``; the fixture ``recorder`` has done so.

    Attributes:
        envelopes: The events with the time, number and trace of each.
    """

    def __init__(self) -> None:
        self.envelopes: list[Envelope] = []
        self._recorded = asyncio.Event()

    def record(self, envelope: Envelope) -> None:
        """
        Keep an event.
        """
        self.envelopes.append(envelope)
        self._recorded.set()

    @property
    def events(self) -> list[Event]:
        """
        The events without what surrounds them.
        """
        return [envelope.event for envelope in self.envelopes]

    def of(self, event_type: type[E]) -> list[E]:
        """
        Return the events of one type.
        """
        return [event for event in self.events if isinstance(event, event_type)]

    async def wait_recorded(self, event_type: type[E], *, count: int = 1) -> list[E]:
        """
        Return the events of one type once there are ``count`` of them.
        """
        while len(found := self.of(event_type)) < count:
            self._recorded.clear()
            await self._recorded.wait()
        return found
