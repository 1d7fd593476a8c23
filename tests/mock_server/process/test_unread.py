"""
Requests that a worker passes on as they came, and those that it has to read.
"""

import asyncio
import time

import pytest

from mock_server.forwarding import Came, UnreadReader, is_whole

CHAT = b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
SMUGGLED = b"\r\n\r\n0\r\n\r\nGET / HTTP/1.1\r\n\r\n"


def named(data: bytes) -> str:
    """
    Return the end of a request as the name of its case.
    """
    return repr(data[-40:])


@pytest.mark.parametrize(
    "data",
    [
        b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
        CHAT + b"Content-Length: 2\r\n\r\n{}",
        CHAT + b"content-length:   2  \r\nconnection: close\r\n\r\n{}",
        CHAT + b"content-length:8\r\n\r\nab\r\n\r\ncd",
        b"no request at all\r\n\r\n",
    ],
    ids=named,
)
def test_what_comes_in_one_piece_is_passed_on_as_it_came(data: bytes) -> None:
    """
    A head and as many bytes as it announces are a request, whatever else they are.
    """
    assert is_whole(data, 1000)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"GET /v1/models HTTP/1.1\r\nhost: localhost\r\n",
        CHAT + b"content-length: 2\r\n\r\n{",
        CHAT + b"content-length: 2\r\n\r\n{}GET / HTTP/1.1\r\n\r\n",
        CHAT + b"content-length: 2\r\ncontent-length: 2\r\n\r\n{}",
        CHAT + b"content-length: two\r\n\r\n{}",
        CHAT + b"content-length: -2\r\n\r\n{}",
        CHAT + b"content-length: 1001\r\n\r\n" + b"x" * 1001,
        CHAT + b"expect: 100-continue\r\ncontent-length: 2\r\n\r\n{}",
        CHAT + b"transfer-encoding: chunked\r\n\r\n",
        CHAT + b"Transfer-Encoding : chunked\r\ncontent-length: 25" + SMUGGLED,
        CHAT + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n",
        CHAT + b"\r\n" + b"x" * 40_000,
        b"\r\n\r\nGET / HTTP/1.1\r\n\r\n",
    ],
    ids=named,
)
def test_what_has_to_be_read_is_not_passed_on(data: bytes) -> None:
    """
    Less or more than a request, or one that its connection has to know, stays there.
    """
    assert not is_whole(data, 1000)


def came(data: bytes) -> Came:
    """
    Return what a worker passes on.
    """
    return Came(7, data, time.perf_counter(), is_reused=False)


async def test_a_request_is_read_where_it_is_decided() -> None:
    """
    Each is read by itself; one that ends its connection ends no other's.
    """
    reader = UnreadReader(lambda _: None, asyncio.get_running_loop())
    chat = CHAT + b"X-Case: as it was\r\nContent-Length: 2\r\n\r\n{}"
    last = CHAT + b"connection: close\r\ncontent-length: 2\r\n\r\n[]"
    old = b"GET /v1/models HTTP/1.0\r\n\r\n"
    read = [reader.read(came(data)) for data in (chat, last, old, chat)]

    assert [http.keep_alive for http in read if http is not None] == [
        True,
        False,
        False,
        True,
    ]
    http = read[0]
    assert http is not None
    assert (http.number, http.method, http.raw_path) == (
        7,
        "POST",
        "/v1/chat/completions",
    )
    assert http.headers["x-case"] == "as it was"
    assert (http.data, http.content.read_nowait()) == (chat, b"{}")
    whole = http.for_aiohttp()
    assert (whole.path, whole.asked) == ("/v1/chat/completions", http.asked)


@pytest.mark.parametrize(
    "data",
    [
        b"no request at all\r\n\r\n",
        CHAT + b"bad header\r\n\r\n",
        CHAT + b"content-length : 2\r\n\r\n",
        CHAT + b"x: y\ncontent-length: 2\r\n\r\n",
        CHAT + b"content-length: 5\r\n\r\n{}",
        CHAT + b"content-length: 2\r\n\r\n{}GET / HTTP/1.1\r\n\r\n",
        CHAT + b"content-length: 2\r\n\r\n{}GET /",
        CHAT + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\nGET /",
        CHAT + b"connection: upgrade\r\nupgrade: websocket\r\n\r\n",
        b"CONNECT localhost:1 HTTP/1.1\r\n\r\n",
    ],
    ids=named,
)
async def test_what_is_no_single_request_is_returned(data: bytes) -> None:
    """
    It is left to who holds its connection, and nothing of it is left here.
    """
    reader = UnreadReader(lambda _: None, asyncio.get_running_loop())

    assert reader.read(came(data)) is None
    http = reader.read(came(CHAT + b"content-length: 2\r\n\r\n{}"))
    assert http is not None
    assert http.content.read_nowait() == b"{}"
