"""
The two ends of a connection, as asyncio and its users know them.

An end is an :class:`asyncio.Transport` that writes into a :class:`Pipe`, and a pipe
carries segments over a link to the other end. What an end does is what asyncio's
selector transport and a Linux kernel do together: a close flushes and sends FIN, a
close with unread bytes or with ``SO_LINGER`` 0 sends RST, bytes that reach an end
that is gone are answered with RST, and a writer is paused when the reader is slow.
"""

import asyncio
import collections
import contextvars
import errno
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from harness.simulation.life import Life, life_of
from harness.simulation.links import Link, Passage
from harness.simulation.names import Address

_WRITE_HIGH_BYTES: Final = 65_536
_WRITE_LOW_BYTES: Final = 16_384
_LINGER_FORMAT: Final = "ii"


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


class SimSocket:
    """
    What libraries ask of ``get_extra_info("socket")``.

    ``SO_LINGER`` is kept, because closing with a linger of 0 is how a program asks
    for a reset; every other option is taken and forgotten.
    """

    type = socket.SOCK_STREAM
    proto = socket.IPPROTO_TCP

    def __init__(self, local: Address, remote: Address | None) -> None:
        self.family = socket.AF_INET6 if ":" in local[0] else socket.AF_INET
        self.resets_on_close = False
        self._local = local
        self._remote = remote

    def getsockname(self) -> Address:
        """
        Return the address of this end.
        """
        return self._local

    def getpeername(self) -> Address:
        """
        Return the address of the other end.
        """
        if self._remote is None:
            raise OSError(errno.ENOTCONN, "simulated socket is not connected")
        return self._remote

    def fileno(self) -> int:
        """
        Return -1: there is no descriptor.
        """
        return -1

    def setsockopt(self, level: int, option: int, value: Any, *_length: int) -> None:
        """
        Take an option.
        """
        if (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER):
            is_on, linger_s = struct.unpack(_LINGER_FORMAT, value)
            self.resets_on_close = bool(is_on) and linger_s == 0

    def getsockopt(self, _level: int, _option: int, *_length: int) -> int:
        """
        Return 0.
        """
        return 0

    def gettimeout(self) -> float:
        """
        Return 0: like every socket of an event loop it never blocks.
        """
        return 0.0

    def setblocking(self, _flag: bool) -> None:  # noqa: FBT001 - the name and shape of socket's own method
        """
        Take the setting.
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
        self._receiver: SimTransport | None = None
        self._number = 0
        self._last_s = 0.0
        self._has_hole = False

    def attach(self, receiver: "SimTransport") -> None:
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
        self._pass_on(kind, data, self._number)

    def _pass_on(self, kind: Kind, data: bytes, number: int) -> None:
        passage = self.link.passage
        if passage is Passage.STALLED:
            self.link.hold(lambda: self._pass_on(kind, data, number))
            return
        if passage is Passage.SEVERED or self._has_hole:
            self._has_hole = True
            return
        receiver = self._receiver
        if receiver is None:
            return
        arrival_s = self._loop.time() + self.link.latency_s(self._key, number)
        # Later segments wait for earlier ones, as in any stream.
        self._last_s = max(self._last_s, arrival_s)
        self._loop.call_at(
            self._last_s, receiver.arrive, kind, data, context=receiver.context
        )


class SimTransport(asyncio.Transport):
    """
    One end of a connection.

    Args:
        context: Where the protocol's callbacks run; it decides the host.
        on_lost: Told once this end is gone.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        local: Address,
        remote: Address,
        pipe: Pipe,
        context: contextvars.Context,
        on_lost: Callable[["SimTransport"], None],
    ) -> None:
        self._socket = SimSocket(local, remote)
        super().__init__(
            {"peername": remote, "sockname": local, "socket": self._socket}
        )
        self.context = context
        self.life: Life = life_of(context)
        self._loop = loop
        self._pipe = pipe
        self._on_lost = on_lost
        self._peer: SimTransport | None = None
        self._protocol: asyncio.BaseProtocol | None = None
        self._receives: asyncio.Protocol | None = None
        self._unsent: collections.deque[bytes] = collections.deque()
        self._unsent_bytes = 0
        self._inbox: collections.deque[tuple[Kind, bytes]] = collections.deque()
        self._low_bytes, self._high_bytes = _WRITE_LOW_BYTES, _WRITE_HIGH_BYTES
        self._is_reading = True
        self._is_writer_paused = False
        self._is_closing = False
        self._is_lost = False
        self._ends_writing = False
        self._has_sent_end = False

    def attach(self, peer: "SimTransport") -> None:
        """
        Name the other end, whose writer waits for what this end reads.
        """
        self._peer = peer

    # What asyncio asks of a transport ---------------------------------------------

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """
        Hand callbacks to ``protocol`` from here on.
        """
        self._protocol = protocol
        self._receives = protocol if isinstance(protocol, asyncio.Protocol) else None

    def get_protocol(self) -> asyncio.BaseProtocol:
        """
        Return the protocol.
        """
        assert self._protocol is not None  # noqa: S101 - set before anybody sees this
        return self._protocol

    def is_closing(self) -> bool:
        """
        Whether this end is closed or about to be.
        """
        return self._is_closing

    def is_reading(self) -> bool:
        """
        Whether bytes are handed to the protocol as they come.
        """
        return self._is_reading and not self._is_closing

    def pause_reading(self) -> None:
        """
        Leave bytes where they are.
        """
        self._is_reading = False

    def resume_reading(self) -> None:
        """
        Hand bytes to the protocol again.
        """
        if not self._is_reading:
            self._is_reading = True
            self._loop.call_soon(self._read, context=self.context)

    def set_write_buffer_limits(
        self, high: int | None = None, low: int | None = None
    ) -> None:
        """
        Set when the protocol is told to pause and to resume writing.
        """
        if high is None:
            high = _WRITE_HIGH_BYTES if low is None else 4 * low
        if low is None:
            low = high // 4
        if not high >= low >= 0:
            message = f"high ({high!r}) must be >= low ({low!r}) must be >= 0"
            raise ValueError(message)
        self._low_bytes, self._high_bytes = low, high
        self._tell_writer()

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """
        Return the low and the high mark.
        """
        return self._low_bytes, self._high_bytes

    def get_write_buffer_size(self) -> int:
        """
        Return how many bytes wait for room in the window.
        """
        return self._unsent_bytes

    def can_write_eof(self) -> bool:
        """
        Return True: a connection can be closed in one direction.
        """
        return True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """
        Send bytes, or keep them until there is room.
        """
        if self._ends_writing:
            message = "Cannot call write() after write_eof()"
            raise RuntimeError(message)
        if self._is_closing or not data:
            return
        self._unsent.append(bytes(data))
        self._unsent_bytes += len(data)
        self._push()

    def write_eof(self) -> None:
        """
        Close this direction once everything is sent.
        """
        if not self._is_closing and not self._ends_writing:
            self._ends_writing = True
            self._push()

    def close(self) -> None:
        """
        Close once everything is sent.
        """
        if self._is_closing:
            return
        self._is_closing = True
        if not self._unsent:
            self._loop.call_soon(self._lose, None, context=self.context)

    def abort(self) -> None:
        """
        Close at once; what is not sent yet never will be.
        """
        self._fail(None)

    # What the other side of the wire asks -----------------------------------------

    def arrive(self, kind: Kind, data: bytes) -> None:
        """
        Take a segment that has come over the wire.
        """
        if self._is_lost:
            if kind is Kind.DATA:
                self._pipe.send(Kind.RST)
            return
        self._inbox.append((kind, data))
        if kind is Kind.RST and (self._is_closing or self._unsent):
            # A reader that rests does not see a reset, but a writer runs into it.
            self._fail(_reset_by_peer())
        else:
            self._read()

    def vanish(self) -> None:
        """
        Be gone without a word to anybody, as when the power fails.
        """
        self._is_lost = self._is_closing = True
        self._unsent.clear()
        self._on_lost(self)

    def reset_peer(self) -> None:
        """
        Tell the other end that this one is gone.
        """
        self._pipe.send(Kind.RST)

    # The inside ---------------------------------------------------------------------

    def _push(self) -> None:
        while self._unsent and (piece_bytes := self._pipe.piece_bytes()) > 0:
            data = self._unsent.popleft()
            if len(data) > piece_bytes:
                self._unsent.appendleft(data[piece_bytes:])
                data = data[:piece_bytes]
            self._unsent_bytes -= len(data)
            self._pipe.send(Kind.DATA, data)
        self._tell_writer()
        if self._unsent:
            return
        if self._ends_writing:
            self._send_end(Kind.FIN)
        if self._is_closing and not self._is_lost:
            self._loop.call_soon(self._lose, None, context=self.context)

    def _tell_writer(self) -> None:
        if self._protocol is None or self._is_lost:
            return
        if not self._is_writer_paused and self._unsent_bytes > self._high_bytes:
            self._is_writer_paused = True
            self._protocol.pause_writing()
        elif self._is_writer_paused and self._unsent_bytes <= self._low_bytes:
            self._is_writer_paused = False
            self._protocol.resume_writing()

    def _read(self) -> None:
        while self._inbox and self._is_reading and not self._is_closing:
            kind, data = self._inbox.popleft()
            match kind:
                case Kind.DATA:
                    self._take(data)
                case Kind.FIN:
                    if self._receives is None or not self._receives.eof_received():
                        self.close()
                case Kind.RST:
                    self._fail(_reset_by_peer())

    def _take(self, data: bytes) -> None:
        peer = self._peer
        if peer is not None:
            peer.acknowledge(len(data))
        if self._receives is not None:
            self._receives.data_received(data)

    def acknowledge(self, size_bytes: int) -> None:
        """
        Take the word of the other end that it read so much.
        """
        self._pipe.unread_bytes -= size_bytes
        if self._unsent:
            self._loop.call_soon(self._push, context=self.context)

    def _fail(self, error: OSError | None) -> None:
        self._unsent.clear()
        self._unsent_bytes = 0
        if not self._is_lost:
            self._is_closing = True
            self._loop.call_soon(self._lose, error, context=self.context)

    def _lose(self, error: OSError | None) -> None:
        if self._is_lost:
            return
        self._is_lost = True
        was_reset = any(kind is Kind.RST for kind, _ in self._inbox) or error
        has_unread = any(kind is Kind.DATA for kind, _ in self._inbox)
        try:
            if self._protocol is not None:
                self._protocol.connection_lost(error)
        finally:
            if not was_reset:
                resets = has_unread or self._socket.resets_on_close
                self._send_end(Kind.RST if resets else Kind.FIN)
            self._inbox.clear()
            self._on_lost(self)

    def _send_end(self, kind: Kind) -> None:
        if kind is Kind.RST or not self._has_sent_end:
            self._has_sent_end = True
            self._pipe.send(kind)


def _reset_by_peer() -> ConnectionResetError:
    return ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
