"""
What the mock holds after many requests, beside what it held after a few.

Every request is a conversation and a trace of its own, so that nothing is said twice.
The mock is asked the first ten thousand, and then all the others. Its memory may not
have grown by more than the share that is printed; what it holds, and what each limit
kept out, it says itself. ``--all`` asks for more than chats: streams, stored responses,
tools under their own keys, refusals. Of each there are fewer then, so that the limits
are reached later, and it is measured from there.

    python loadtests/benchmarks/mock_memory.py [--requests 1000000] [--all] [--json FILE]
"""

import argparse
import asyncio
import json
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import psutil

from loadtests.benchmarks.mock_process import TOOL, environment, serving

FIRST, FIRST_OF_ALL = 10_000, 100_000
MARKS = 10
CONNECTIONS = 16
GROWTH_MAX = 1.10
"""So many times what it took after the first requests it may take after all."""


def body_of(number: int, *, is_chat: bool) -> tuple[str, dict[str, Any]]:
    """
    Return a path and what is asked there.
    """
    message = {"role": "user", "content": f"What is question {number} about?"}
    match 9 if is_chat else number % 10:
        case 0 | 1:
            return "/v1/responses", {"model": "gpt-4o", "input": f"Question {number}"}
        case 2:
            return "/tools/get_weather", {"city": f"City {number}"}
        case 3:
            return "/v1/chat/completions", {"model": "gpt-4o", "messages": number}
        case 4 | 5:
            values = {"model": "gpt-4o", "messages": [message], "stream": True}
            return "/v1/chat/completions", values
        case _:
            values = {"model": "gpt-4o", "messages": [message], "tools": [TOOL]}
            return "/v1/chat/completions", values


def request_of(number: int, *, is_chat: bool) -> bytes:
    """
    Return a whole HTTP request.
    """
    path, values = body_of(number, is_chat=is_chat)
    body = orjson.dumps(values)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        "Authorization: Bearer sk-memory-0123456789\r\n"
        f"Idempotency-Key: key-{number}\r\n"
        f"traceparent: 00-{number + 1:032x}-{1:016x}-01\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Asker(asyncio.Protocol):
    """
    Asks on one connection, one request after the other.
    """

    def __init__(self, next_request: Callable[[], bytes | None]) -> None:
        self._next_request = next_request
        self._transport: asyncio.Transport | None = None
        self._got = b""
        self.done = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """
        Ask for the first time.
        """
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the types
        self._transport = transport
        self._ask()

    def data_received(self, data: bytes) -> None:
        """
        Ask again once the answer is whole.
        """
        self._got += data
        end = self._got.find(b"\r\n\r\n")
        if end < 0:
            return
        place = self._got.find(b"content-length: ", 0, end)
        if place >= 0:
            length = int(self._got[place + 16 : self._got.find(b"\r", place)])
            is_whole = len(self._got) >= end + 4 + length
        else:
            is_whole = self._got.endswith(b"0\r\n\r\n")
        if is_whole:
            self._got = b""
            self._ask()

    def connection_lost(self, exc: Exception | None) -> None:
        """
        Be done.
        """
        del exc
        self.done.set()

    def _ask(self) -> None:
        request = self._next_request()
        if self._transport is None:
            return
        if request is None:
            self._transport.close()
        else:
            self._transport.write(request)


async def ask(port: int, numbers: range, *, is_chat: bool) -> None:
    """
    Send the requests of these numbers over a few connections.
    """
    loop = asyncio.get_running_loop()
    left = iter(numbers)

    def next_request() -> bytes | None:
        number = next(left, None)
        return None if number is None else request_of(number, is_chat=is_chat)

    askers = [
        (await loop.create_connection(lambda: Asker(next_request), "127.0.0.1", port))[
            1
        ]
        for _ in range(CONNECTIONS)
    ]
    for asker in askers:
        await asker.done.wait()


def health_of(port: int) -> dict[str, Any]:
    """
    Return what the mock says of itself.
    """
    url = f"http://127.0.0.1:{port}/_mock/health"
    with urllib.request.urlopen(url, timeout=60) as response:
        health: dict[str, Any] = json.loads(response.read())
    return health


def main() -> int:
    """
    Measure, print, and say by the exit code whether it grew.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--all", action="store_true", help="not only chats")
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    print(json.dumps(environment(), indent=2))
    first = FIRST_OF_ALL if given.all else FIRST
    step = max(1, (given.requests - first) // MARKS)
    marks = [first, *range(first + step, given.requests + 1, step)]
    taken: list[tuple[int, int]] = []
    with serving("-m", "mock_server", "--port", "0") as server:
        done = 0
        for mark in marks:
            numbers = range(done, mark)
            asyncio.run(ask(server.port, numbers, is_chat=not given.all))
            done = mark
            memory = psutil.Process(server.process.pid).memory_info().rss
            taken.append((mark, memory))
            print(f"{mark:>9} requests  {memory / 2**20:7.1f} MiB", flush=True)
        health = health_of(server.port)
    growth = taken[-1][1] / taken[0][1]
    print(
        json.dumps({"holds": health["holds"], "dropped": health["dropped"]}, indent=2)
    )
    print(f"grew to {growth:.2f} times (at most {GROWTH_MAX})")
    if given.json is not None:
        result = {"environment": environment(), "rss": taken, "health": health}
        given.json.write_text(json.dumps(result, indent=2), encoding="utf-8")
    return 0 if growth <= GROWTH_MAX else 1


if __name__ == "__main__":
    sys.exit(main())
