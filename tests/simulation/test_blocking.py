"""
What would stop the one thread of a simulation raises where it is called.
"""

import _thread
import concurrent.futures
import fcntl
import multiprocessing
import os
import queue
import select
import selectors
import signal
import socket
import subprocess
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from select import select as bound_select
from time import sleep as bound_sleep  # noqa: TID251 - another way in
from typing import Any, Final

import pytest

from harness.errors import EscapeError
from harness.simulation import SimLoop

Call = Callable[[], Any]


def on_tcp(call: Callable[[socket.socket], Any]) -> None:
    """
    Ask something of a socket that is not connected.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as sock:
        call(sock)


def on_udp(call: Callable[[socket.socket], Any]) -> None:
    """
    Ask something of a socket for datagrams.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        call(sock)


def read_pipe() -> None:
    """
    Read from a pipe to which nobody writes.
    """
    reader, writer = os.pipe()
    try:
        os.read(reader, 1)
    finally:
        os.close(reader)
        os.close(writer)


def lock_twice() -> None:
    """
    Lock a file that somebody else has locked.
    """
    with tempfile.NamedTemporaryFile() as file, Path(file.name).open() as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        fcntl.flock(file, fcntl.LOCK_EX)


def wait_in_selector() -> None:
    """
    Wait as an event loop does whose time is real.
    """
    with selectors.DefaultSelector() as selector:
        selector.select(1)


def take_twice() -> None:
    """
    Wait for a lock that one holds oneself.
    """
    lock = threading.Lock()
    with lock, lock:
        pass


CALLS: Final[dict[str, tuple[str, Call]]] = {
    "sleep": ("time.sleep", lambda: time.sleep(1)),  # noqa: TID251 - refused
    "sleep, bound": ("time.sleep", lambda: bound_sleep(1)),
    "thread": ("starting the thread", lambda: threading.Thread(target=print).start()),
    "timer": ("starting the thread", lambda: threading.Timer(1, print).start()),
    "event": ("another thread", lambda: threading.Event().wait(1)),
    "barrier": ("another thread", lambda: threading.Barrier(2).wait(1)),
    "semaphore": ("another thread", lambda: threading.Semaphore(0).acquire(timeout=1)),
    "lock": ("a lock that is held", take_twice),
    "queue": ("another thread", lambda: queue.Queue[int]().get(timeout=1)),
    "simple queue": ("a queue", lambda: queue.SimpleQueue[int]().get(timeout=1)),
    "future": ("another thread", lambda: concurrent.futures.Future[int]().result(1)),
    "subprocess": ("process", lambda: subprocess.run(["true"], check=True)),  # noqa: S607 - refused
    "system": ("os.system", lambda: os.system("true")),  # noqa: S605, S607 - refused
    "spawn": ("os.spawnlp", lambda: os.spawnlp(os.P_WAIT, "true", "true")),  # noqa: S606 - refused
    "posix_spawn": (
        "os.posix_spawn",
        lambda: os.posix_spawn("/bin/true", ["true"], {}),
    ),
    "fork": ("os.fork", lambda: os.fork()),  # noqa: PLW0108 - not the real one
    "forked process": (
        "os.fork",
        lambda: multiprocessing.get_context("fork").Process(target=print).start(),
    ),
    "spawned process": (
        "starting a process",
        lambda: multiprocessing.get_context("spawn").Process(target=print).start(),
    ),
    "waitpid": ("os.waitpid", lambda: os.waitpid(-1, 0)),
    "read": ("os.read", read_pipe),
    "input": ("input", lambda: input()),  # noqa: PLW0108 - not the real one
    "flock": ("a file that is locked", lock_twice),
    "select": ("select.select", lambda: select.select([], [], [], 1)),
    "select, bound": ("select.select", lambda: bound_select([], [], [], 1)),
    "poll": ("select.poll", lambda: select.poll().poll(1)),
    "selector": ("a selector", wait_in_selector),
    "sigwait": ("signal.sigwait", lambda: signal.sigwait([signal.SIGUSR1])),
    "connect": ("connect", lambda: socket.create_connection(("127.0.0.1", 9))),
    "urlopen": ("connect", lambda: urllib.request.urlopen("http://127.0.0.1:9/")),
    "listen": ("listen", lambda: on_tcp(lambda sock: sock.listen())),
    "accept": ("accept", lambda: on_tcp(lambda sock: sock.accept())),
    "recv": ("recv", lambda: on_tcp(lambda sock: sock.recv(1))),
    "recv_into": (
        "recv_into",
        lambda: on_tcp(lambda sock: sock.recv_into(bytearray(1))),
    ),
    "recvfrom": ("recvfrom", lambda: on_udp(lambda sock: sock.recvfrom(1))),
    "sendto": (
        "sendto",
        lambda: on_udp(lambda sock: sock.sendto(b"x", ("127.0.0.1", 9))),
    ),
    "sendmsg": ("sendmsg", lambda: on_tcp(lambda sock: sock.sendmsg([b"x"]))),
}


@pytest.mark.virtual_time
@pytest.mark.parametrize("name", CALLS)
async def test_blocking_calls_are_refused_at_the_call(name: str) -> None:
    """
    What would stop the loop or leave the simulation raises, and says what to do.
    """
    what, call = CALLS[name]

    with pytest.raises(EscapeError, match=what) as caught:
        call()

    assert caught.value.instead


async def test_what_does_not_wait_is_let_alone(virtual_time: SimLoop) -> None:
    """
    Locks that are free and queues that hold something work as ever.
    """
    lock, kept = threading.Lock(), queue.SimpleQueue[int]()
    kept.put(1)

    with lock:
        assert not lock.acquire(blocking=False)
    assert kept.get() == 1
    with pytest.raises(queue.Empty):
        kept.get(block=False)
    with tempfile.TemporaryFile() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert os.read(file.fileno(), 1) == b""
    assert socket.gethostbyname("localhost") == "127.0.0.1"
    assert socket.gethostbyaddr("127.0.0.1") == ("127.0.0.1", [], ["127.0.0.1"])
    with pytest.raises(socket.gaierror, match="nothing in the simulation"):
        socket.gethostbyname_ex("example.com")
    assert virtual_time.is_running()


async def test_a_lock_of_another_thread_is_waited_for(virtual_time: SimLoop) -> None:
    """
    A lock that a thread of the real world holds for a moment is no mistake.
    """
    lock, taken, released = (_thread.allocate_lock() for _ in range(3))
    taken.acquire()
    released.acquire()

    def hold() -> None:
        with lock:
            taken.release()
            released.acquire(timeout=0.05)

    # Started past the door, as an extension module would.
    _thread.start_new_thread(hold, ())
    with taken:
        assert lock.acquire()
    assert virtual_time.is_running()


def test_outside_everything_waits_as_ever(tmp_path: Path) -> None:
    """
    After a simulation locks, queues, selectors and processes are those of before.
    """
    lock = threading.Lock()
    lock.acquire()

    assert not lock.acquire(timeout=0.001)
    with pytest.raises(queue.Empty):
        queue.SimpleQueue[int]().get(timeout=0.001)
    assert select.select([], [], [], 0) == ([], [], [])
    with selectors.DefaultSelector() as selector:
        assert selector.select(0) == []
    assert os.system(f"true > {tmp_path}/ran") == 0  # noqa: S605 - harmless
    assert (tmp_path / "ran").exists()
