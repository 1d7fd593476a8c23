"""
An event loop whose clock jumps.

Time stands still while anything can run and jumps to the next timer when nothing
can, so an hour of waiting costs nothing and its length is exact. Everything that
happens follows from the program and the seed.

What this loop needs of asyncio's private parts is in this file, and nowhere else.
"""

import asyncio
import collections
import contextvars
import heapq
import itertools
import socket
import threading
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any, Final, NoReturn, TypeVar, TypeVarTuple, Unpack

from harness.errors import DeadlockError, EscapeError, StepLimitError
from harness.randomness import Randomness
from harness.simulation.leaks import contained
from harness.simulation.life import life_of
from harness.simulation.links import LinkOptions
from harness.simulation.listeners import ProtocolFactory, SimServer
from harness.simulation.network import Network
from harness.simulation.waiting import describe_waiting

START_S: Final = 1_000.0
"""Where the clock starts: small, so that a microsecond is exact for years."""

WALL_EPOCH_S: Final = 1_700_000_000.0
"""Wall time is this plus the loop's time."""

STEPS_MAX: Final = 10_000_000
"""How often the loop may go round before it says that the program never ends."""

_STEPS_TO_CLEAN_UP: Final = 100_000
_RESOLUTION_S: Final = 1e-9

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class SimTask(asyncio.Task[T]):
    """
    A task that is hashed by its number.

    asyncio keeps tasks in sets, whose order follows the hash; by default that is
    the address, which differs from process to process.
    """

    def __init__(
        self,
        coro: Coroutine[Any, Any, T],
        *,
        number: int,
        loop: asyncio.AbstractEventLoop,
        context: contextvars.Context | None,
    ) -> None:
        # Before anything else: asyncio registers, and so hashes, the task.
        self.number = number
        self.life = life_of(context)
        super().__init__(coro, loop=loop, name=f"task-{number}", context=context)

    def __hash__(self) -> int:
        return self.number

    def describe(self) -> str:
        """
        Say where this task waits, and for what.
        """
        return describe_waiting(self, getattr(self, "_fut_waiter", None))


class _SimTimer(asyncio.TimerHandle):
    """
    A timer that comes after earlier ones set for the same time.
    """

    __slots__ = ("_number",)

    # Declared by asyncio without types.
    _when: float
    _scheduled: bool

    def __init__(
        self,
        when: float,
        callback: Callable[..., object],
        args: Sequence[Any],
        loop: asyncio.AbstractEventLoop,
        context: contextvars.Context | None,
        number: int,
    ) -> None:
        super().__init__(when, callback, args, loop, context)
        self._number = number

    def __lt__(self, other: "_SimTimer") -> bool:  # type: ignore[override]
        if self._when == other._when:
            return self._number < other._number
        return self._when < other._when

    def mark_scheduled(self) -> None:
        """
        Let a cancellation be counted by the loop.
        """
        self._scheduled = True


class _JumpingSelector:
    """
    Stands where asyncio expects its selector: the only place where time moves.
    """

    def __init__(self, jump: Callable[[], None]) -> None:
        self._jump = jump

    def select(self, _timeout: float | None) -> tuple[()]:
        """
        Report no event; there are no descriptors.
        """
        self._jump()
        return ()


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
        self.bind = loop.network.listeners.bind
        self.bound_address = loop.network.listeners.bound_address
        self.answer = loop.network.names.answer


class SimLoop(asyncio.BaseEventLoop):
    """
    The loop of one simulation.

    Args:
        seed: Decides latencies and everything that libraries draw.
        links: What links are like that nobody described.
        steps_max: How often the loop may go round.

    Attributes:
        randomness: The seed's streams, for whatever belongs to the simulation.
        network: What is bound and connected here.
        steps: How often the loop went round.
    """

    # Declared by asyncio without types.
    _ready: collections.deque[asyncio.Handle]
    _scheduled: list[_SimTimer]
    _stopping: bool

    def __init__(
        self,
        *,
        seed: int = 0,
        links: LinkOptions | None = None,
        steps_max: int = STEPS_MAX,
    ) -> None:
        super().__init__()
        self.randomness = Randomness(seed)
        self.steps = 0
        self._steps_max = steps_max
        self._now_s = START_S
        self._home_thread_id = threading.get_ident()
        self._timer_numbers = itertools.count()
        self._task_numbers = itertools.count(1)
        self._clock_resolution = _RESOLUTION_S
        self._selector = _JumpingSelector(self._jump)
        self.network = Network(
            loop=self, randomness=self.randomness, options=links or LinkOptions()
        )
        self._inside = _Inside(self)
        self.set_task_factory(self._make_task)

    # Time ---------------------------------------------------------------------------

    def time(self) -> float:
        """
        Return the simulation's seconds.
        """
        return self._now_s

    def wall(self) -> float:
        """
        Return the simulation's Unix time.
        """
        return WALL_EPOCH_S + self._now_s

    def call_at(
        self,
        when: float,
        callback: Callable[[Unpack[Ts]], object],
        *args: *Ts,
        context: contextvars.Context | None = None,
    ) -> asyncio.TimerHandle:
        """
        Set a timer; timers for the same time come in the order they were set.
        """
        self._check_closed()  # type: ignore[attr-defined]
        timer = _SimTimer(
            when, callback, args, self, context, next(self._timer_numbers)
        )
        heapq.heappush(self._scheduled, timer)
        timer.mark_scheduled()
        return timer

    def _jump(self) -> None:
        self.steps += 1
        if self.steps > self._steps_max:
            self._steps_max = self.steps + _STEPS_TO_CLEAN_UP
            raise StepLimitError(
                steps_max=self.steps - 1, time_s=self._now_s, waiting=self.waiting()
            )
        if self._ready or self._stopping:
            return
        # asyncio has taken cancelled timers off the front before it selects.
        if not self._scheduled:
            raise DeadlockError(time_s=self._now_s, waiting=self.waiting())
        self._now_s = max(self._now_s, self._scheduled[0].when())

    def _process_events(self, _events: object) -> None:
        """
        Do nothing: the selector reports no event.
        """

    def waiting(self) -> list[str]:
        """
        Say of every unfinished task where it waits, oldest first.
        """
        tasks = [task for task in asyncio.all_tasks(self) if isinstance(task, SimTask)]
        return [task.describe() for task in sorted(tasks, key=lambda task: task.number)]

    # Tasks and threads ------------------------------------------------------------------

    def _make_task(
        self,
        _loop: asyncio.AbstractEventLoop,
        coro: Coroutine[Any, Any, T] | Generator[Any, None, T],
        context: contextvars.Context | None = None,
    ) -> SimTask[T]:
        return SimTask(
            coro,  # type: ignore[arg-type]
            number=next(self._task_numbers),
            loop=self,
            context=context,
        )

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
            _refuse_tls()
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
            _refuse_tls()
        return self.network.listen(
            protocol_factory, host=host, port=port, sock=sock, is_serving=start_serving
        )

    async def sendfile(self, *_arguments: Any, **_options: Any) -> int:
        """
        Say that there is none; callers then read and write.
        """
        message = "no kernel to send files"
        raise NotImplementedError(message)


def _refuse_tls() -> NoReturn:
    raise EscapeError(
        what="TLS",
        instead="its bytes come from the operating system's randomness: use http",
    )
