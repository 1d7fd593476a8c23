"""
The less trodden parts of the loop's interface, which programs rely on all the same.
"""

import asyncio
import socket
from collections.abc import Awaitable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from harness.clock import Clock
from harness.errors import EscapeError
from harness.simulation import SimLoop

pytestmark = pytest.mark.virtual_time


async def test_files_are_served(tmp_path: Path) -> None:
    """
    A response from a file comes whole, though there is no kernel to send it.
    """
    file = tmp_path / "page.html"
    file.write_bytes(b"x" * 300_000)
    app = web.Application()
    app.router.add_static("/", tmp_path)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "localhost", 8_000).start()

    async with aiohttp.ClientSession() as session:
        response = await session.get("http://localhost:8000/page.html")
        body = await response.read()

    assert body == file.read_bytes()
    await runner.cleanup()


async def test_addresses_of_the_next_version() -> None:
    """
    A server on an IPv6 address is reached there, and told so.
    """
    peers: list[object] = []

    async def note(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peers.append(writer.get_extra_info("sockname"))
        writer.close()

    server = await asyncio.start_server(note, "::1", 8_000)
    reader, writer = await asyncio.open_connection("::1", 8_000)
    await reader.read()

    assert peers == [("::1", 8_000)]
    assert writer.get_extra_info("socket").family == socket.AF_INET6
    writer.close()
    server.close()


async def test_a_server_on_all_addresses_is_reached_at_each(
    virtual_time: SimLoop,
) -> None:
    """
    What listens on 0.0.0.0 answers at every address and name of the simulation.
    """
    virtual_time.network.names.add("far.test", "10.0.0.7")

    async def leave(
        _reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.close()

    server = await asyncio.start_server(leave, None, 8_000)
    for host in ("127.0.0.1", "far.test", "10.0.0.8"):
        reader, writer = await asyncio.open_connection(host, 8_000)
        assert await reader.read() == b""
        writer.close()
    server.close()


async def test_a_server_may_start_later(clock: Clock) -> None:
    """
    A server that does not serve yet refuses; one that serves for ever is cancelled.
    """

    async def leave(
        _reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        writer.close()

    server = await asyncio.start_server(leave, "127.0.0.1", 0, start_serving=False)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)

    async def serve_for_a_minute() -> None:
        async with clock.timeout(60):
            await server.serve_forever()

    async with asyncio.TaskGroup() as tasks:
        serving = tasks.create_task(_until_timeout(serve_for_a_minute()))
        await clock.sleep(1)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        writer.close()

    assert serving.result()
    assert not server.is_serving()
    assert server.sockets == ()


async def _until_timeout(what: Awaitable[None]) -> bool:
    try:
        await what
    except TimeoutError:
        return True
    return False


async def test_executors_hand_errors_over(virtual_time: SimLoop) -> None:
    """
    What a function in an executor raises is raised where it is awaited.
    """
    with pytest.raises(ValueError, match="no number"):
        await virtual_time.run_in_executor(None, _fail, "no number")


def _fail(reason: str) -> None:
    raise ValueError(reason)


async def test_names_that_c_code_asks_for(virtual_time: SimLoop) -> None:
    """
    Blocking resolution answers from the simulation, and reverse names are addresses.
    """
    virtual_time.network.names.add("service.test", "10.0.0.7")

    answer = socket.getaddrinfo("service.test", 80)
    reverse = await virtual_time.getnameinfo(("10.0.0.7", 80))

    assert answer == [
        (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("10.0.0.7", 80))
    ]
    assert reverse == ("10.0.0.7", "80")
    with pytest.raises(socket.gaierror, match="another address family"):
        socket.getaddrinfo("service.test", 80, socket.AF_INET6)


@pytest.fixture
def socket_from_outside() -> socket.socket:
    """
    A real socket, bound by the kernel.
    """
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock


async def test_sockets_from_outside_are_refused(
    virtual_time: SimLoop, socket_from_outside: socket.socket
) -> None:
    """
    A socket that the kernel bound neither serves nor connects in the simulation.
    """
    with pytest.raises(EscapeError, match="bound outside"):
        await virtual_time.create_server(asyncio.Protocol, sock=socket_from_outside)
    with pytest.raises(EscapeError, match="connected outside"):
        await virtual_time.create_connection(asyncio.Protocol, sock=socket_from_outside)
    socket_from_outside.close()


async def test_transports_keep_the_rules_of_asyncio(virtual_time: SimLoop) -> None:
    """
    Limits are checked, nothing is written after the end, and closing twice is closing.
    """
    lost: list[Exception | None] = []

    class Quiet(asyncio.Protocol):
        def connection_lost(self, exc: Exception | None) -> None:
            lost.append(exc)

    server = await virtual_time.create_server(Quiet, "127.0.0.1", 8_000)
    transport, protocol = await virtual_time.create_connection(
        Quiet, "127.0.0.1", 8_000
    )

    transport.set_write_buffer_limits(high=1_000)
    assert transport.get_write_buffer_limits() == (250, 1_000)
    with pytest.raises(ValueError, match="must be >="):
        transport.set_write_buffer_limits(high=1, low=2)
    assert transport.can_write_eof()
    assert transport.is_reading()
    assert transport.get_protocol() is protocol
    transport.write_eof()
    with pytest.raises(RuntimeError, match="after write_eof"):
        transport.write(b"too late")
    transport.close()
    transport.close()
    transport.write_eof()
    await asyncio.get_running_loop().create_task(_pass(virtual_time))

    assert lost == [None, None]
    assert transport.is_closing()
    server.close()


async def _pass(loop: SimLoop) -> None:
    done = loop.create_future()
    loop.call_later(1, done.set_result, None)
    await done
