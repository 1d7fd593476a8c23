"""
Keeps the real world out of a simulation while it runs.

Libraries read clocks, draw random bytes, start threads and open sockets by doors of
their own. While a simulated loop runs, those doors lead into the simulation or are
shut, with the reason. Every replacement looks at each call whether it is made by
the simulation's thread: a name that a module bound meanwhile goes on working
outside, and other threads see the real world throughout.
"""

import asyncio
import contextlib
import os
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from types import ModuleType
from typing import Any, Final, Protocol

from harness.errors import EscapeError

_NANOSECONDS: Final = 1_000_000_000

_REAL_SLEEP: Final = time.sleep  # noqa: TID251 - the door that is replaced
_REAL_TIME: Final = time.time  # noqa: TID251 - the door that is replaced
_REAL_TIME_NS: Final = time.time_ns
_REAL_MONOTONIC: Final = time.monotonic  # noqa: TID251 - the door that is replaced
_REAL_MONOTONIC_NS: Final = time.monotonic_ns
_REAL_PERF_COUNTER: Final = time.perf_counter
_REAL_PERF_COUNTER_NS: Final = time.perf_counter_ns
_REAL_URANDOM: Final = os.urandom
_REAL_SEED: Final = random.Random.seed
_REAL_START: Final = threading.Thread.start
_REAL_WAIT: Final = threading.Condition.wait
_REAL_POPEN: Final = subprocess.Popen.__init__
_REAL_GETADDRINFO: Final = socket.getaddrinfo
_REAL_AS_COMPLETED: Final = asyncio.as_completed

_KEEPS_REAL_NAMES: Final = frozenset(
    {
        "_pytest",
        "asyncio",
        "concurrent",
        "coverage",
        "execnet",
        "hypothesis",
        "multiprocessing",
        "pytest",
        "pytest_timeout",
        "queue",
        "selectors",
        "subprocess",
        "threading",
        "xdist",
    }
)
"""Packages that measure the machine, not the simulated world."""


class World(Protocol):
    """
    Where the doors lead to.
    """

    random_state: object
    """State of the global generator of :mod:`random`, kept between two stretches."""

    def time(self) -> float:
        """
        Return monotonic seconds.
        """

    def wall(self) -> float:
        """
        Return Unix time.
        """

    def urandom(self, size: int, /) -> bytes:
        """
        Return random bytes from the seed.
        """

    def bind(self, sock: socket.socket, address: Sequence[Any], /) -> None:
        """
        Give a socket an address that exists in the simulation only.
        """

    def bound_address(self, sock: socket.socket, /) -> tuple[str, int] | None:
        """
        Return what :meth:`bind` gave, if anything.
        """

    def answer(
        self, name: str | bytes | None, port: int | str | None, *, family: int = 0
    ) -> list[tuple[Any, ...]]:
        """
        Answer as ``getaddrinfo`` does.
        """


_world: World | None = None
_thread_id = 0


def _inside() -> World | None:
    return _world if threading.get_ident() == _thread_id else None


# The doors ---------------------------------------------------------------------------


def _sleep(seconds: float, /) -> None:
    if _inside() is not None:
        raise EscapeError(
            what=f"time.sleep({seconds!r})",
            instead="it would stop every host at once: await clock.sleep()",
        )
    _REAL_SLEEP(seconds)


def _time() -> float:
    world = _inside()
    return _REAL_TIME() if world is None else world.wall()


def _time_ns() -> int:
    world = _inside()
    return _REAL_TIME_NS() if world is None else round(world.wall() * _NANOSECONDS)


def _monotonic() -> float:
    world = _inside()
    return _REAL_MONOTONIC() if world is None else world.time()


def _monotonic_ns() -> int:
    world = _inside()
    return _REAL_MONOTONIC_NS() if world is None else round(world.time() * _NANOSECONDS)


def _perf_counter() -> float:
    world = _inside()
    return _REAL_PERF_COUNTER() if world is None else world.time()


def _perf_counter_ns() -> int:
    world = _inside()
    if world is None:
        return _REAL_PERF_COUNTER_NS()
    return round(world.time() * _NANOSECONDS)


def _urandom(size: int, /) -> bytes:
    world = _inside()
    return _REAL_URANDOM(size) if world is None else world.urandom(size)


def _getaddrinfo(
    host: str | bytes | None,
    port: int | str | None,
    family: int = 0,
    type: int = 0,  # noqa: A002 - the name in the standard library
    proto: int = 0,
    flags: int = 0,
) -> Any:
    world = _inside()
    if world is None:
        return _REAL_GETADDRINFO(host, port, family, type, proto, flags)
    return world.answer(host, port, family=family)


def _seed(self: random.Random, a: Any = None, version: int = 2) -> None:
    world = _inside()
    if a is None and world is not None:
        # Without a seed C would ask the operating system, past os.urandom.
        a = world.urandom(32)
    _REAL_SEED(self, a, version)


def _start(self: threading.Thread) -> None:
    if _inside() is not None:
        raise EscapeError(
            what=f"starting the thread {self.name!r}",
            instead="threads run in an order that no seed decides: use tasks",
        )
    _REAL_START(self)


def _wait(self: threading.Condition, timeout: float | None = None) -> bool:
    if _inside() is not None:
        raise EscapeError(
            what="waiting for another thread",
            instead="none runs, so it would hang: use asyncio's own primitives",
        )
    return _REAL_WAIT(self, timeout)


def _popen(self: "subprocess.Popen[Any]", *arguments: Any, **options: Any) -> None:
    if _inside() is not None:
        raise EscapeError(
            what="starting a process",
            instead="a real process has a clock of its own: make it a host",
        )
    _REAL_POPEN(self, *arguments, **options)


def _as_completed(
    fs: Iterable[Awaitable[Any]], *, timeout: float | None = None
) -> Iterator[Any]:
    if _inside() is not None:
        # It puts what it is given into a set, and coroutines have no number.
        fs = [asyncio.ensure_future(each) for each in fs]  # noqa: TID251 - as it does
    return _REAL_AS_COMPLETED(fs, timeout=timeout)


def _bind(self: socket.socket, address: Any, /) -> None:
    world = _inside()
    if world is None or self.type != socket.SOCK_STREAM or isinstance(address, str):
        super(socket.socket, self).bind(address)
    else:
        world.bind(self, address)


def _getsockname(self: socket.socket, /) -> Any:
    world = _inside()
    address = None if world is None else world.bound_address(self)
    return super(socket.socket, self).getsockname() if address is None else address


def _shut(method: str) -> Callable[..., Any]:
    def refuse(self: socket.socket, /, *arguments: Any) -> Any:
        if _inside() is not None:
            # Whoever made it expects an OSError or a connection, and would leave
            # it open.
            self.close()
            raise EscapeError(
                what=f"socket.{method}()",
                instead="there is no kernel: use streams, transports or aiohttp",
            )
        return getattr(super(socket.socket, self), method)(*arguments)

    return refuse


_DOORS: Final[tuple[tuple[object, str, Any], ...]] = (
    (time, "sleep", _sleep),
    (time, "time", _time),
    (time, "time_ns", _time_ns),
    (time, "monotonic", _monotonic),
    (time, "monotonic_ns", _monotonic_ns),
    (time, "perf_counter", _perf_counter),
    (time, "perf_counter_ns", _perf_counter_ns),
    (os, "urandom", _urandom),
    (random.Random, "seed", _seed),
    (threading.Thread, "start", _start),
    (threading.Condition, "wait", _wait),
    (subprocess.Popen, "__init__", _popen),
    (asyncio, "as_completed", _as_completed),
    (socket, "getaddrinfo", _getaddrinfo),
    (socket.socket, "bind", _bind),
    (socket.socket, "getsockname", _getsockname),
    (socket.socket, "connect", _shut("connect")),
    (socket.socket, "connect_ex", _shut("connect_ex")),
    (socket.socket, "recv", _shut("recv")),
    (socket.socket, "send", _shut("send")),
    (socket.socket, "sendall", _shut("sendall")),
)
"""Owner, name, replacement."""

_BY_REAL: Final[dict[int, tuple[Any, Any]]] = {
    id(real): (real, replacement)
    for real, replacement in (
        (_REAL_SLEEP, _sleep),
        (_REAL_TIME, _time),
        (_REAL_TIME_NS, _time_ns),
        (_REAL_MONOTONIC, _monotonic),
        (_REAL_MONOTONIC_NS, _monotonic_ns),
        (_REAL_PERF_COUNTER, _perf_counter),
        (_REAL_PERF_COUNTER_NS, _perf_counter_ns),
        (_REAL_URANDOM, _urandom),
        (_REAL_GETADDRINFO, _getaddrinfo),
        (_REAL_AS_COMPLETED, _as_completed),
    )
}
"""What modules may have bound by ``from time import monotonic`` and the like."""


class _BoundNames:
    """
    Names in imported modules that are bound to a door; each module is read once.
    """

    def __init__(self) -> None:
        self._read: set[str] = set()
        self._found: list[tuple[object, str, Any]] = []

    def find(self) -> list[tuple[object, str, Any]]:
        """
        Return module, name and replacement of every such name.
        """
        for name, module in list(sys.modules.items()):
            if name not in self._read and isinstance(module, ModuleType):
                self._read.add(name)
                is_owner = name in {time.__name__, os.__name__, __name__}
                if not is_owner and name.partition(".")[0] not in _KEEPS_REAL_NAMES:
                    self._read_module(module)
        return self._found

    def _read_module(self, module: ModuleType) -> None:
        for name, value in list(vars(module).items()):
            door = _BY_REAL.get(id(value))
            if door is not None and door[0] is value:
                self._found.append((module, name, door[1]))


_bound_names = _BoundNames()


@contextlib.contextmanager
def contained(world: World) -> Iterator[None]:
    """
    Lead every door into ``world`` while inside.

    Raises:
        EscapeError: Another simulation runs in this process.
    """
    global _world, _thread_id
    if _world is not None:
        raise EscapeError(
            what="a second simulation at the same time",
            instead="the doors are the process's own: run it afterwards, or in a process of its own",
        )
    with contextlib.ExitStack() as restore:
        for owner, name, replacement in [*_DOORS, *_bound_names.find()]:
            _replace(owner, name, replacement, restore)
        _forget_date()
        restore.callback(_forget_date)
        outer_state = random.getstate()
        random.setstate(world.random_state)  # type: ignore[arg-type]
        _world, _thread_id = world, threading.get_ident()
        try:
            yield
        finally:
            _world, _thread_id = None, 0
            world.random_state = random.getstate()
            random.setstate(outer_state)


def _replace(
    owner: object, name: str, replacement: Any, restore: contextlib.ExitStack
) -> None:
    if name in vars(owner):
        restore.callback(setattr, owner, name, vars(owner)[name])
    else:
        restore.callback(delattr, owner, name)
    setattr(owner, name, replacement)


def _forget_date() -> None:
    # aiohttp keeps the Date header of the last second in its module.
    helpers = sys.modules.get("aiohttp.helpers")
    if helpers is not None:
        helpers._cached_current_datetime = None  # type: ignore[attr-defined]  # noqa: SLF001 - there is no other door
