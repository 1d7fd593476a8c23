"""
What a simulation refuses, with the reason.
"""

import _thread
import asyncio
import inspect
import ssl
import sys
import threading
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from textual.app import App

from harness.errors import EscapeError
from harness.simulation import SimLoop

Call = Callable[[SimLoop], Any]


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("what", "call"),
    [
        ("add_reader", lambda loop: loop.add_reader(0, print)),
        ("add_writer", lambda loop: loop.add_writer(0, print)),
        ("sock_recv", lambda loop: loop.sock_recv(None, 1)),
        ("sock_sendall", lambda loop: loop.sock_sendall(None, b"")),
        ("sock_accept", lambda loop: loop.sock_accept(None)),
        ("start_tls", lambda loop: loop.start_tls(None, None, None)),
        ("subprocess_exec", lambda loop: loop.subprocess_exec(None, "true")),
        ("subprocess_shell", lambda loop: loop.subprocess_shell(None, "true")),
        ("create_unix_server", lambda loop: loop.create_unix_server(None, "/x")),
        ("create_unix_connection", lambda loop: loop.create_unix_connection(None)),
        ("create_datagram_endpoint", lambda loop: loop.create_datagram_endpoint(None)),
        ("connect_read_pipe", lambda loop: loop.connect_read_pipe(None, None)),
    ],
)
async def test_methods_that_need_a_kernel_are_refused(
    virtual_time: SimLoop, what: str, call: Call
) -> None:
    """
    Every method of a loop that leads to the operating system says why it does not.
    """
    with pytest.raises(EscapeError, match=what) as caught:
        call(virtual_time)

    assert caught.value.instead


async def test_tls_is_refused(virtual_time: SimLoop) -> None:
    """
    A connection or a server with ssl is refused.
    """
    context = ssl.create_default_context()

    with pytest.raises(EscapeError, match="ssl"):
        await virtual_time.create_connection(
            asyncio.Protocol, "127.0.0.1", 1, ssl=context
        )
    with pytest.raises(EscapeError, match="ssl"):
        await virtual_time.create_server(asyncio.Protocol, "127.0.0.1", 1, ssl=context)


def test_every_method_of_a_loop_is_decided_about() -> None:
    """
    No method of asyncio's loop that would raise NotImplementedError is forgotten.
    """
    undecided = {
        name
        for name, method in inspect.getmembers(SimLoop, inspect.isfunction)
        if not name.startswith("_")
        and method.__qualname__.startswith("AbstractEventLoop.")
    }

    assert undecided == {"add_signal_handler", "remove_signal_handler"}


async def test_calls_from_other_threads_are_refused(virtual_time: SimLoop) -> None:
    """
    Another thread that calls into the loop gets the error, and the loop nothing.
    """
    refused: list[EscapeError] = []
    called: list[str] = []

    def call() -> None:
        try:
            virtual_time.call_soon_threadsafe(called.append, "from outside")
        except EscapeError as error:
            refused.append(error)

    # Started past the door, as an extension module would.
    await asyncio.to_thread(_run_in_thread, call)

    assert called == []
    assert "another thread" in refused[0].what


def _run_in_thread(call: Callable[[], None]) -> None:
    done = _thread.allocate_lock()
    done.acquire()

    def run() -> None:
        call()
        done.release()

    _thread.start_new_thread(run, ())
    done.acquire()


@pytest.fixture
def gevent_monkey(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A process that looks as if gevent had patched it.
    """
    module = types.ModuleType("gevent.monkey")
    vars(module)["is_module_patched"] = lambda _name: True
    monkeypatch.setitem(sys.modules, "gevent.monkey", module)


@pytest.mark.usefixtures("gevent_monkey")
def test_gevent_is_refused() -> None:
    """
    Where gevent has patched the process, as under Locust, no simulation starts.
    """
    with pytest.raises(EscapeError, match="gevent") as caught:
        SimLoop()

    assert "harness load" in caught.value.instead


@pytest.fixture
def uvloop_policy() -> Iterator[None]:
    """
    A policy of a class that lives in a package called uvloop.
    """
    policy = type(
        "EventLoopPolicy", (asyncio.DefaultEventLoopPolicy,), {"__module__": "uvloop"}
    )
    asyncio.set_event_loop_policy(policy())
    yield
    asyncio.set_event_loop_policy(None)


@pytest.mark.usefixtures("uvloop_policy")
def test_uvloop_is_refused() -> None:
    """
    Where uvloop is installed no simulation starts.
    """
    with pytest.raises(EscapeError, match="uvloop"):
        SimLoop()


async def test_textual_is_refused_unless_headless(virtual_time: SimLoop) -> None:
    """
    A Textual app on a terminal is refused; headless it runs, and waiting is free.
    """
    app: App[None] = App()
    started_s = virtual_time.time()

    with pytest.raises(EscapeError, match="Textual"):
        await app.run_async()
    async with app.run_test() as pilot:
        await pilot.pause(3600)

    assert virtual_time.time() - started_s >= 3600


def test_threads_elsewhere_are_let_alone() -> None:
    """
    Outside a simulation threads start and wait as ever.
    """
    ran: list[int] = []

    thread = threading.Thread(target=ran.append, args=(1,))
    thread.start()
    thread.join()

    assert ran == [1]
