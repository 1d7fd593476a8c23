"""
The simulated network does what the kernel's loopback does.

Each program runs twice, on real sockets and in memory, and must see the same.
"""

import asyncio
import socket
import struct
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from harness.clock import LoopClock
from harness.simulation import run_virtual

pytestmark = pytest.mark.sockets

CLOCK = LoopClock()
MOMENT_S = 0.05
LINGER_0 = struct.pack("ii", 1, 0)

Seen = list[object]
Program = Callable[[Seen], Awaitable[None]]
Handler = Callable[[Reader, Writer], Awaitable[None]]


@asynccontextmanager
async def connected(handler: Handler) -> AsyncIterator[tuple[Reader, Writer]]:
    """
    Serve a handler and connect to it.
    """
    server = await asyncio.start_server(handler, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    yield reader, writer
    writer.close()
    await CLOCK.sleep(MOMENT_S)
    server.close()
    await server.wait_closed()


async def note_reading(name: str, reader: Reader, seen: Seen) -> None:
    """
    Note what is read until the end, and how it ended.
    """
    received = bytearray()
    try:
        while data := await reader.read(65_536):
            received += data
        ending = "end"
    except ConnectionError as error:
        ending = type(error).__name__
    seen.append((name, len(received), ending))


async def half_close(seen: Seen) -> None:
    """
    One direction ends, the other goes on.
    """

    async def answer(reader: Reader, writer: Writer) -> None:
        await note_reading("server", reader, seen)
        writer.write(b"answer")
        writer.close()

    async with connected(answer) as (reader, writer):
        writer.write(b"question")
        writer.write_eof()
        await note_reading("client", reader, seen)


async def close_while_much_is_unsent(seen: Seen) -> None:
    """
    A close sends everything first.
    """

    async def tell(_reader: Reader, writer: Writer) -> None:
        writer.write(b"x" * 20_000_000)
        writer.close()

    async with connected(tell) as (reader, _):
        await note_reading("client", reader, seen)


async def abort_with_linger(seen: Seen) -> None:
    """
    A reset that was asked for, after bytes.
    """

    async def reset(_reader: Reader, writer: Writer) -> None:
        writer.write(b"beginning")
        await CLOCK.sleep(MOMENT_S)
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
        writer.transport.abort()

    async with connected(reset) as (reader, _):
        await note_reading("client", reader, seen)


async def abort_without_linger(seen: Seen) -> None:
    """
    An abort that leaves nothing unread looks like an end.
    """

    async def leave(_reader: Reader, writer: Writer) -> None:
        writer.write(b"beginning")
        await CLOCK.sleep(MOMENT_S)
        writer.transport.abort()

    async with connected(leave) as (reader, _):
        await note_reading("client", reader, seen)


async def close_with_unread_bytes(seen: Seen) -> None:
    """
    Who closes without having read resets the other side.
    """

    async def close_unread(_reader: Reader, writer: Writer) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await CLOCK.sleep(3 * MOMENT_S)
        writer.close()

    async with connected(close_unread) as (reader, writer):
        await CLOCK.sleep(MOMENT_S)
        writer.write(b"never read")
        await note_reading("client", reader, seen)


async def write_to_who_is_gone(seen: Seen) -> None:
    """
    Bytes for an end that is closed come back as a reset.
    """

    async def leave(_reader: Reader, writer: Writer) -> None:
        writer.close()

    async with connected(leave) as (reader, writer):
        await note_reading("client", reader, seen)
        for _attempt in range(2):
            writer.write(b"anybody there?")
            await CLOCK.sleep(MOMENT_S)
        try:
            await writer.drain()
        except ConnectionError as error:
            seen.append(("drain", type(error).__name__))


async def dial_nobody(seen: Seen) -> None:
    """
    A port where nobody listens refuses.
    """
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    try:
        await asyncio.open_connection("127.0.0.1", port)
    except OSError as error:
        seen.append((type(error).__name__, error.errno))


async def bind_twice(seen: Seen) -> None:
    """
    An address that is taken is refused.
    """
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        await asyncio.start_server(lambda *_: None, "127.0.0.1", port)
    except OSError as error:
        seen.append((type(error).__name__, error.errno))
    server.close()
    await server.wait_closed()


async def slow_reader(seen: Seen) -> None:
    """
    A writer is paused by a reader that rests, and resumed when it reads.
    """
    read_on = asyncio.Event()

    async def rest(reader: Reader, writer: Writer) -> None:
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await read_on.wait()
        reader._transport.resume_reading()  # type: ignore[attr-defined]
        await note_reading("server", reader, seen)
        writer.close()

    async with connected(rest) as (reader, writer):
        writer.write(b"x" * 20_000_000)
        try:
            async with CLOCK.timeout(MOMENT_S):
                await writer.drain()
        except TimeoutError:
            seen.append("paused")
        read_on.set()
        await writer.drain()
        seen.append("resumed")
        writer.write_eof()
        await note_reading("client", reader, seen)


def over_http(
    handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
) -> Program:
    """
    Ask an aiohttp handler twice, and note what the client sees.
    """

    async def program(seen: Seen) -> None:
        app = web.Application()
        app.router.add_get("/", handler)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0]
        timeout = aiohttp.ClientTimeout(total=4 * MOMENT_S)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            for _attempt in range(2):
                try:
                    async with session.get(f"http://{host}:{port}/") as response:
                        seen.append(response.status)
                        seen.append(await response.read())
                except (aiohttp.ClientError, TimeoutError) as error:
                    seen.append(type(error).__name__)
        await CLOCK.sleep(MOMENT_S)
        await runner.cleanup()

    return program


async def answer(_request: web.Request) -> web.Response:
    """
    Answer at once.
    """
    return web.Response(text="hello")


async def answer_and_close(_request: web.Request) -> web.Response:
    """
    Answer and end the connection.
    """
    response = web.Response(text="hello")
    response.force_close()
    return response


async def cut_the_body(request: web.Request) -> web.StreamResponse:
    """
    End in the middle of a chunked body.
    """
    response = web.StreamResponse()
    await response.prepare(request)
    await response.write(b"hello")
    await CLOCK.sleep(MOMENT_S)
    assert request.transport is not None
    request.transport.abort()
    return response


async def reset_before_headers(request: web.Request) -> web.StreamResponse:
    """
    Reset instead of an answer.
    """
    assert request.transport is not None
    sock = request.transport.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_0)
    request.transport.abort()
    return web.Response()


async def close_before_headers(request: web.Request) -> web.StreamResponse:
    """
    End instead of an answer.
    """
    assert request.transport is not None
    request.transport.close()
    return web.Response()


async def hang(_request: web.Request) -> web.StreamResponse:
    """
    Never answer.
    """
    await asyncio.Event().wait()
    return web.Response()


@pytest.mark.parametrize(
    "program",
    [
        half_close,
        close_while_much_is_unsent,
        abort_with_linger,
        abort_without_linger,
        close_with_unread_bytes,
        write_to_who_is_gone,
        dial_nobody,
        bind_twice,
        slow_reader,
        *(
            pytest.param(over_http(handler), id=f"http_{handler.__name__}")
            for handler in (
                answer,
                answer_and_close,
                cut_the_body,
                reset_before_headers,
                close_before_headers,
                hang,
            )
        ),
    ],
)
def test_agrees_with_the_kernel(program: Program) -> None:
    """
    A program sees the same over loopback and in the simulation.
    """

    async def run() -> Seen:
        seen: Seen = []
        await program(seen)
        return seen

    over_loopback = asyncio.run(run())
    in_memory = run_virtual(run)

    assert in_memory == over_loopback
    assert over_loopback
