"""
The event loop of one simulation.

Time stands still while anything can run and jumps to the next timer when nothing
can, so an hour of waiting costs nothing and its length is exact. Connections are
made in memory. Everything that happens follows from the program and the seed.
"""

import asyncio
import contextvars
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, Self, TypeVar, TypeVarTuple, Unpack

from harness.errors import EscapeError
from harness.randomness import Randomness
from harness.simulation.jumping import STEPS_MAX, JumpingLoop
from harness.simulation.leaks import contained
from harness.simulation.life import Life
from harness.simulation.links import LinkOptions
from harness.simulation.listeners import ProtocolFactory, SimServer
from harness.simulation.network import Network
from harness.simulation.refusals import check_process, refuse_real_methods, refuse_tls

WALL_EPOCH_S: Final = 1_700_000_000.0
"""Wall time is this plus the loop's time."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class _Inside:
    """
    Where the doors of the process lead while the loop runs.
    """

    def __init__(self, loop: "SimLoop") -> None:
        randomness = loop.randomness
        self.random_state: object = randomness.stream("global").getstate()
        self.time = loop.time
        self.wall = loop.wall
        self.urandom = randomness.stream("urandom").randbytes
        self.next_number = loop.next_number
        self.bind = loop.network.listeners.bind
        self.bound_address = loop.network.listeners.bound_address
        self.answer = loop.network.names.answer


@refuse_real_methods
class SimLoop(JumpingLoop):
    """
    The loop of one simulation.

    Args:
        seed: Decides latencies and everything that libraries draw.
        links: What links are like that nobody described.
        steps_max: How often the loop may go round.

    Attributes:
        randomness: The seed's streams, for whatever belongs to the simulation.
        network: What is bound and connected here.
    """

    def __new__(cls, **_options: Any) -> Self:
        """
        Look at the process before there is a loop that must be closed.
        """
        check_process()
        return super().__new__(cls)

    def __init__(
        self,
        *,
        seed: int = 0,
        links: LinkOptions | None = None,
        steps_max: int = STEPS_MAX,
    ) -> None:
        super().__init__(steps_max=steps_max)
        self.randomness = Randomness(seed)
        self.network = Network(
            loop=self, randomness=self.randomness, options=links or LinkOptions()
        )
        self._home_thread_id = threading.get_ident()
        self._inside = _Inside(self)

    def wall(self) -> float:
        """
        Return the simulation's Unix time.
        """
        return WALL_EPOCH_S + self._now_s

    def end_life(self, life: Life, *, silently: bool) -> None:
        """
        Let a host die in the middle of whatever it does.

        Args:
            life: The life that ends.
            silently: Whether the other ends of its connections notice nothing.
        """
        life.is_alive = False
        self.bury(life)
        self.network.cut_off(life, silently=silently)

    def run_forever(self) -> None:
        """
        Run until :meth:`stop`, with the real world kept out.
        """
        with contained(self._inside):
            super().run_forever()

    def call_soon_threadsafe(
        self,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.Handle:
        """
        Call soon, if asked from the loop's own thread.

        Raises:
            EscapeError: Another thread asks.
        """
        if threading.get_ident() != self._home_thread_id:
            raise EscapeError(
                what="call_soon_threadsafe() from another thread",
                instead="no seed decides when a thread calls: use tasks",
            )
        return self.call_soon(callback, *args, context=context)

    def run_in_executor(
        self, _executor: object, func: Callable[[Unpack[Ts]], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """
        Run a function at once, in this thread, and return its result as a future.
        """
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - handed over to whoever awaits
            future.set_exception(error)
        return future

    # Network ----------------------------------------------------------------------------

    async def getaddrinfo(  # type: ignore[override]
        self,
        host: str | bytes | None,
        port: int | str | None,
        *,
        family: int = 0,
        **_hints: int,
    ) -> list[tuple[Any, ...]]:
        """
        Resolve a name within the simulation.
        """
        return self.network.names.answer(host, port, family=family)

    async def getnameinfo(
        self, sockaddr: tuple[Any, ...], flags: int = 0
    ) -> tuple[str, str]:
        """
        Return the address itself: nothing has a reverse name.
        """
        del flags
        return str(sockaddr[0]), str(sockaddr[1])

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """
        Shake hands for a socket that :meth:`create_connection` is given next.
        """
        await self.network.dial_with(sock, address)

    async def create_connection(  # type: ignore[override]
        self,
        protocol_factory: ProtocolFactory,
        host: str | bytes | None = None,
        port: int | None = None,
        *,
        ssl: object = None,
        sock: socket.socket | None = None,
        **_options: object,
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """
        Connect within the simulation.
        """
        if ssl:
            refuse_tls()
        if sock is not None:
            address = self.network.taken_over(sock)
        else:
            [(*_, where)] = self.network.names.answer(host, port)
            address = await self.network.dial(where)
        return self.network.connect(protocol_factory, address)

    async def create_server(  # type: ignore[override]
        self,
        protocol_factory: ProtocolFactory,
        host: str | Sequence[str] | None = None,
        port: int | None = None,
        *,
        ssl: object = None,
        sock: socket.socket | None = None,
        start_serving: bool = True,
        **_options: object,
    ) -> SimServer:
        """
        Listen within the simulation.
        """
        if ssl:
            refuse_tls()
        return self.network.listen(
            protocol_factory, host=host, port=port, sock=sock, is_serving=start_serving
        )

    async def sendfile(self, *_arguments: Any, **_options: Any) -> int:
        """
        Say that there is none; callers then read and write.
        """
        message = "no kernel to send files"
        raise NotImplementedError(message)
