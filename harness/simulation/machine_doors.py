"""
The doors to the machine: chance, threads, processes, sockets.
"""

import asyncio
import os
import random
import socket
import subprocess
import threading
import uuid
from collections.abc import Awaitable, Iterable
from typing import Any, Final

from harness.errors import EscapeError
from harness.simulation.doors import Door, inside

_REAL_URANDOM: Final = os.urandom
_REAL_SEED: Final = random.Random.seed
_REAL_START: Final = threading.Thread.start
_REAL_WAIT: Final = threading.Condition.wait
_REAL_POPEN: Final = subprocess.Popen.__init__
_REAL_GETADDRINFO: Final = socket.getaddrinfo
_REAL_GETHOSTBYNAME: Final = socket.gethostbyname
_REAL_GETHOSTBYNAME_EX: Final = socket.gethostbyname_ex
_REAL_GETHOSTBYADDR: Final = socket.gethostbyaddr
_REAL_AS_COMPLETED: Final = asyncio.as_completed
_REAL_UUID1: Final = uuid.uuid1

_UUID_EPOCH_100NS: Final = 0x01B21DD213814000
"""Where the time in a UUID begins, before Unix time does."""


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


def _gethostbyname(host: str, /) -> str:
    world = inside()
    if world is None:
        return _REAL_GETHOSTBYNAME(host)
    [(*_, (address, *_))] = world.answer(host, None)
    return str(address)


def _gethostbyname_ex(host: str, /) -> tuple[str, list[str], list[str]]:
    if inside() is None:
        return _REAL_GETHOSTBYNAME_EX(host)
    return host, [], [_gethostbyname(host)]


def _gethostbyaddr(address: str, /) -> tuple[str, list[str], list[str]]:
    if inside() is None:
        return _REAL_GETHOSTBYADDR(address)
    # Nothing in the simulation has a reverse name.
    return address, [], [_gethostbyname(address)]


def _uuid1(node: int | None = None, clock_seq: int | None = None) -> uuid.UUID:
    world = inside()
    if world is None:
        return _REAL_UUID1(node, clock_seq)
    # The real one asks a C library for the time, and keeps the last in its module.
    drawn = int.from_bytes(world.urandom(8))
    node = drawn >> 16 | 1 << 40 if node is None else node
    clock_seq = drawn & 0x3FFF if clock_seq is None else clock_seq
    ticks = round(world.wall() * 10_000_000) + _UUID_EPOCH_100NS
    fields = (
        ticks & 0xFFFFFFFF,
        ticks >> 32 & 0xFFFF,
        ticks >> 48 & 0x0FFF,
        clock_seq >> 8 & 0x3F,
        clock_seq & 0xFF,
        node,
    )
    return uuid.UUID(fields=fields, version=1)


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


MACHINE_DOORS: Final[tuple[Door, ...]] = (
    (os, "urandom", _urandom),
    (random.Random, "seed", _seed),
    (threading.Thread, "start", _start),
    (threading.Condition, "wait", _wait),
    (subprocess.Popen, "__init__", _popen),
    (asyncio, "as_completed", _as_completed),
    (socket, "getaddrinfo", _getaddrinfo),
    (socket, "gethostbyname", _gethostbyname),
    (socket, "gethostbyname_ex", _gethostbyname_ex),
    (socket, "gethostbyaddr", _gethostbyaddr),
    (uuid, "uuid1", _uuid1),
    (socket.socket, "bind", _bind),
    (socket.socket, "getsockname", _getsockname),
)

BOUND_MACHINE: Final[tuple[tuple[Any, Any], ...]] = (
    (_REAL_URANDOM, _urandom),
    (_REAL_GETADDRINFO, _getaddrinfo),
    (_REAL_GETHOSTBYNAME, _gethostbyname),
    (_REAL_GETHOSTBYNAME_EX, _gethostbyname_ex),
    (_REAL_GETHOSTBYADDR, _gethostbyaddr),
    (_REAL_AS_COMPLETED, _as_completed),
    (_REAL_UUID1, _uuid1),
)
"""What modules may have bound by ``from os import urandom`` and the like."""
