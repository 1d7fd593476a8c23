"""
What happens to bytes on their way from one host to another.

A link is one direction between two hosts. Its options say how long bytes take and
how they are cut; its state says whether they pass at all. Every draw depends on the
link, the connection and the number of the segment alone, so that traffic elsewhere
moves nothing here.
"""

import asyncio
import collections
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from random import Random

from harness.errors import check_options
from harness.randomness import Randomness


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkOptions:
    """
    How a link behaves while nothing is wrong with it.
    """

    latency_min_s: float = 0.0
    """What the quickest segment takes."""

    latency_max_s: float = 0.0
    """What the slowest segment takes; segments never overtake one another."""

    segment_bytes_min: int = 65_536
    """A longer write is cut; a piece is drawn to be at least this long."""

    segment_bytes_max: int = 65_536
    """No piece is longer."""

    window_bytes: int = 262_144
    """How much may be under way or unread; the rest waits at the sender."""

    def __post_init__(self) -> None:
        check_options(
            self,
            latency_min_s=self.latency_min_s >= 0,
            latency_max_s=self.latency_max_s >= self.latency_min_s,
            segment_bytes_min=self.segment_bytes_min >= 1,
            segment_bytes_max=self.segment_bytes_max >= self.segment_bytes_min,
            window_bytes=self.window_bytes >= 1,
        )


class Passage(Enum):
    """
    Whether bytes pass a link.
    """

    OPEN = "open"
    STALLED = "stalled"
    """Held back, in order, until the link is open again."""
    SEVERED = "severed"
    """Lost without notice, and with them the connection: it is half-open."""


class Link:
    """
    One direction between two hosts.

    Args:
        source: Name of the host that sends.
        destination: Name of the host that receives.
    """

    def __init__(
        self,
        *,
        source: str,
        destination: str,
        options: LinkOptions,
        randomness: Randomness,
    ) -> None:
        self.source = source
        self.destination = destination
        self.options = options
        self._randomness = randomness
        self._passage = Passage.OPEN
        self._held: collections.deque[Callable[[], None]] = collections.deque()

    @property
    def passage(self) -> Passage:
        """
        Whether bytes pass at this moment.
        """
        return self._passage

    def stall(self) -> None:
        """
        Hold back whatever is sent, until :meth:`open`.
        """
        self._passage = Passage.STALLED

    def sever(self) -> None:
        """
        Lose whatever is sent, until :meth:`open`.

        A connection that lost something stays half-open: nothing that is sent on
        it later arrives, for a stream with a hole in it delivers nothing more.
        """
        self._passage = Passage.SEVERED
        self._release()

    def open(self) -> None:
        """
        Let bytes pass, beginning with those held back.
        """
        self._passage = Passage.OPEN
        self._release()

    def hold(self, send: Callable[[], None]) -> None:
        """
        Call ``send`` once the state of the link has changed.
        """
        self._held.append(send)

    def latencies(self, *keys: str | int) -> Random:
        """
        Return the stream that the latencies of one direction of a connection are from.

        Hashing keys for each segment would cost more than all else about it.
        """
        return self._randomness.fresh_stream(*self._named("latency"), *keys)

    def latency_s(self, latencies: Random) -> float:
        """
        Return how long the next segment takes.
        """
        options = self.options
        spread_s = options.latency_max_s - options.latency_min_s
        return options.latency_min_s + spread_s * latencies.random()

    def segment_bytes(self, *keys: str | int) -> int:
        """
        Return how long the segment with these keys may be.
        """
        options = self.options
        spread = options.segment_bytes_max - options.segment_bytes_min
        if not spread:
            return options.segment_bytes_min
        share = self._randomness.draw(*self._named("segment"), *keys)
        return options.segment_bytes_min + int((spread + 1) * share)

    def _release(self) -> None:
        held, self._held = self._held, collections.deque()
        for send in held:
            send()

    def _named(self, purpose: str) -> tuple[str, ...]:
        return "network", purpose, self.source, self.destination


async def pass_through(link: Link) -> None:
    """
    Return once the link is open; at once if it is.
    """
    while link.passage is not Passage.OPEN:
        changed = asyncio.Event()
        link.hold(changed.set)
        await changed.wait()
