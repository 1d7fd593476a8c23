"""
Whatever comes over a socket is answered or cut off, and nobody else notices.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from harness.clock import Clock
from mock_server import Limits, MockOptions
from mock_server.testing import MockInTest, RawAnswer, mock_in_test

pytestmark = pytest.mark.usefixtures("quiet")

HEAD = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer sk-test\r\n"
CHAT = b'{"model":"gpt-4o","messages":[{"role":"user","content":"hello"}]}'

GARBAGE = {
    "random": bytes(range(256)) * 8,
    "zeros": bytes(100_000),
    "tls": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    "http2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(24),
    "http09": b"GET /\r\n\r\n",
    "version": b"GET / HTTP/9.9\r\nhost: a\r\n\r\n",
    "no method": b" / HTTP/1.1\r\nhost: a\r\n\r\n",
    "long path": b"GET /" + b"a" * 1_000_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
    "long header": b"GET / HTTP/1.1\r\na: " + b"b" * 1_000_000 + b"\r\n\r\n",
    "header flood": b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 100_000 + b"\r\n",
    "many names": b"GET / HTTP/1.1\r\n"
    + b"".join(b"name-%d: b\r\n" % number for number in range(20_000))
    + b"\r\n",
    "nul": HEAD + b"a: \x00b\r\n\r\n",
    "folded": HEAD + b"a: b\r\n c\r\n\r\n",
    "no colon": HEAD + b"nonsense\r\n\r\n",
    "two lengths": HEAD + b"content-length: 1\r\ncontent-length: 2\r\n\r\nab",
    "negative length": HEAD + b"content-length: -1\r\n\r\n",
    "no number": HEAD + b"content-length: many\r\n\r\n",
    "giant length": HEAD + b"content-length: 99999999999999999999999\r\n\r\n",
    "length and chunks": HEAD
    + b"content-length: 4\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    "bad chunk size": HEAD
    + b"transfer-encoding: chunked\r\n\r\nzz\r\nabc\r\n0\r\n\r\n",
    "late bad chunk": HEAD
    + b"transfer-encoding: chunked\r\n\r\n4\r\nabcd\r\nzz\r\n"
    + bytes(100),
    "giant chunk": HEAD + b"transfer-encoding: chunked\r\n\r\n" + b"f" * 400 + b"\r\n",
    "unknown coding": HEAD + b"transfer-encoding: gnip\r\n\r\n",
    "bare line feeds": b"GET / HTTP/1.1\nhost: a\n\n",
    "upgrade": b"GET /v1/models HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"
    + bytes(1000),
    "connect": b"CONNECT a:1 HTTP/1.1\r\nhost: a\r\n\r\n" + bytes(1000),
    "absolute": b"GET http://elsewhere/v1/models HTTP/1.1\r\nhost: elsewhere\r\n\r\n",
    "expectation": HEAD + b"expect: the-unexpected\r\ncontent-length: 2\r\n\r\n{}",
    "gzip": HEAD + b"content-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope",
    "half a head": HEAD + b"content-len",
    "half a body": HEAD + b"content-length: 1000\r\n\r\n{",
}


@asynccontextmanager
async def serving(
    clock: Clock, limits: Limits | None = None
) -> AsyncIterator[MockInTest]:
    """
    Run a mock and check at the end that it answers as it did at the start.
    """
    options = MockOptions(port=0, limits=limits or Limits())
    async with mock_in_test("{}", options, clock=clock) as mock:
        yield mock
        assert (await mock.chat()).status == 200


def is_api_error(answer: RawAnswer) -> bool:
    """
    Say whether an answer is an error in the API's envelope.
    """
    return set(answer.json["error"]) == {"message", "type", "param", "code"}


@pytest.mark.virtual_time
@pytest.mark.parametrize("name", GARBAGE)
async def test_garbage_is_refused_or_cut_off(name: str, clock: Clock) -> None:
    """
    What is no HTTP gets a client's error or the end of the connection.
    """
    async with serving(clock) as mock:
        answer = await mock.send_bytes(GARBAGE[name], wait_s=300)

    assert answer.ending != "still_open"
    assert answer.status is None or answer.status < 500


@pytest.mark.sockets
async def test_garbage_over_real_sockets(clock: Clock) -> None:
    """
    All of it at once, over the kernel's sockets, leaves a mock that serves.
    """
    answers = []

    async def send(mock: MockInTest, garbage: bytes) -> None:
        answers.append(await mock.send_bytes(garbage, wait_s=1))

    async with serving(clock) as mock, asyncio.TaskGroup() as tasks:
        for garbage in [*GARBAGE.values()] * 3:
            tasks.create_task(send(mock, garbage))

    assert len(answers) == 3 * len(GARBAGE)
    assert all(answer.status is None or answer.status < 500 for answer in answers)


@pytest.mark.virtual_time
@pytest.mark.parametrize("is_chunked", [False, True], ids=["sized", "chunked"])
async def test_a_body_over_the_limit_is_413(clock: Clock, *, is_chunked: bool) -> None:
    """
    A body that is too large is refused in the API's form, and the connection closed.
    """
    body = b"x" * 30_000
    framing = (
        b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
        if is_chunked
        else b"content-length: %d\r\n\r\n%b" % (len(body), body)
    )
    async with serving(clock, Limits(request_body_bytes_max=10_000)) as mock:
        answer = await mock.send_bytes(HEAD + framing, wait_s=300)

    assert answer.status == 413
    assert is_api_error(answer)
    assert answer.ending == "closed"


@pytest.mark.virtual_time
async def test_a_slow_body_is_given_up(clock: Clock) -> None:
    """
    A body that does not come is answered 408 after the time it may take.
    """
    async with serving(clock, Limits(request_read_timeout_s=20)) as mock:
        answer = await mock.send_bytes(
            HEAD + b"content-length: 1000\r\n\r\n{", wait_s=300
        )

    assert answer.status == 408
    assert is_api_error(answer)
    assert answer.first_byte_s == pytest.approx(20)


@pytest.mark.virtual_time
async def test_a_dripping_client_is_served_if_it_is_quick_enough(clock: Clock) -> None:
    """
    Byte by byte a request comes whole; meanwhile others are not kept waiting.
    """
    request = (
        HEAD + b"connection: close\r\ncontent-length: %d\r\n\r\n" % len(CHAT) + CHAT
    )
    running_s = []

    async def drip(mock: MockInTest, delay_s: float) -> bytes:
        reader, writer = await asyncio.open_connection(
            mock.running.host, mock.running.port
        )
        for start in range(0, len(request), 5):
            writer.write(request[start : start + 5])
            await clock.sleep(delay_s)
        answer = await reader.read(12)
        writer.close()
        return answer

    async with serving(clock) as mock, asyncio.TaskGroup() as tasks:
        dripping = [tasks.create_task(drip(mock, 0.5)) for _ in range(50)]
        for _ in range(10):
            started_s = clock.monotonic()
            assert (await mock.chat()).status == 200
            running_s.append(clock.monotonic() - started_s)
            await clock.sleep(1)

    assert {task.result() for task in dripping} == {b"HTTP/1.1 200"}
    assert max(running_s) < 0.1


@pytest.mark.virtual_time
async def test_a_client_that_does_not_read_holds_up_nobody(clock: Clock) -> None:
    """
    Answers that are not read wait in their own connections; leaving ends them.
    """
    script = "upstream: {script: [{reply: {text: \"{{ 'many words ' * 20000 }}\"}}]}"
    async with mock_in_test(script, MockOptions(port=0), clock=clock) as mock:
        body = CHAT[:-1] + b',"stream":true}'
        request = HEAD + b"content-length: %d\r\n\r\n" % len(body) + body
        writers = []
        for _ in range(20):
            reader, writer = await asyncio.open_connection(
                mock.running.host, mock.running.port
            )
            reader._transport.pause_reading()  # type: ignore[attr-defined]
            writer.write(request)
            writers.append(writer)
        await clock.sleep(10)
        assert (await mock.send("GET", "/_mock/health")).json["status"] == "ok"
        for writer in writers:
            writer.transport.abort()
        await clock.sleep(1)
        outcomes = [r["outcome"] for r in mock.of("upstream_request_ended")]

    assert outcomes == ["abandoned"] * 20


@pytest.mark.sockets
async def test_thousands_of_idle_connections_leave_room(
    clock: Clock, descriptors: int
) -> None:
    """
    As many connections as the limit allows, silent or half asked, and chats go on.
    """
    connections = min(3000, (descriptors - 400) // 2)

    async with serving(clock) as mock, AsyncExitStack() as stack:
        for number in range(connections):
            _, writer = await asyncio.open_connection(
                mock.running.host, mock.running.port
            )
            stack.callback(writer.close)
            if number % 3:
                writer.write(HEAD + b"content-length: 10\r\n\r\n{"[: number % 40])
        answers = [await mock.chat(stream=bool(number % 2)) for number in range(20)]

    assert connections > 100
    assert {answer.status for answer in answers} == {200}
