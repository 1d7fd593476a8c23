"""
A pair of sockets over which two processes exchange frames.
"""

import asyncio
import socket
import struct
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Generic, TypeVar

import msgspec

from mock_server.forwarding.frames import Frame

T = TypeVar("T", bound=Frame)
_LENGTH: Final = struct.Struct(">I")
_READ_BYTES: Final = 256 * 1024
_ENCODER: Final = msgspec.msgpack.Encoder()


class Channel(asyncio.Protocol, Generic[T]):
    """
    One end.

    Args:
        kind: The union of the frames that come in.
        take: Told the frames that came in together.
        lost: Told that the other process is gone.
    """

    def __init__(
        self, kind: Any, take: Callable[[list[T]], None], lost: Callable[[], None]
    ) -> None:
        self._decoder = msgspec.msgpack.Decoder(kind)
        self._take = take
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._socket: socket.socket | None = None
        self._received = b""
        self._gathered: list[bytes] = []
        self._is_held = False
        self._loop: asyncio.AbstractEventLoop | None = None

    async def open(self, connection: socket.socket) -> None:
        """
        Speak over a socket.
        """
        connection.setblocking(False)  # noqa: FBT003 - its own signature
        self._socket = connection
        self._loop = asyncio.get_running_loop()
        await self._loop.create_connection(lambda: self, sock=connection)

    def send(self, frame: Frame) -> None:
        """
        Send a frame, together with the others of this moment.
        """
        data = _ENCODER.encode(frame)
        if not self._gathered and not self._is_held and self._loop is not None:
            self._loop.call_soon(self.flush)
        self._gathered += (_LENGTH.pack(len(data)), data)

    def hold(self) -> None:
        """
        Gather frames until they are flushed, and spare the loop a turn for it.
        """
        self._is_held = True

    def flush(self) -> None:
        """
        Send what has gathered.
        """
        self._is_held = False
        if self._gathered and self._transport is not None:
            self._transport.write(b"".join(self._gathered))
        self._gathered.clear()

    def read_now(self) -> list[T]:
        """
        Return the frames that have arrived though the loop has not yet told of them.
        """
        if self._socket is None or self._transport is None:
            return []
        frames: list[T] = []
        with suppress(BlockingIOError, ConnectionError):
            while data := self._socket.recv(_READ_BYTES):
                frames += self._frames_in(data)
                if len(data) < _READ_BYTES:
                    break
        return frames

    def close(self) -> None:
        """
        Speak no more, once everything is sent.
        """
        self.flush()
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """
        Begin.
        """
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the types
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """
        Tell of the frames that have come whole.
        """
        if frames := self._frames_in(data):
            self._take(frames)

    def connection_lost(self, exc: Exception | None) -> None:
        """
        Tell that nobody is there any more.
        """
        del exc
        self._transport = None
        self._lost()

    def _frames_in(self, data: bytes) -> list[T]:
        received = self._received + data if self._received else data
        frames: list[T] = []
        start, length = 0, len(received)
        while length - start >= _LENGTH.size:
            (size,) = _LENGTH.unpack_from(received, start)
            end = start + _LENGTH.size + size
            if end > length:
                break
            frames.append(self._decoder.decode(received[start + _LENGTH.size : end]))
            start = end
        self._received = received[start:]
        return frames
