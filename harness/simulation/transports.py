"""
The two ends of a connection, as asyncio and its users know them.

An end is an :class:`asyncio.Transport` that writes into a pipe, which leads over a
link to the other end. What an end does is what asyncio's selector transport and a
Linux kernel do together: a close flushes and sends FIN, a close with unread bytes
or with ``SO_LINGER`` 0 sends RST, bytes that reach an end that is gone are answered
with RST, and a writer is paused while the reader is slow.
"""

import asyncio
import collections
import contextvars
import errno
from collections.abc import Callable
from typing import Final, TypeVarTuple, Unpack

from harness.simulation.life import Life, life_of
from harness.simulation.names import Address
from harness.simulation.sockets import SimSocket
from harness.simulation.wire import Kind, Pipe

_WRITE_HIGH_BYTES: Final = 65_536
_WRITE_LOW_BYTES: Final = 16_384

Ts = TypeVarTuple("Ts")


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
        self._unsent: collections.deque[memoryview] = collections.deque()
        self._unsent_bytes = 0
        self._inbox: collections.deque[tuple[Kind, bytes]] = collections.deque()
        self._low_bytes, self._high_bytes = _WRITE_LOW_BYTES, _WRITE_HIGH_BYTES
        self._is_reading = True
        self._is_writer_paused = False
        self._is_closing = False
        self._is_lost = False
        self._ends_writing = False
        self._has_sent_end = False
        self._is_at_end = False
        self._wire_error: OSError | None = None

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
        if self._wire_error is not None:
            self._fail(self._wire_error)
            return
        # Copied, for the caller may change it; viewed, for it may be cut.
        self._unsent.append(memoryview(bytes(data)))
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
        if kind is Kind.RST:
            self._wire_error = self._error_of_reset()
        self._inbox.append((kind, data))
        if kind is Kind.RST and (self._is_closing or self._unsent):
            # A reader that rests does not see a reset, but a writer runs into it.
            self._fail(self._wire_error)
        else:
            self._read()

    def vanish(self, *, silently: bool) -> None:
        """
        Be gone without a word to the protocol, as when the host dies.

        Args:
            silently: Do not tell the other end either.
        """
        self._is_lost = self._is_closing = True
        self._unsent.clear()
        self._unsent_bytes = 0
        if not silently:
            self._pipe.send(Kind.RST)
        self._on_lost(self)

    # The inside ---------------------------------------------------------------------

    def _push(self) -> None:
        while self._unsent and (piece_bytes := self._pipe.piece_bytes()) > 0:
            data = self._unsent.popleft()
            if len(data) > piece_bytes:
                self._unsent.appendleft(data[piece_bytes:])
                data = data[:piece_bytes]
            self._unsent_bytes -= len(data)
            self._pipe.send(Kind.DATA, bytes(data))
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
        while self._inbox and self.is_reading() and not self._is_at_end:
            kind, data = self._inbox.popleft()
            match kind:
                case Kind.DATA:
                    if self._peer is not None:
                        self._peer.acknowledge(len(data))
                    self._call_protocol(self._hand_over, data)
                case Kind.FIN:
                    self._call_protocol(self._hand_over_end)
                case Kind.RST:
                    self._fail(self._wire_error)

    def _call_protocol(
        self, call: Callable[[Unpack[Ts]], None], *arguments: *Ts
    ) -> None:
        try:
            call(*arguments)
        except Exception as error:  # noqa: BLE001 - what asyncio's own transports do
            self._loop.call_exception_handler(
                {
                    "message": "Fatal error: a protocol's callback failed.",
                    "exception": error,
                    "transport": self,
                    "protocol": self._protocol,
                }
            )
            self._fail(error)

    def _hand_over(self, data: bytes) -> None:
        match self._protocol:
            case asyncio.BufferedProtocol() as protocol:
                while data:
                    room = memoryview(protocol.get_buffer(len(data)))
                    taken = data[: len(room)]
                    room[: len(taken)] = taken
                    protocol.buffer_updated(len(taken))
                    data = data[len(taken) :]
            case asyncio.Protocol() as protocol:
                protocol.data_received(data)

    def _hand_over_end(self) -> None:
        match self._protocol:
            case asyncio.BufferedProtocol() | asyncio.Protocol() as protocol:
                stays_open = protocol.eof_received()
            case _:
                stays_open = False
        if stays_open:
            self._is_at_end = True
        else:
            self.close()

    def acknowledge(self, size_bytes: int) -> None:
        """
        Take the word of the other end that it read so much.
        """
        self._pipe.unread_bytes -= size_bytes
        if self._unsent:
            self._loop.call_soon(self._push, context=self.context)

    def _fail(self, error: Exception | None) -> None:
        self._unsent.clear()
        self._unsent_bytes = 0
        if not self._is_lost:
            self._is_closing = True
            self._loop.call_soon(self._lose, error, context=self.context)

    def _lose(self, error: Exception | None) -> None:
        if self._is_lost:
            return
        self._is_lost = True
        was_reset = self._wire_error is not None
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

    def _error_of_reset(self) -> OSError:
        # A kernel makes a difference whether the other end had said goodbye before.
        if self._is_at_end or any(kind is Kind.FIN for kind, _ in self._inbox):
            return BrokenPipeError(errno.EPIPE, "Broken pipe")
        return ConnectionResetError(errno.ECONNRESET, "Connection reset by peer")
