"""
Where the doors of the process lead while a simulation runs.

Libraries read clocks, draw random bytes, start threads and open sockets by doors of
their own. Each door has a replacement that looks at every call whether it is made by
the simulation's thread: a name that a module bound meanwhile goes on working outside,
and other threads see the real world throughout.
"""

import socket
import threading
from collections.abc import Sequence
from typing import Any, Protocol

Door = tuple[object, str, Any]
"""Owner, name, replacement."""


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

    def next_number(self) -> int:
        """
        Return a number that nothing else in the simulation has.
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


def inside() -> World | None:
    """
    Return the world of the simulation whose thread this is, while it runs.
    """
    return _world if threading.get_ident() == _thread_id else None


def is_occupied() -> bool:
    """
    Whether a simulation runs in this process, in whatever thread.
    """
    return _world is not None


def enter(world: World | None) -> None:
    """
    Let the doors lead into a world from this thread; None lets them lead outside.
    """
    global _world, _thread_id
    _world, _thread_id = world, threading.get_ident()
