"""
The doors to the machine: chance, threads, processes, sockets.
"""

import asyncio
import os
import random
import socket
import subprocess
import threading
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

from harness.errors import EscapeError
from harness.simulation.doors import Door, inside

_REAL_URANDOM: Final = os.urandom
_REAL_SEED: Final = random.Random.seed
_REAL_START: Final = threading.Thread.start
_REAL_WAIT: Final = threading.Condition.wait
_REAL_POPEN: Final = subprocess.Popen.__init__
_REAL_GETADDRINFO: Final = socket.getaddrinfo
_REAL_AS_COMPLETED: Final = asyncio.as_completed


def _urandom(size: int, /) -> bytes:
    world = inside()
    return _REAL_URANDOM(size) if world is None else world.urandom(size)


def _getaddrinfo(
    host: str | bytes | None,
    port: int | str | None,
    family: int = 0,
    type: int = 0,  # noqa: A002 - the name in the standard library
    proto: int = 0,
    flags: int = 0,
) -> Any:
    world = inside()
    if world is None:
        return _REAL_GETADDRINFO(host, port, family, type, proto, flags)
    return world.answer(host, port, family=family)


def _seed(self: random.Random, a: Any = None, version: int = 2) -> None:
    world = inside()
    if a is None and world is not None:
        # Without a seed C would ask the operating system, past os.urandom.
        a = world.urandom(32)
    _REAL_SEED(self, a, version)


def _start(self: threading.Thread) -> None:
    if inside() is not None:
        raise EscapeError(
            what=f"starting the thread {self.name!r}",
            instead="threads run in an order that no seed decides: use tasks",
        )
    _REAL_START(self)


def _wait(self: threading.Condition, timeout: float | None = None) -> bool:
    if inside() is not None:
        raise EscapeError(
            what="waiting for another thread",
            instead="none runs, so it would hang: use asyncio's own primitives",
        )
    return _REAL_WAIT(self, timeout)


def _popen(self: "subprocess.Popen[Any]", *arguments: Any, **options: Any) -> None:
    if inside() is not None:
        raise EscapeError(
            what="starting a process",
            instead="a real process has a clock of its own: make it a host",
        )
    _REAL_POPEN(self, *arguments, **options)


def _as_completed(fs: Iterable[Awaitable[Any]], *, timeout: float | None = None) -> Any:
    if inside() is not None:
        # It puts what it is given into a set, and coroutines have no number.
        fs = [asyncio.ensure_future(each) for each in fs]  # noqa: TID251 - as it does
    return _REAL_AS_COMPLETED(fs, timeout=timeout)


def _bind(self: socket.socket, address: Any, /) -> None:
    world = inside()
    if world is None or self.type != socket.SOCK_STREAM or isinstance(address, str):
        super(socket.socket, self).bind(address)
    else:
        world.bind(self, address)


def _getsockname(self: socket.socket, /) -> Any:
    world = inside()
    address = None if world is None else world.bound_address(self)
    return super(socket.socket, self).getsockname() if address is None else address


def _shut(method: str) -> Callable[..., Any]:
    def refuse(self: socket.socket, /, *arguments: Any) -> Any:
        if inside() is not None:
            # Whoever made it expects an OSError or a connection, and would leave
            # it open.
            self.close()
            raise EscapeError(
                what=f"socket.{method}()",
                instead="there is no kernel: use streams, transports or aiohttp",
            )
        return getattr(super(socket.socket, self), method)(*arguments)

    return refuse


MACHINE_DOORS: Final[tuple[Door, ...]] = (
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

BOUND_MACHINE: Final[tuple[tuple[Any, Any], ...]] = (
    (_REAL_URANDOM, _urandom),
    (_REAL_GETADDRINFO, _getaddrinfo),
    (_REAL_AS_COMPLETED, _as_completed),
)
"""What modules may have bound by ``from os import urandom`` and the like."""
