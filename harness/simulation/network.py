"""
The in-memory network behind the loop's own methods.

Names, addresses, listeners and connections, on one loopback that all hosts share:
a service that binds 127.0.0.1:8000 is reached there from every host. Which link
carries a connection is decided by the host that dials and the host that listens.
"""

import asyncio
import collections
import contextvars
import errno
import socket
import weakref
from collections.abc import Sequence
from typing import Any, Final

from harness.clock import LoopClock
from harness.errors import EscapeError
from harness.randomness import Randomness
from harness.simulation.life import Life, current_life, life_of
from harness.simulation.links import Link, LinkOptions, pass_through
from harness.simulation.listeners import (
    Listener,
    Listeners,
    ProtocolFactory,
    SimServer,
)
from harness.simulation.names import LOCAL_ADDRESS, Address, Names
from harness.simulation.transports import SimTransport
from harness.simulation.wire import Pipe, Tap

CLIENT_PORTS: Final = range(50_000, 65_536)
"""What dials out, over and over from the start."""

CONNECT_TIMEOUT_S: Final = 127.0
"""How long a kernel tries before it says that a connection timed out."""

_LOCAL_ADDRESS_V6: Final = "::1"


class Network:
    """
    Everything that is bound, dialled and connected in one simulation.

    Args:
        options: What links are like that nobody described.

    Attributes:
        taps: Called with every segment that is put on the wire.
        connections: How many were made so far.
    """

    def __init__(
        self,
        *,
        loop: asyncio.AbstractEventLoop,
        randomness: Randomness,
        options: LinkOptions,
    ) -> None:
        self.taps: list[Tap] = []
        self.connections = 0
        self.names = Names()
        self.listeners = Listeners(names=self.names)
        self._loop = loop
        self._randomness = randomness
        self._options = options
        self._links: dict[tuple[str, str], Link] = {}
        self._dialled: weakref.WeakKeyDictionary[socket.socket, Address] = (
            weakref.WeakKeyDictionary()
        )
        self._counted: collections.Counter[str] = collections.Counter()
        self._ends: dict[SimTransport, None] = {}

    def link(self, source: str, destination: str) -> Link:
        """
        Return the link from one host to another.
        """
        key = (source, destination)
        if key not in self._links:
            self._links[key] = Link(
                source=source,
                destination=destination,
                options=self._options,
                randomness=self._randomness,
            )
        return self._links[key]

    @property
    def ends(self) -> tuple[SimTransport, ...]:
        """
        The ends of all connections that are not closed, oldest first.
        """
        return tuple(self._ends)

    def cut_off(self, life: Life, *, silently: bool) -> None:
        """
        Take a host that died off the network.

        Args:
            life: The life that ended.
            silently: Its connections are half-open from then on, as when a machine
                loses its power; otherwise they are reset, as when a process dies.
        """
        self.listeners.close_those_of(life)
        for end in self.ends:
            if end.life is life:
                end.vanish(silently=silently)

    # Listening -------------------------------------------------------------------------

    def listen(
        self,
        factory: ProtocolFactory,
        *,
        host: str | Sequence[str] | None,
        port: int | None,
        sock: socket.socket | None,
        is_serving: bool,
    ) -> SimServer:
        """
        Accept connections at one address or several.
        """
        if sock is None:
            at = self.listeners.wanted(host, port)
        else:
            at = [self.listeners.taken_over(sock)]
        listener = self.listeners.open(factory, at=at, is_serving=is_serving)
        return SimServer(
            loop=self._loop, listeners=self.listeners, listener=listener, at=at
        )

    # Dialling ---------------------------------------------------------------------------

    async def dial(self, address: Sequence[Any]) -> Address:
        """
        Shake hands with whoever listens at the address, and return it.

        Raises:
            ConnectionRefusedError: Nobody listens there.
            TimeoutError: Nothing comes back, for as long as a kernel waits.
        """
        where = (self.names.resolve(address[0]), int(address[1]))
        listener = self.listeners.find(where)
        source = current_life().host
        destination = source if listener is None else life_of(listener.context).host
        there, back = self.link(source, destination), self.link(destination, source)
        key = self._count(f"{source} dials {where[0]}:{where[1]}")
        clock = LoopClock()
        try:
            async with clock.timeout(CONNECT_TIMEOUT_S):
                await pass_through(there)
                await pass_through(back)
                await clock.sleep(
                    sum(
                        link.latency_s(link.latencies("dial", key))
                        for link in (there, back)
                    )
                )
        except TimeoutError:
            raise TimeoutError(errno.ETIMEDOUT, f"connect to {where}") from None
        self._accepting(where)
        return where

    async def dial_with(self, sock: socket.socket, address: Sequence[Any]) -> None:
        """
        Shake hands for a socket that is handed over for the connection later.
        """
        self._dialled[sock] = await self.dial(address)

    def taken_over(self, sock: socket.socket) -> Address:
        """
        Return, once, where a socket was dialled to; the socket is done with.
        """
        where = self._dialled.pop(sock, None)
        if where is None:
            raise EscapeError(
                what="a connection over a socket that was connected outside",
                instead="let the loop connect it",
            )
        sock.close()
        return where

    def connect(
        self, factory: ProtocolFactory, address: Address
    ) -> tuple[asyncio.Transport, asyncio.BaseProtocol]:
        """
        Connect to whoever listens at the address.
        """
        listener = self._accepting(address)
        near, far = self._make_ends(
            address, here=contextvars.copy_context(), there=listener.context
        )
        protocol = factory()
        near.set_protocol(protocol)
        self._loop.call_soon(_accept, listener, far, context=listener.context)
        protocol.connection_made(near)
        return near, protocol

    def _accepting(self, address: Address) -> Listener:
        listener = self.listeners.find(address)
        if listener is None or not listener.is_serving:
            raise ConnectionRefusedError(
                errno.ECONNREFUSED, f"Connect call failed {address}"
            )
        return listener

    def _count(self, what: str) -> str:
        # Counted for itself, so that other connections move no draw of this one.
        self._counted[what] += 1
        return f"{what} #{self._counted[what]}"

    def _make_ends(
        self, address: Address, *, here: contextvars.Context, there: contextvars.Context
    ) -> tuple[SimTransport, SimTransport]:
        source, destination = life_of(here).host, life_of(there).host
        name = self._count(f"{source} to {address[0]}:{address[1]}")
        port = CLIENT_PORTS[self.connections % len(CLIENT_PORTS)]
        self.connections += 1

        out = self._pipe(source, destination, f"{name}>")
        back = self._pipe(destination, source, f"{name}<")
        local = (_LOCAL_ADDRESS_V6 if ":" in address[0] else LOCAL_ADDRESS, port)
        near = self._end(local, address, pipe=out, context=here)
        far = self._end(address, local, pipe=back, context=there)
        out.attach(far)
        back.attach(near)
        near.attach(far)
        far.attach(near)
        return near, far

    def _pipe(self, source: str, destination: str, key: str) -> Pipe:
        return Pipe(
            loop=self._loop,
            link=self.link(source, destination),
            connection=self.connections,
            key=key,
            taps=self.taps,
        )

    def _end(
        self,
        local: Address,
        remote: Address,
        *,
        pipe: Pipe,
        context: contextvars.Context,
    ) -> SimTransport:
        end = SimTransport(
            loop=self._loop,
            local=local,
            remote=remote,
            pipe=pipe,
            context=context,
            on_lost=lambda lost: self._ends.pop(lost, None),
        )
        self._ends[end] = None
        return end


def _accept(listener: Listener, end: SimTransport) -> None:
    protocol = listener.factory()
    end.set_protocol(protocol)
    protocol.connection_made(end)
