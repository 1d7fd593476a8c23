"""
What a simulation refuses from the start, with the reason.
"""

import asyncio
import sys
import warnings
from collections.abc import Callable
from typing import Any, Final, NoReturn, TypeVar

from harness.errors import EscapeError

C = TypeVar("C", bound=type)

_NO_DESCRIPTORS: Final = "there are no descriptors: use streams, transports or aiohttp"
_NO_PROCESSES: Final = "a real process has a clock of its own: make it a host"
_NO_OTHER_SOCKETS: Final = "the network carries TCP only: use host and port"

_NO_TLS: Final = "TLS draws on the operating system's randomness: use http"

_REAL_METHODS: Final = {
    "add_reader": _NO_DESCRIPTORS,
    "add_writer": _NO_DESCRIPTORS,
    "connect_accepted_socket": _NO_DESCRIPTORS,
    "connect_read_pipe": _NO_DESCRIPTORS,
    "connect_write_pipe": _NO_DESCRIPTORS,
    "remove_reader": _NO_DESCRIPTORS,
    "remove_writer": _NO_DESCRIPTORS,
    "sock_accept": _NO_DESCRIPTORS,
    "sock_recv": _NO_DESCRIPTORS,
    "sock_recv_into": _NO_DESCRIPTORS,
    "sock_recvfrom": _NO_DESCRIPTORS,
    "sock_recvfrom_into": _NO_DESCRIPTORS,
    "sock_sendall": _NO_DESCRIPTORS,
    "sock_sendfile": _NO_DESCRIPTORS,
    "sock_sendto": _NO_DESCRIPTORS,
    "create_datagram_endpoint": _NO_OTHER_SOCKETS,
    "create_unix_connection": _NO_OTHER_SOCKETS,
    "create_unix_server": _NO_OTHER_SOCKETS,
    "start_tls": _NO_TLS,
    "subprocess_exec": _NO_PROCESSES,
    "subprocess_shell": _NO_PROCESSES,
}
"""
Methods of a loop that lead out of the simulation. Signal handlers are not among
them: asyncio's own ``NotImplementedError`` is what programs are ready for.
"""


def refuse_real_methods(loop_class: C) -> C:
    """
    Let every method of a loop that needs the operating system raise.
    """
    for method, instead in _REAL_METHODS.items():
        setattr(loop_class, method, _refusal(method, instead))
    return loop_class


def refuse_tls() -> NoReturn:
    """
    Raise for TLS.
    """
    raise EscapeError(what="a connection with ssl", instead=_NO_TLS)


def check_process() -> None:
    """
    Refuse a process in which time or sockets belong to somebody else.

    Raises:
        EscapeError: gevent has patched it, or uvloop is to make its loops.
    """
    monkey = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("socket"):
        raise EscapeError(
            what="a process that gevent has patched",
            instead="Locust makes load in real time only: use harness load",
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        policy = asyncio.get_event_loop_policy()
    if type(policy).__module__.partition(".")[0] == "uvloop":
        raise EscapeError(
            what="uvloop",
            instead="it has its own clock and sockets: do not install it here",
        )


def _refusal(method: str, instead: str) -> Callable[..., NoReturn]:
    def refuse(*_arguments: Any, **_options: Any) -> NoReturn:
        raise EscapeError(what=f"loop.{method}()", instead=instead)

    return refuse
