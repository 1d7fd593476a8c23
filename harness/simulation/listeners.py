"""
Who accepts connections, and where.
"""

import asyncio
import contextvars
import errno
import socket
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.clock import LoopClock
from harness.errors import EscapeError
from harness.simulation.life import Life, life_of
from harness.simulation.names import ANY_ADDRESS, Address, Names
from harness.simulation.sockets import SimSocket

ProtocolFactory = Callable[[], asyncio.BaseProtocol]

SERVER_PORTS: Final = range(40_000, 50_000)
"""What a server gets that asks for port 0."""


@dataclass(eq=False, slots=True, kw_only=True)
class Listener:
    """
    Somebody who accepts connections.
    """

    factory: ProtocolFactory
    context: contextvars.Context
    is_serving: bool = True


class Listeners:
    """
    Every address that is bound in one simulation.
    """

    def __init__(self, *, names: Names) -> None:
        self._names = names
        self._at: dict[Address, Listener] = {}
        self._bound: weakref.WeakKeyDictionary[socket.socket, Address] = (
            weakref.WeakKeyDictionary()
        )
        self._ports_given = 0

    def bind(self, sock: socket.socket, address: Sequence[Any]) -> None:
        """
        Give a real socket object an address that exists here only.
        """
        ip = self._names.resolve(address[0])
        self._bound[sock] = self._free((ip, int(address[1])))

    def bound_address(self, sock: socket.socket) -> Address | None:
        """
        Return what :meth:`bind` gave to the socket.
        """
        return self._bound.get(sock)

    def wanted(
        self, host: str | Sequence[str] | None, port: int | None
    ) -> list[Address]:
        """
        Return the addresses that a server with this host and port listens on.
        """
        hosts = [host] if host is None or isinstance(host, str) else list(host)
        return [self._free((self._names.resolve(name), port or 0)) for name in hosts]

    def taken_over(self, sock: socket.socket) -> Address:
        """
        Return, once, the address of a bound socket; the socket is done with.
        """
        address = self._bound.pop(sock, None)
        if address is None:
            raise EscapeError(
                what="a server on a socket that was bound outside",
                instead="bind it inside, or pass host and port",
            )
        sock.close()
        return address

    def open(
        self, factory: ProtocolFactory, *, at: Sequence[Address], is_serving: bool
    ) -> Listener:
        """
        Accept connections at these addresses.

        Raises:
            OSError: One of them is taken.
        """
        for address in at:
            if self.find(address) is not None:
                raise OSError(
                    errno.EADDRINUSE,
                    f"error while attempting to bind on address {address}: "
                    "address already in use",
                )
        listener = Listener(
            factory=factory, context=contextvars.copy_context(), is_serving=is_serving
        )
        self._at.update(dict.fromkeys(at, listener))
        return listener

    def find(self, address: Address) -> Listener | None:
        """
        Return who listens at an address, directly or for all addresses.
        """
        ip, port = address
        if ip == ANY_ADDRESS:
            return next((who for (_, p), who in self._at.items() if p == port), None)
        return self._at.get(address) or self._at.get((ANY_ADDRESS, port))

    def has(self, listener: Listener) -> bool:
        """
        Whether the listener is still bound.
        """
        return listener in self._at.values()

    def close(self, listener: Listener) -> None:
        """
        Accept no more; what was accepted stays open.
        """
        self._at = {at: who for at, who in self._at.items() if who is not listener}

    def close_those_of(self, life: Life) -> None:
        """
        Close whatever a host listens on in one of its lives.
        """
        for listener in list(self._at.values()):
            if life_of(listener.context) is life:
                self.close(listener)

    def _free(self, address: Address) -> Address:
        ip, port = address
        if port:
            return address
        taken = {port for _, port in [*self._at, *self._bound.values()]}
        for _attempt in SERVER_PORTS:
            port = SERVER_PORTS[self._ports_given % len(SERVER_PORTS)]
            self._ports_given += 1
            if port not in taken:
                return ip, port
        raise OSError(errno.EADDRINUSE, "every port for servers is taken")


class SimServer(asyncio.AbstractServer):
    """
    What ``create_server`` returns.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        listeners: Listeners,
        listener: Listener,
        at: Sequence[Address],
    ) -> None:
        self._loop = loop
        self._listeners = listeners
        self._listener = listener
        self._at = tuple(at)

    @property
    def sockets(self) -> tuple[SimSocket, ...]:
        """
        The sockets that listen; none after :meth:`close`.
        """
        if not self._listeners.has(self._listener):
            return ()
        return tuple(SimSocket(address, None) for address in self._at)

    def close(self) -> None:
        """
        Accept no more; what was accepted stays open.
        """
        self._listeners.close(self._listener)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """
        Return the loop.
        """
        return self._loop

    def is_serving(self) -> bool:
        """
        Whether connections are accepted.
        """
        return self._listener.is_serving and self._listeners.has(self._listener)

    async def start_serving(self) -> None:
        """
        Accept connections.
        """
        self._listener.is_serving = True

    async def serve_forever(self) -> None:
        """
        Accept connections until cancelled.
        """
        await self.start_serving()
        try:
            await self._loop.create_future()
        finally:
            self.close()

    async def wait_closed(self) -> None:
        """
        Return after others ran.
        """
        await LoopClock().sleep(0)
