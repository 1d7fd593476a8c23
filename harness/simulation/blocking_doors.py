"""
The doors to waiting: what would stop the simulation's one thread.

Nothing happens meanwhile that could end the wait, for whatever could end it is in that
thread too; so each of these raises where it is called. Methods of classes written in C
are exchanged in the class's own table, as those of dates are.
"""

import _queue
import _thread
import builtins
import ctypes
import fcntl
import gc
import os
import select
import selectors
import signal
import socket
import stat
import sys
from collections.abc import Callable
from typing import Any, Final

from harness.errors import EscapeError
from harness.simulation.doors import Door, inside

OTHERS_HOLD_S: Final = 1.0
"""So long another thread of the process may hold a lock before it is taken for lost."""

_NO_KERNEL: Final = "there is no kernel: use streams, transports or aiohttp"
_NO_PROCESSES: Final = "a real process has a clock of its own: make it a host"
_NO_SIGNALS: Final = "no signal comes in virtual time: await an event"
_NO_FLOW: Final = "nobody writes to it in virtual time: await a stream"
_NO_PEOPLE: Final = "nobody types in virtual time: pass it in"
_NO_OTHERS: Final = "who could wake it is stopped too: use asyncio's own primitives"

_SOCKET_METHODS: Final = (
    *("accept", "connect", "connect_ex", "sendfile", "send", "sendall", "sendmsg"),
    *("sendto", "recv", "recv_into", "recvfrom", "recvfrom_into", "recvmsg"),
    "recvmsg_into",
)
_PROCESS_FUNCTIONS: Final = (
    *("fork", "forkpty", "posix_spawn", "posix_spawnp", "system"),
    *("spawnl", "spawnle", "spawnlp", "spawnlpe"),
    *("spawnv", "spawnve", "spawnvp", "spawnvpe"),
    *("wait", "wait3", "wait4", "waitid", "waitpid"),
)
_SIGNAL_FUNCTIONS: Final = ("pause", "sigwait", "sigwaitinfo", "sigtimedwait")
_SELECTORS: Final = (
    "SelectSelector",
    "PollSelector",
    "EpollSelector",
    "KqueueSelector",
)

_REAL_LOCK: Final = _thread.LockType
_REAL_ACQUIRE: Final = vars(_REAL_LOCK)["acquire"]
_REAL_ENTER: Final = vars(_REAL_LOCK)["__enter__"]
_REAL_GET: Final = vars(_queue.SimpleQueue)["get"]
_REAL_LISTEN: Final = socket.socket.listen
_REAL_READ: Final = os.read


def _refusing(real: Callable[..., Any], what: str, instead: str) -> Callable[..., Any]:
    def call(*arguments: Any, **options: Any) -> Any:
        if inside() is not None:
            raise EscapeError(what=what, instead=instead)
        return real(*arguments, **options)

    return call


def _refusing_method(owner: type, method: str) -> Callable[..., Any]:
    real = getattr(owner, method)

    def call(self: socket.socket, /, *arguments: Any, **options: Any) -> Any:
        if inside() is not None:
            # Whoever made it expects an OSError or a connection, and would leave
            # it open.
            self.close()
            raise EscapeError(what=f"socket.{method}()", instead=_NO_KERNEL)
        return real(self, *arguments, **options)

    return call


def _listen(self: socket.socket, backlog: int = 128, /) -> None:
    world = inside()
    if world is None:
        _REAL_LISTEN(self, backlog)
    elif world.bound_address(self) is None:
        raise EscapeError(what="socket.listen()", instead=_NO_KERNEL)


def _read(descriptor: int, length: int, /) -> bytes:
    # A file on a disk never lets anybody wait; whatever else there is to read may.
    if inside() is not None and not stat.S_ISREG(os.fstat(descriptor).st_mode):
        raise EscapeError(what="os.read()", instead=_NO_FLOW)
    return _REAL_READ(descriptor, length)


def _locking(real: Callable[..., Any], what: str) -> Callable[..., Any]:
    def call(descriptor: Any, operation: int, /, *arguments: Any) -> Any:
        if inside() is None or operation & (fcntl.LOCK_NB | fcntl.LOCK_UN):
            return real(descriptor, operation, *arguments)
        try:
            return real(descriptor, operation | fcntl.LOCK_NB, *arguments)
        except BlockingIOError:
            raise EscapeError(what=what, instead=_NO_OTHERS) from None

    return call


def _acquire(
    self: Any,
    blocking: bool = True,  # noqa: FBT001, FBT002 - the shape of the lock's own method
    timeout: float = -1,
) -> bool:
    if inside() is None or not blocking:
        return bool(_REAL_ACQUIRE(self, blocking, timeout))
    if _REAL_ACQUIRE(self, True, OTHERS_HOLD_S):  # noqa: FBT003 - as above
        return True
    raise EscapeError(what="waiting for a lock that is held", instead=_NO_OTHERS)


def _get(self: Any, block: bool = True, timeout: float | None = None) -> Any:  # noqa: FBT001, FBT002 - the shape of the queue's own method
    if inside() is not None and block and self.empty():
        raise EscapeError(what="waiting for a queue of threads", instead=_NO_OTHERS)
    return _REAL_GET(self, block, timeout)


def _functions_of(module: object, names: tuple[str, ...], instead: str) -> list[Door]:
    # Not every platform has each of them.
    found = ((name, getattr(module, name, None)) for name in names)
    where = getattr(module, "__name__", "")
    return [
        (module, name, _refusing(real, f"{where}.{name}()", instead))
        for name, real in found
        if real is not None
    ]


def _selector_doors() -> list[Door]:
    found = (getattr(selectors, name, None) for name in _SELECTORS)
    return [
        (each, "select", _refusing(each.select, "a selector", _NO_KERNEL))
        for each in found
        if each is not None
    ]


BLOCKING_DOORS: Final[tuple[Door, ...]] = (
    *_functions_of(os, _PROCESS_FUNCTIONS, _NO_PROCESSES),
    *_functions_of(signal, _SIGNAL_FUNCTIONS, _NO_SIGNALS),
    *_functions_of(select, ("select", "poll", "epoll", "kqueue"), _NO_KERNEL),
    *_selector_doors(),
    (os, "read", _read),
    (builtins, "input", _refusing(input, "input()", _NO_PEOPLE)),
    (fcntl, "flock", _locking(fcntl.flock, "waiting for a file that is locked")),
    (fcntl, "lockf", _locking(fcntl.lockf, "waiting for a file that is locked")),
    (socket.socket, "listen", _listen),
    *(
        (socket.socket, name, _refusing_method(socket.socket, name))
        for name in _SOCKET_METHODS
    ),
)

BOUND_BLOCKING: Final[tuple[tuple[Any, Any], ...]] = tuple(
    (vars(owner)[name], replacement)
    for owner, name, replacement in BLOCKING_DOORS
    if owner in (os, signal, select, fcntl)
)
"""What modules may have bound by ``from select import select`` and the like."""


def set_waiting(*, is_refused: bool) -> None:
    """
    Let locks and queues of threads raise where they would wait, or wait again.
    """
    acquire = _acquire if is_refused else _REAL_ACQUIRE
    enter = _acquire if is_refused else _REAL_ENTER
    _exchange(_REAL_LOCK, {"acquire": acquire, "__enter__": enter})
    _exchange(_queue.SimpleQueue, {"get": _get if is_refused else _REAL_GET})


def _exchange(owner: type, methods: dict[str, Any]) -> None:
    gc.get_referents(vars(owner))[0].update(methods)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(owner))


def fork_doors() -> tuple[Door, ...]:
    """
    Return the door by which multiprocessing starts processes, once it is there.
    """
    starter = sys.modules.get("_posixsubprocess")
    if starter is None:
        return ()
    real = vars(starter)["fork_exec"]
    return (
        (starter, "fork_exec", _refusing(real, "starting a process", _NO_PROCESSES)),
    )
