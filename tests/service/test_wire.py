"""
What comes over a connection and is no request, or not a whole one.
"""

import asyncio
import json
from typing import Any

import pytest

from harness.clock import LoopClock
from harness.service import Service
from harness.web.connection import HEAD_TIMEOUT_S

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("service")]

_SECRET = b"sk-somebody-elses-secret"
_HOST = b"Host: 127.0.0.1\r\n"


async def ask(*pieces: bytes, port: int = 8000) -> tuple[int, dict[str, Any]]:
    """
    Send bytes and return the status and the body of what is answered.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for piece in pieces:
        writer.write(piece)
        await writer.drain()
    answer = await reader.read()
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"nonsense\r\n\r\n", 400, "bad_request"),
        (b"GET /healthz HTTP/9.9\r\n" + _HOST + b"\r\n", 400, "bad_request"),
        (
            b"POST /chat HTTP/1.1\r\n" + _HOST + b"Content-Length: 2\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n{}",
            400,
            "bad_request",
        ),
        (
            b"GET /healthz HTTP/1.1\r\n" + _HOST + b"X-Long: " + _SECRET * 1000,
            431,
            "head_too_large",
        ),
        (b"GET /" + b"a" * 10_000 + b" HTTP/1.1\r\n", 431, "head_too_large"),
        (
            b"POST /chat HTTP/1.1\r\n" + _HOST + b"Expect: miracles\r\n"
            b"Connection: close\r\nContent-Length: 0\r\n\r\n",
            417,
            "expectation_failed",
        ),
    ],
    ids=["nonsense", "version", "two lengths", "header", "path", "expectation"],
)
async def test_is_refused_in_the_shape_of_all_errors(
    request_bytes: bytes, status: int, code: str
) -> None:
    """
    What is no HTTP gets the one error body, which quotes nothing of what was sent.
    """
    answered, body = await ask(request_bytes)

    assert (answered, body["error"]["code"]) == (status, code)
    assert set(body["error"]) == {"code", "message", "trace_id"}
    assert len(body["error"]["trace_id"]) == 32
    assert _SECRET.decode() not in body["error"]["message"]


async def test_a_head_that_does_not_come_is_not_waited_for(clock: LoopClock) -> None:
    """
    A connection that drips a head, or stays silent in the middle of it, is closed.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", 8000)
    started_s = clock.monotonic()
    writer.write(b"GET /healthz HTTP/1.1\r\n")
    await clock.sleep(HEAD_TIMEOUT_S / 2)
    writer.write(b"X-Slow: ")

    rest = await reader.read()

    assert rest == b""
    assert clock.monotonic() - started_s == pytest.approx(HEAD_TIMEOUT_S, abs=0.1)
    writer.close()


async def test_a_slow_body_and_a_quiet_connection_are_not_slow_heads(
    clock: LoopClock,
) -> None:
    """
    A head in pieces is put together, and a kept connection may be quiet between two.
    """
    reader, writer = await asyncio.open_connection("127.0.0.1", 8000)
    for _ in range(2):
        for piece in (b"GET /healthz HT", b"TP/1.1\r\n", _HOST, b"\r\n"):
            await clock.sleep(HEAD_TIMEOUT_S / 5)
            writer.write(piece)
        head = await reader.readuntil(b"\r\n\r\n")
        body = await reader.readexactly(len(b'{"status":"ok"}'))
        assert head.startswith(b"HTTP/1.1 200")
        assert json.loads(body) == {"status": "ok"}
        await clock.sleep(HEAD_TIMEOUT_S * 2)
    writer.close()


def chat(
    *headers: bytes, version: bytes = b"HTTP/1.1", message: bytes = b"hi"
) -> bytes:
    """
    Return a chat as bytes; its connection is closed behind the answer.
    """
    body = b'{"message": "%b", "user_id": "u"}' % message
    head = [
        b"POST /chat " + version,
        b"Content-Type: application/json",
        b"Content-Length: %d" % len(body),
        b"Connection: close",
        *headers,
    ]
    return b"\r\n".join([*head, b"", body])


@pytest.mark.parametrize(
    ("request_bytes", "url"),
    [
        (chat(b"Prefer: respond-async", b"Host: s.example:81"), "http://s.example:81/"),
        (chat(b"Prefer: respond-async", b"Host: \xff\xfe"), "http://127.0.0.1:8000/"),
        (chat(b"Prefer: respond-async", b"Host: a b"), "http://127.0.0.1:8000/"),
        (
            chat(b"Prefer: respond-async", version=b"HTTP/1.0"),
            "http://127.0.0.1:8000/",
        ),
    ],
    ids=["name", "no text", "no host", "none"],
)
async def test_an_accepted_chat_has_an_address_whatever_the_host(
    request_bytes: bytes, url: str
) -> None:
    """
    Where the caller names no usable host, the status URL has the address it came to.
    """
    status, body = await ask(request_bytes)

    assert status == 202
    assert body["status_url"] == f"{url}callbacks/{body['callback_id']}"


async def test_keys_that_are_no_text_are_told_apart() -> None:
    """
    Two idempotency keys that are no UTF-8 are two keys.
    """
    one, other = b"Idempotency-Key: k\xff", b"Idempotency-Key: k\xfe"

    first = await ask(chat(_HOST.strip(), one, message=b"one"))
    second = await ask(chat(_HOST.strip(), other, message=b"two"))
    again = await ask(chat(_HOST.strip(), one, message=b"one"))
    conflict = await ask(chat(_HOST.strip(), other, message=b"one"))

    assert (first[0], second[0]) == (200, 200)
    assert again == first
    assert (conflict[0], conflict[1]["error"]["code"]) == (422, "idempotency_conflict")


async def test_a_token_that_is_no_text_is_a_wrong_one(
    start: Any, service: Service
) -> None:
    """
    Bytes that are no UTF-8 in the place of the admin token are 401.
    """
    other_dir = f"{service.settings.data_dir}/other"
    async with start(port=8001, data_dir=other_dir, host="0.0.0.0"):  # noqa: S104
        status, body = await ask(
            b"GET /tools HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
            b"Authorization: Bearer \xff\r\n\r\n",
            port=8001,
        )

    assert (status, body["error"]["code"]) == (401, "unauthorized")
