"""
Protocols on simulated transports.
"""

import asyncio

from harness.simulation import SimLoop


async def test_failing_protocol_loses_its_connection(virtual_time: SimLoop) -> None:
    """
    An error in a protocol's callback is reported and ends the connection.
    """
    reported: list[object] = []
    virtual_time.set_exception_handler(
        lambda _, context: reported.append(context["exception"])
    )

    class Failing(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            raise ValueError(data)

    await virtual_time.create_server(Failing, "127.0.0.1", 8_000)
    reader, writer = await asyncio.open_connection("127.0.0.1", 8_000)

    writer.write(b"boom")

    assert await reader.read() == b""
    assert [str(error) for error in reported] == ["b'boom'"]
    writer.close()


async def test_buffered_protocols_are_served(virtual_time: SimLoop) -> None:
    """
    A protocol that brings its own buffer gets its bytes in it.
    """
    received: list[bytes] = []
    done = asyncio.Event()

    class Buffered(asyncio.BufferedProtocol):
        def __init__(self) -> None:
            self.buffer = bytearray(4)

        def get_buffer(self, sizehint: int) -> bytearray:
            del sizehint
            return self.buffer

        def buffer_updated(self, nbytes: int) -> None:
            received.append(bytes(self.buffer[:nbytes]))

        def eof_received(self) -> None:
            done.set()

    await virtual_time.create_server(Buffered, "127.0.0.1", 8_000)
    _, writer = await asyncio.open_connection("127.0.0.1", 8_000)

    writer.write(b"0123456789")
    writer.close()
    await done.wait()

    assert received == [b"0123", b"4567", b"89"]
