"""
What the mock costs, beside bare aiohttp doing the same work, in one run.

Servers run as processes of their own and are asked over loopback by a client that does
next to nothing. The figure is the server's CPU time per request: it does not depend on
who else uses the machine's other cores. Rounds of both sides alternate, and the ratio is
the median over the rounds.

    python loadtests/benchmarks/mock.py [--rounds 5] [--requests 2000] [--json FILE]
"""

import argparse
import asyncio
import json
import statistics
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from loadtests.benchmarks.mock_process import TOOL, Server, environment, serving

SERVER = Path(__file__).with_name("mock_servers.py")
CONNECTIONS = 16
RAMP_REQUESTS = 300
_TWO_WORKERS = 0.847
"""One worker's CPU per request over that of two: they may cost 1.18 times as much."""


def body_of(message: str, *, stream: bool = False) -> bytes:
    """
    Return a request of four messages and one tool.
    """
    values: dict[str, Any] = {
        "model": "gpt-4o",
        "messages": [
            {"role": "system", "content": "You are a helpful assistant."},
            {"role": "user", "content": "Hello, who are you?"},
            {"role": "assistant", "content": "I can tell you about the weather."},
            {"role": "user", "content": message},
        ],
        "tools": [TOOL],
        "temperature": 0.7,
    }
    if stream:
        values["stream"] = True
    return orjson.dumps(values)


def request_of(port: int, body: bytes) -> bytes:
    """
    Return a whole HTTP request, as an SDK sends it.
    """
    head = (
        "POST /v1/chat/completions HTTP/1.1\r\n"
        f"Host: 127.0.0.1:{port}\r\n"
        "Accept: application/json\r\n"
        "Content-Type: application/json\r\n"
        "User-Agent: AsyncOpenAI/Python 2.54.0\r\n"
        "Authorization: Bearer sk-benchmark-0123456789\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class Asker(asyncio.Protocol):
    """
    Asks on one connection, one request after the other, as long as there are any.
    """

    def __init__(self, request: bytes, left: list[int], done: asyncio.Event) -> None:
        self._request = request
        self._left = left
        self._done = done
        self._transport: asyncio.Transport | None = None
        self._got = b""

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
        self._got = self._got + data if self._got else data
        if self._is_whole():
            if not self._got.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(self._got[:300])
            self._got = b""
            self._ask()

    def connection_lost(self, error: Exception | None) -> None:
        """
        Say that there is nobody to ask.
        """
        del error
        self._done.set()

    def close(self) -> None:
        """
        Leave.
        """
        if self._transport is not None:
            self._transport.close()

    def _ask(self) -> None:
        if self._left[0] <= 0:
            self._left[1] += 1
            if self._left[1] == CONNECTIONS:
                self._done.set()
            return
        self._left[0] -= 1
        if self._transport is not None:
            self._transport.write(self._request)

    def _is_whole(self) -> bool:
        got = self._got
        end = got.find(b"\r\n\r\n")
        if end < 0:
            return False
        head = got[:end].lower()
        place = head.find(b"content-length:")
        if place < 0:
            return got.endswith(b"0\r\n\r\n")
        length = int(head[place + 15 :].split(b"\r\n", 1)[0])
        return len(got) >= end + 4 + length


async def ask_all(port: int, request: bytes, requests: int) -> None:
    """
    Send so many requests over a few connections.
    """
    loop = asyncio.get_running_loop()
    done = asyncio.Event()
    left = [requests, 0]
    askers = []
    for _ in range(CONNECTIONS):
        _, asker = await loop.create_connection(
            lambda: Asker(request, left, done), "127.0.0.1", port
        )
        askers.append(asker)
    await done.wait()
    for asker in askers:
        asker.close()


def measure_us(server: Server, body: bytes, requests: int) -> float:
    """
    Return the CPU time per request in microseconds.
    """
    request = request_of(server.port, body)
    before_s = server.cpu_s()
    asyncio.run(ask_all(server.port, request, requests))
    return (server.cpu_s() - before_s) / requests * 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """
    One comparison.
    """

    what: str
    at_least: float
    ratio: float
    """How many requests the first serves in the time in which the second serves one."""

    ours_us: float
    theirs_us: float


def compare(
    what: str,
    at_least: float,
    ours: tuple[str, ...],
    theirs: tuple[str, ...],
    bodies: tuple[bytes, bytes],
    *,
    rounds: int,
    requests: int,
) -> Row:
    """
    Measure two servers in turn.
    """
    with serving(*ours) as one, serving(*theirs) as other:
        measure_us(one, bodies[0], RAMP_REQUESTS)
        measure_us(other, bodies[1], RAMP_REQUESTS)
        pairs = [
            (
                measure_us(one, bodies[0], requests),
                measure_us(other, bodies[1], requests),
            )
            for _ in range(rounds)
        ]
    return Row(
        what=what,
        at_least=at_least,
        ratio=statistics.median(b / a for a, b in pairs),
        ours_us=statistics.median(a for a, _ in pairs),
        theirs_us=statistics.median(b for _, b in pairs),
    )


def first_byte_cpu_s() -> float:
    """
    Return the CPU time after which the mock accepts requests.
    """
    with serving("-m", "mock_server", "--port", "0") as server:
        return server.cpu_s()


def main() -> None:
    """
    Measure and print.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--json", type=Path)
    given = parser.parse_args()
    rounds, requests = given.rounds, given.requests
    server = str(SERVER)
    ten = body_of("the question of rule 9, please")
    many = body_of("the question of rule 9999, please")
    streamed = body_of("the question of rule 9, please", stream=True)
    mock10, mock10k = (server, "mock", "10"), (server, "mock", "10000")
    mock2 = (server, "mock", "10", "0", "2")
    print(json.dumps(environment(), indent=2))
    rows = []
    for what, at_least, ours, theirs, bodies, share in (
        (
            "chat completion : bare aiohttp",
            0.8,
            mock10,
            (server, "bare"),
            (ten, ten),
            1,
        ),
        ("10,000 rules : 10 rules", 0.75, mock10k, mock10, (many, ten), 1),
        ("one worker : two workers", _TWO_WORKERS, mock2, mock10, (ten, ten), 1),
        (
            "stream of 100 chunks : bare aiohttp",
            0.7,
            (server, "mock", "10", "100"),
            (server, "bare", "100"),
            (streamed, streamed),
            8,
        ),
    ):
        row = compare(
            what,
            at_least,
            ours,
            theirs,
            bodies,
            rounds=rounds,
            requests=requests // share,
        )
        rows.append(row)
        print(
            f"{row.what:40} {row.ratio:5.2f} (at least {row.at_least})  "
            f"{row.ours_us:7.0f} us : {row.theirs_us:7.0f} us",
            flush=True,
        )
    ready_s = statistics.median(first_byte_cpu_s() for _ in range(3))
    print(f"{'CPU until the first byte can be served':40} {ready_s:5.2f} s (under 1 s)")
    if given.json is not None:
        result = {
            "environment": environment(),
            "rows": [asdict(row) for row in rows],
            "first_byte_cpu_s": ready_s,
        }
        given.json.write_text(json.dumps(result, indent=2), encoding="utf-8")


if __name__ == "__main__":
    main()
