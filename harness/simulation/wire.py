"""
What travels from one end of a connection to the other.
"""

import asyncio
import contextvars
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from harness.simulation.links import Link, Passage


class Kind(Enum):
    """
    What a segment carries.
    """

    DATA = "data"
    FIN = "fin"
    RST = "rst"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """
    What was put on the wire, as a tap of the network sees it.
    """

    time_s: float
    connection: int
    source: str
    destination: str
    kind: Kind
    data: bytes


Tap = Callable[[Segment], None]


class Receiver(Protocol):
    """
    The end that a pipe leads to.
    """

    context: contextvars.Context

    def arrive(self, kind: Kind, data: bytes) -> None:
        """
        Take a segment that has come over the wire.
        """


class Pipe:
    """
    One direction of one connection.

    Args:
        key: What names this direction of this connection in draws; unlike the
            connection's number it does not depend on other links.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        link: Link,
        connection: int,
        key: str,
        taps: list[Tap],
    ) -> None:
        self.unread_bytes = 0
        self.link = link
        self._loop = loop
        self._connection = connection
        self._key = key
        self._taps = taps
        self._latencies = link.latencies(key)
        self._receiver: Receiver | None = None
        self._number = 0
        self._last_s = 0.0
        self._has_hole = False

    def attach(self, receiver: Receiver) -> None:
        """
        Say who receives.
        """
        self._receiver = receiver

    @property
    def room_bytes(self) -> int:
        """
        How much may be sent before the receiver reads.
        """
        return self.link.options.window_bytes - self.unread_bytes

    def piece_bytes(self) -> int:
        """
        Return how long the next segment may be.
        """
        return min(
            self.room_bytes, self.link.segment_bytes(self._key, self._number + 1)
        )

    def send(self, kind: Kind, data: bytes = b"") -> None:
        """
        Put a segment on its way.
        """
        self._number += 1
        self.unread_bytes += len(data)
        if self._taps:
            segment = Segment(
                time_s=self._loop.time(),
                connection=self._connection,
                source=self.link.source,
                destination=self.link.destination,
                kind=kind,
                data=data,
            )
            for tap in self._taps:
                tap(segment)
        self._pass_on(kind, data)

    def _pass_on(self, kind: Kind, data: bytes) -> None:
        passage = self.link.passage
        if passage is Passage.STALLED:
            self.link.hold(lambda: self._pass_on(kind, data))
            return
        if passage is Passage.SEVERED or self._has_hole:
            self._has_hole = True
            return
        receiver = self._receiver
        if receiver is None:
            return
        arrival_s = self._loop.time() + self.link.latency_s(self._latencies)
        # Later segments wait for earlier ones, as in any stream.
        self._last_s = max(self._last_s, arrival_s)
        self._loop.call_at(
            self._last_s, receiver.arrive, kind, data, context=receiver.context
        )
