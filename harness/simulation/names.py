"""
Which address a name stands for.
"""

import ipaddress
import socket
from typing import Any, Final

Address = tuple[str, int]

ANY_ADDRESS: Final = "0.0.0.0"  # noqa: S104 - compared with, never bound
LOCAL_ADDRESS: Final = "127.0.0.1"
_WILDCARDS: Final = frozenset({"", "::", ANY_ADDRESS})


class Names:
    """
    The resolver of one simulation; ``localhost`` is the one name it starts with.
    """

    def __init__(self) -> None:
        self._addresses = {"localhost": LOCAL_ADDRESS}

    def add(self, name: str, address: str = LOCAL_ADDRESS) -> None:
        """
        Let ``name`` stand for ``address``.
        """
        self._addresses[name] = address

    def resolve(self, name: str | bytes | None) -> str:
        """
        Return the address that a name or an address stands for.

        Raises:
            socket.gaierror: It is neither an address nor a name that was added.
        """
        # anyio encodes host names before it resolves them.
        text = name.decode() if isinstance(name, bytes) else name or ""
        if text in _WILDCARDS:
            return ANY_ADDRESS
        text = self._addresses.get(text, text)
        try:
            return str(ipaddress.ip_address(text))
        except ValueError:
            raise socket.gaierror(
                socket.EAI_NONAME, f"nothing in the simulation is called {text!r}"
            ) from None

    def answer(
        self, name: str | bytes | None, port: int | str | None, *, family: int = 0
    ) -> list[tuple[Any, ...]]:
        """
        Answer as ``getaddrinfo`` does.
        """
        ip = self.resolve(name)
        is_v6 = ":" in ip
        found = socket.AF_INET6 if is_v6 else socket.AF_INET
        if family not in (0, found):
            raise socket.gaierror(
                socket.EAI_FAMILY, f"{ip} is of another address family"
            )
        number = int(port or 0)
        where: tuple[Any, ...] = (ip, number, 0, 0) if is_v6 else (ip, number)
        return [(found, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", where)]
