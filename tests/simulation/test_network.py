"""
The network: what bytes and connections do on their way.
"""

import asyncio
import errno
import socket
import struct
from asyncio import StreamReader as Reader
from asyncio import StreamWriter as Writer
from collections.abc import Awaitable, Callable

import pytest

from harness.clock import Clock
from harness.errors import OptionsError
from harness.simulation import (
    CONNECT_TIMEOUT_S,
    Kind,
    LinkOptions,
    Segment,
    SimLoop,
    run_virtual,
)

Handler = Callable[[Reader, Writer], Awaitable[None]]
Connect = Callable[[], Awaitable[tuple[Reader, Writer]]]
Serve = Callable[[Handler], Awaitable[Connect]]

LINGER_0 = struct.pack("ii", 1, 0)
JITTERY = LinkOptions(latency_min_s=0.001, latency_max_s=0.5)


async def echo(reader: Reader, writer: Writer) -> None:
    """
    Send back what comes, until the end.
    """
    while data := await reader.read(65_536):
        writer.write(data)
    writer.close()


async def test_latency_is_that_of_the_link(serve: Serve, virtual_time: SimLoop) -> None:
    """
    A round trip takes the latency of both directions, and a handshake another one.
    """
    link = virtual_time.network.link("outside", "outside")
    link.options = LinkOptions(latency_min_s=0.25, latency_max_s=0.25)
    connect = await serve(echo)
    started_s = virtual_time.time()

    reader, writer = await connect()
    connected_s = virtual_time.time()
    writer.write(b"hello")
    answer = await reader.readexactly(5)

    assert answer == b"hello"
    assert connected_s - started_s == 0.5
    assert virtual_time.time() - connected_s == 0.5
    writer.close()


async def test_order_is_kept_under_jitter(serve: Serve, virtual_time: SimLoop) -> None:
    """
    However latencies are drawn, segments of one direction never overtake another.
    """
    virtual_time.network.link("outside", "outside").options = JITTERY
    connect = await serve(echo)
    reader, writer = await connect()
    sent = [f"{number:04}".encode() for number in range(200)]

    for piece in sent:
        writer.write(piece)
    received = await reader.readexactly(4 * len(sent))

    assert received == b"".join(sent)
    writer.close()


def test_traffic_elsewhere_moves_no_draw() -> None:
    """
    The latencies of a connection do not depend on what another address exchanges.
    """

    async def arrivals(other_connections: int) -> list[float]:
        loop = asyncio.get_running_loop()
        times_s: list[float] = []
        ended = asyncio.Event()

        async def note(reader: Reader, writer: Writer) -> None:
            while await reader.read(65_536):
                times_s.append(loop.time())
            writer.close()
            ended.set()

        await asyncio.start_server(note, "127.0.0.1", 8_000)
        await asyncio.start_server(echo, "127.0.0.1", 8_001)
        for _other in range(other_connections):
            other_reader, other = await asyncio.open_connection("127.0.0.1", 8_001)
            other.write(b"other")
            other.write_eof()
            await other_reader.read()
            other.close()
        began_s = loop.time()
        _, writer = await asyncio.open_connection("127.0.0.1", 8_000)
        for _piece in range(5):
            writer.write(b"x")
        writer.close()
        await ended.wait()
        return [round(time_s - began_s, 9) for time_s in times_s]

    alone = run_virtual(lambda: arrivals(0), seed=3, links=JITTERY)
    among_others = run_virtual(lambda: arrivals(4), seed=3, links=JITTERY)

    assert alone == among_others


async def test_slow_reader_pauses_the_writer(
    serve: Serve, virtual_time: SimLoop, clock: Clock
) -> None:
    """
    Draining returns only once the other side has read enough.
    """
    virtual_time.network.link("outside", "outside").options = LinkOptions(
        window_bytes=10_000
    )

    async def read_late(reader: Reader, writer: Writer) -> None:
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        await clock.sleep(60)
        reader._transport.resume_reading()  # type: ignore[attr-defined]
        while await reader.read(65_536):
            pass
        writer.close()

    connect = await serve(read_late)
    _, writer = await connect()
    started_s = clock.monotonic()

    writer.write(b"x" * 200_000)
    waiting_bytes = writer.transport.get_write_buffer_size()
    await writer.drain()

    assert waiting_bytes == 190_000
    assert clock.monotonic() - started_s == 60.0
    writer.close()


async def test_half_close_leaves_the_other_direction_open(serve: Serve) -> None:
    """
    After an end of writing the other side can still answer.
    """

    async def answer_at_the_end(reader: Reader, writer: Writer) -> None:
        question = await reader.read()
        writer.write(question.upper())
        writer.close()

    connect = await serve(answer_at_the_end)
    reader, writer = await connect()

    writer.write(b"question")
    writer.write_eof()
    answer = await reader.read()

    assert answer == b"QUESTION"
    writer.close()


async def test_close_flushes_before_it_ends(serve: Serve) -> None:
    """
    Everything written before a close arrives, and then the end.
    """

    async def tell(_reader: Reader, writer: Writer) -> None:
        writer.write(b"x" * 1_000_000)
        writer.close()

    connect = await serve(tell)
    reader, writer = await connect()

    received = await reader.read()

    assert len(received) == 1_000_000
    writer.close()


@pytest.mark.parametrize(
    ("linger", "unread"), [(None, b""), (LINGER_0, b""), (None, b"x")]
)
async def test_abort_is_an_end_or_a_reset(
    serve: Serve, clock: Clock, linger: bytes | None, unread: bytes
) -> None:
    """
    An abort sends FIN, but RST where SO_LINGER is 0 or bytes were left unread.
    """

    async def leave(_reader: Reader, writer: Writer) -> None:
        writer.transport.pause_reading()  # type: ignore[attr-defined]
        await clock.sleep(1)
        if linger:
            sock = writer.get_extra_info("socket")
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        writer.transport.abort()

    connect = await serve(leave)
    reader, writer = await connect()
    await clock.sleep(0.5)
    writer.write(unread)

    if linger or unread:
        with pytest.raises(ConnectionResetError) as caught:
            await reader.read()
        assert caught.value.errno == errno.ECONNRESET
    else:
        assert await reader.read() == b""
    writer.close()


async def test_bytes_for_a_closed_end_break_the_pipe(
    serve: Serve, clock: Clock
) -> None:
    """
    Who goes on writing to an end that is gone finds the pipe broken.
    """

    async def leave(_reader: Reader, writer: Writer) -> None:
        writer.close()

    connect = await serve(leave)
    reader, writer = await connect()
    await reader.read()

    for _attempt in range(2):
        writer.write(b"anybody there?")
        await clock.sleep(1)

    with pytest.raises(BrokenPipeError):
        await writer.drain()


async def test_stalled_link_holds_bytes_back_in_order(
    serve: Serve, virtual_time: SimLoop, clock: Clock
) -> None:
    """
    What is sent while a link is stalled arrives when it is open again, in order.
    """
    connect = await serve(echo)
    reader, writer = await connect()
    link = virtual_time.network.link("outside", "outside")

    link.stall()
    writer.write(b"one ")
    writer.write(b"two")
    virtual_time.call_later(30, link.open)
    started_s = clock.monotonic()
    answer = await reader.readexactly(7)

    assert answer == b"one two"
    assert clock.monotonic() - started_s == 30.0
    writer.close()


async def test_severed_link_leaves_connections_half_open(
    serve: Serve, virtual_time: SimLoop, clock: Clock
) -> None:
    """
    A connection that lost bytes stays silent for ever; later connections are well.
    """
    connect = await serve(echo)
    reader, writer = await connect()
    link = virtual_time.network.link("outside", "outside")

    link.sever()
    writer.write(b"lost")
    link.open()
    writer.write(b"late")
    with pytest.raises(TimeoutError):
        async with clock.timeout(3600):
            await reader.read(1)
    other_reader, other_writer = await connect()
    other_writer.write(b"well")

    assert await other_reader.readexactly(4) == b"well"
    other_writer.close()
    writer.close()


async def test_connecting_over_a_severed_link_times_out(
    serve: Serve, virtual_time: SimLoop, clock: Clock
) -> None:
    """
    A handshake that gets no answer ends with ETIMEDOUT after the kernel's patience.
    """
    connect = await serve(echo)
    virtual_time.network.link("outside", "outside").sever()
    started_s = clock.monotonic()

    with pytest.raises(TimeoutError) as caught:
        await connect()

    assert caught.value.errno == errno.ETIMEDOUT
    assert clock.monotonic() - started_s == CONNECT_TIMEOUT_S


async def test_writes_are_cut_into_drawn_pieces(
    serve: Serve, virtual_time: SimLoop
) -> None:
    """
    A link that fragments cuts a write into pieces between its two bounds.
    """
    virtual_time.network.link("outside", "outside").options = LinkOptions(
        segment_bytes_min=1, segment_bytes_max=7
    )
    segments: list[Segment] = []
    virtual_time.network.taps.append(segments.append)
    connect = await serve(echo)
    reader, writer = await connect()

    writer.write(b"a text that is longer than one piece may be" * 10)
    received = await reader.readexactly(430)

    sizes = {
        len(each.data)
        for each in segments
        if each.kind is Kind.DATA and each.connection == 1
    }
    assert received.startswith(b"a text")
    assert sizes <= set(range(1, 8))
    assert len(sizes) > 3
    writer.close()


async def test_addresses(serve: Serve, virtual_time: SimLoop) -> None:
    """
    What is taken, unknown or not listening fails as it does in a real network.
    """
    await serve(echo)
    virtual_time.network.names.add("service.test")

    with pytest.raises(OSError, match="already in use") as taken:
        await serve(echo)
    with pytest.raises(socket.gaierror, match="is called"):
        await asyncio.open_connection("nowhere.test", 8_000)
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", 9)
    _, writer = await asyncio.open_connection("service.test", 8_000)

    assert taken.value.errno == errno.EADDRINUSE
    assert writer.get_extra_info("peername") == ("127.0.0.1", 8_000)
    writer.close()


@pytest.mark.virtual_time
async def test_closed_server_refuses_and_keeps_what_is_open(clock: Clock) -> None:
    """
    A server that is closed refuses newcomers; its open connections go on.
    """
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    await clock.sleep(0)

    server.close()

    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"still here")
    assert await reader.readexactly(10) == b"still here"
    writer.close()
    await clock.sleep(1)


def test_link_options_refuse_nonsense() -> None:
    """
    Options that make no sense are refused together.
    """
    with pytest.raises(OptionsError) as caught:
        LinkOptions(latency_min_s=2, latency_max_s=1, window_bytes=0)

    assert set(caught.value.fields) == {"latency_max_s", "window_bytes"}
