"""
What libraries may ask of a connection's socket.
"""

import errno
import socket
import struct
from typing import Any, Final

from harness.simulation.names import Address

_LINGER_FORMAT: Final = "ii"


class SimSocket:
    """
    What libraries ask of ``get_extra_info("socket")``.

    ``SO_LINGER`` is kept, because closing with a linger of 0 is how a program asks
    for a reset; every other option is taken and forgotten.
    """

    type = socket.SOCK_STREAM
    proto = socket.IPPROTO_TCP

    def __init__(self, local: Address, remote: Address | None) -> None:
        self.family = socket.AF_INET6 if ":" in local[0] else socket.AF_INET
        self.resets_on_close = False
        self._local = local
        self._remote = remote

    def getsockname(self) -> Address:
        """
        Return the address of this end.
        """
        return self._local

    def getpeername(self) -> Address:
        """
        Return the address of the other end.
        """
        if self._remote is None:
            raise OSError(errno.ENOTCONN, "simulated socket is not connected")
        return self._remote

    def fileno(self) -> int:
        """
        Return -1: there is no descriptor.
        """
        return -1

    def setsockopt(self, level: int, option: int, value: Any, *_length: int) -> None:
        """
        Take an option.
        """
        if (level, option) == (socket.SOL_SOCKET, socket.SO_LINGER):
            is_on, linger_s = struct.unpack(_LINGER_FORMAT, value)
            self.resets_on_close = bool(is_on) and linger_s == 0

    def getsockopt(self, _level: int, _option: int, *_length: int) -> int:
        """
        Return 0.
        """
        return 0

    def gettimeout(self) -> float:
        """
        Return 0: like every socket of an event loop it never blocks.
        """
        return 0.0

    def setblocking(self, _flag: bool) -> None:  # noqa: FBT001 - the name and shape of socket's own method
        """
        Take the setting.
        """
