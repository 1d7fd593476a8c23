"""
What an HTTP exchange costs in virtual time.

Runs the same aiohttp client and server on two loops: the simulation of the harness, and
the barest loop that does the same without hosts, links, flow control or containment.
Prints the CPU time per exchange of both, and how much faster than real time it went.
"""

import argparse
import asyncio
import collections
import contextvars
import gc
import heapq
import itertools
import platform
import random
import socket
import statistics
import time
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
from aiohttp import web

from harness.simulation import LinkOptions, SimLoop

PORT = 8_000
PAYLOAD = "x" * 2_000
LATENCY_S = (0.0005, 0.002)


# The barest loop -------------------------------------------------------------------------


class BareTimer(asyncio.TimerHandle):
    """
    A timer with a number.
    """

    __slots__ = ("number",)
    number: int

    def __lt__(self, other: Any) -> bool:
        return (self._when, self.number) < (other._when, other.number)  # type: ignore[attr-defined]


class BareTransport(asyncio.Transport):
    """
    An end that knows its peer.
    """

    def __init__(self, loop: "BareLoop") -> None:
        super().__init__({"peername": ("10.0.0.1", 1), "sockname": ("10.0.0.2", 2)})
        self.loop = loop
        self.peer: BareTransport
        self.protocol: Any = None
        self.last_s = 0.0
        self.is_closed = False

    def send(self, data: bytes | None) -> None:
        """
        Deliver after the latency.
        """
        when_s = self.loop.time() + self.loop.latency.uniform(*LATENCY_S)
        self.last_s = max(self.last_s, when_s)
        self.loop.call_at(self.last_s, self.peer.arrive, data)

    def arrive(self, data: bytes | None) -> None:
        """
        Hand over.
        """
        if self.is_closed:
            return
        if data is None:
            self.close()
        else:
            self.protocol.data_received(data)

    def write(self, data: Any) -> None:
        """
        Send.
        """
        if not self.is_closed:
            self.send(bytes(data))

    def close(self) -> None:
        """
        Close both ends.
        """
        if not self.is_closed:
            self.is_closed = True
            self.send(None)
            self.loop.call_soon(self.protocol.connection_lost, None)

    abort = close

    def is_closing(self) -> bool:
        """
        Whether it is closed.
        """
        return self.is_closed

    def set_protocol(self, protocol: Any) -> None:
        """
        Change the protocol.
        """
        self.protocol = protocol

    def pause_reading(self) -> None:
        """
        Go on.
        """

    resume_reading = pause_reading

    def get_write_buffer_size(self) -> int:
        """
        Return 0.
        """
        return 0


class BareLoop(asyncio.BaseEventLoop):
    """
    A clock that jumps, and transports that call each other.
    """

    _ready: collections.deque[asyncio.Handle]
    _scheduled: list[BareTimer]

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.now_s = 1_000.0
        self.numbers = itertools.count()
        self.latency = random.Random(seed)  # noqa: S311 - latencies are no secret
        self.factory: Callable[[], Any] | None = None
        self._selector = self
        self._clock_resolution = 1e-9

    def time(self) -> float:
        """
        Return the jumping clock.
        """
        return self.now_s

    def select(self, _timeout: float | None) -> tuple[()]:
        """
        Jump.
        """
        if not self._ready and self._scheduled:
            self.now_s = max(self.now_s, self._scheduled[0].when())
        return ()

    def _process_events(self, _events: object) -> None:
        pass

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """
        Set a timer.
        """
        timer = BareTimer(when, callback, args, self, context)
        timer.number = next(self.numbers)
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True  # type: ignore[attr-defined]  # noqa: SLF001 - as the real one
        return timer

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """
        Wait for a handshake.
        """
        del sock, address
        await asyncio.sleep(LATENCY_S[0])  # noqa: TID251 - the bare measure

    async def create_server(self, protocol_factory: Any, *_: Any, **__: Any) -> Any:
        """
        Remember who serves.
        """
        self.factory = protocol_factory

    async def create_connection(
        self, protocol_factory: Any, *_: Any, sock: Any = None, **__: Any
    ) -> Any:
        """
        Join two ends.
        """
        sock.close()
        assert self.factory is not None  # noqa: S101 - the server starts first
        near, far = BareTransport(self), BareTransport(self)
        near.peer, far.peer = far, near
        near.protocol, far.protocol = protocol_factory(), self.factory()
        far.protocol.connection_made(far)
        near.protocol.connection_made(near)
        return near, near.protocol


# What is measured --------------------------------------------------------------------------


async def exchange(exchanges: int) -> float:
    """
    Serve and ask, three at a time each second, and return how long it took.
    """

    async def answer(request: web.Request) -> web.Response:
        body = await request.json()
        await asyncio.sleep(0.2)  # noqa: TID251 - both loops alike
        return web.json_response({"number": body["number"], "text": PAYLOAD})

    app = web.Application()
    app.router.add_post("/chat", answer)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    server = runner.server
    await asyncio.get_running_loop().create_server(server, "127.0.0.1", PORT)  # type: ignore[arg-type]
    loop = asyncio.get_running_loop()
    started_s = loop.time()

    async def ask(session: aiohttp.ClientSession, number: int) -> None:
        url = f"http://127.0.0.1:{PORT}/chat"
        async with session.post(url, json={"number": number}) as response:
            await response.read()

    async with aiohttp.ClientSession() as session:
        for number in range(0, exchanges, 3):
            async with asyncio.TaskGroup() as tasks:
                for each in range(number, number + 3):
                    tasks.create_task(ask(session, each))
            await asyncio.sleep(1)  # noqa: TID251 - both loops alike
    return loop.time() - started_s


def measure(
    make_loop: Callable[[], asyncio.AbstractEventLoop],
    main: Callable[[], Coroutine[Any, Any, float]],
) -> tuple[float, float, float]:
    """
    Return CPU seconds, real seconds and simulated seconds of one run.
    """
    gc.collect()
    gc.disable()
    try:
        with asyncio.Runner(loop_factory=make_loop) as runner:
            cpu_s, real_s = time.process_time(), time.perf_counter()
            simulated_s = runner.run(main())
            return (
                time.process_time() - cpu_s,
                time.perf_counter() - real_s,
                simulated_s,
            )
    finally:
        gc.enable()


def main() -> None:
    """
    Print the figures.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--exchanges", type=int, default=3_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    links = LinkOptions(latency_min_s=LATENCY_S[0], latency_max_s=LATENCY_S[1])
    loops: dict[str, Callable[[], asyncio.AbstractEventLoop]] = {
        "harness.simulation": lambda: SimLoop(seed=1, links=links),
        "bare loop": lambda: BareLoop(seed=1),
    }
    costs: dict[str, float] = {}
    print(
        f"Python {platform.python_version()}, aiohttp {aiohttp.__version__}, "
        f"{platform.machine()}, {options.exchanges} exchanges, "
        f"median of {options.rounds}, rounds interleaved"
    )
    runs = {name: [] for name in loops}  # type: dict[str, list[tuple[float, float, float]]]
    for _round in range(options.rounds):
        for name, make_loop in loops.items():
            runs[name].append(measure(make_loop, lambda: exchange(options.exchanges)))
    for name, measured in runs.items():
        cpu_s = statistics.median(cpu for cpu, _, _ in measured)
        real_s = statistics.median(real for _, real, _ in measured)
        costs[name] = cpu_s / options.exchanges
        print(
            f"{name:20} {costs[name] * 1e6:7.0f} µs CPU per exchange, "
            f"{measured[0][2] / real_s:7.0f} times real time"
        )
    ratio = costs["harness.simulation"] / costs["bare loop"]
    print(f"ratio {ratio:.2f}, at most 3")


if __name__ == "__main__":
    main()
