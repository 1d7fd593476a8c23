"""
What a worker has passed on and what came back, connection by connection.
"""

import asyncio
from collections.abc import Callable
from typing import Any, Final, Protocol, assert_never

from aiohttp import web
from aiohttp.http_parser import RawRequestMessage

from mock_server.clock import Clock
from mock_server.forwarding import (
    Acked,
    Asked,
    Came,
    Channel,
    Closing,
    Cut,
    Data,
    Dropped,
    Ended,
    FromOwner,
    Gone,
    Ready,
    Returned,
    Setup,
    Shipped,
    Wrote,
    unpack_plan,
)
from mock_server.wire import Pace
from mock_server.writer import Outcome, PlanWriter, Written

Answer = Ended | Shipped
# Made once: a union that is written where it is asked for is made each time.
_ENDS: Final = (Ended, Dropped, Returned)


class Holder(Protocol):
    """
    A connection, as the desk knows it.
    """

    has_served: bool

    def answer(self, exchange: "Exchange", answer: Answer) -> None:
        """
        Write the rest of an answer, or let a task carry it out.
        """

    def pass_on(self, exchange: "Exchange", data: bytes) -> None:
        """
        Write a piece of an answer.
        """

    def take_back(self) -> None:
        """
        Deal with what was passed on, as the other process cannot.
        """

    def force_close(self) -> None:
        """
        Leave in the middle of an answer.
        """

    def cut(self) -> None:
        """
        Leave at once.
        """


class Exchange:
    """
    A request that was passed on and is not answered yet.
    """

    __slots__ = (
        "answered",
        "connection",
        "number",
        "received_s",
        "unacknowledged_bytes",
    )

    def __init__(self, number: int, connection: Holder, received_s: float) -> None:
        self.number = number
        self.connection = connection
        self.received_s = received_s
        self.unacknowledged_bytes = 0
        self.answered: asyncio.Future[Answer] | None = None
        """Awaited by the task that has the request, if one has it."""


class Desk:
    """
    All exchanges of a worker, and its channel to the owner.

    Args:
        clock: For the waits of plans.
        stop: Ends the worker.
    """

    def __init__(self, clock: Clock, stop: Callable[[], None]) -> None:
        self.clock = clock
        self.channel: Channel[Any] = Channel(FromOwner, self._take, stop)
        self.setup = Setup(0, 0.0, 0)
        self.closing = asyncio.Event()
        self.connections: set[Holder] = set()
        self._exchanges: dict[int, Exchange] = {}
        self._last_number = 0

    def ask(
        self,
        connection: Holder,
        message: RawRequestMessage,
        body: bytes,
        refusal: int | None = None,
    ) -> Exchange:
        """
        Pass a request on.
        """
        self._last_number = number = self._last_number + 1
        received_s = self.clock.monotonic()
        exchange = self._exchanges[number] = Exchange(number, connection, received_s)
        self.channel.send(
            Asked(
                number,
                message.method,
                message.path.encode("utf-8", "surrogateescape"),
                message.version.minor,
                message.raw_headers,
                body,
                received_s,
                not message.should_close,
                connection.has_served,
                refusal,
            )
        )
        connection.has_served = True
        return exchange

    def pass_on(self, connection: Holder, data: bytes) -> Exchange:
        """
        Pass a request on as it came.
        """
        self._last_number = number = self._last_number + 1
        received_s = self.clock.monotonic()
        exchange = self._exchanges[number] = Exchange(number, connection, received_s)
        self.channel.send(Came(number, data, received_s, connection.has_served))
        connection.has_served = True
        return exchange

    def give_up(self, exchange: Exchange) -> None:
        """
        Say that the client is gone, unless the exchange has ended.
        """
        if self._exchanges.pop(exchange.number, None) is not None:
            self.channel.send(Gone(exchange.number))

    def abandon(self, exchange: Exchange) -> None:
        """
        Say that nobody is there for whom a plan could be carried out.
        """
        if self._exchanges.pop(exchange.number, None) is not None:
            self._tell(exchange.number, Written(outcome=Outcome.ABANDONED))

    def acknowledge(self, exchange: Exchange) -> None:
        """
        Say how much of an answer has left.
        """
        if exchange.unacknowledged_bytes:
            self.channel.send(Acked(exchange.number, exchange.unacknowledged_bytes))
            exchange.unacknowledged_bytes = 0

    async def carry_out(
        self, shipped: Shipped, exchange: Exchange, http: web.BaseRequest
    ) -> web.StreamResponse:
        """
        Write a plan, and tell how that ends in the moment before the client knows.
        """

        def tell(written: Written) -> None:
            if self._exchanges.pop(exchange.number, None) is not None:
                self._tell(exchange.number, written)

        def timing() -> tuple[tuple[str, str], ...]:
            if not shipped.is_timed:
                return ()
            elapsed_s = self.clock.monotonic() - exchange.received_s
            return (("openai-processing-ms", str(int(elapsed_s * 1000))),)

        def delay_of(pace: Pace, number: int) -> float:
            del pace
            return shipped.delays_s[number]

        writer = PlanWriter(
            http,
            clock=self.clock,
            delay_of=delay_of,
            closing=self.closing,
            body_kept_max=self.setup.journal_body_bytes_max,
            late_headers=timing,
            foretell=tell,
        )
        try:
            return await writer.write(unpack_plan(shipped))
        finally:
            tell(writer.written)

    def _tell(self, number: int, written: Written) -> None:
        self.channel.send(
            Wrote(
                number,
                written.status,
                written.outcome,
                written.planned_s,
                bytes(written.body),
                written.body_bytes,
            )
        )
        # Whatever the client does next, this must be known first.
        self.channel.flush()

    def _take(self, frames: list[FromOwner]) -> None:
        for frame in frames:
            match frame:
                case Setup():
                    self.setup = frame
                    self.channel.send(Ready())
                case Closing():
                    self.closing.set()
                case Cut():
                    for connection in list(self.connections):
                        connection.cut()
                case _:
                    self._take_answer(frame)

    def _take_answer(self, frame: Answer | Data | Dropped | Returned) -> None:
        exchange = self._exchanges.get(frame.number)
        if exchange is None:
            if isinstance(frame, Shipped):
                self._tell(frame.number, Written(outcome=Outcome.ABANDONED))
            return
        if isinstance(frame, _ENDS):
            del self._exchanges[frame.number]
        match frame:
            case Ended() | Shipped():
                exchange.connection.answer(exchange, frame)
            case Data(data=data):
                exchange.connection.pass_on(exchange, data)
            case Dropped():
                exchange.connection.force_close()
            case Returned():
                exchange.connection.take_back()
            case _:
                assert_never(frame)
