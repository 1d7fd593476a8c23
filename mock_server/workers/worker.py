"""
A worker: it holds connections, reads requests, and writes what it is told.

It decides nothing and remembers nothing. Requests go to the process that owns the mock
in the order in which they are complete, and answers come back as bytes, or as plans
whose waits are this process's work.
"""

import asyncio
import signal
import socket
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final

from aiohttp import web
from aiohttp.http_parser import RawRequestMessage

from mock_server.clock import LoopClock
from mock_server.collector import spared_collector
from mock_server.connection import CONNECTION_OPTIONS, Connection
from mock_server.forwarding import Shipped, is_whole, refusal_number
from mock_server.http_log import http_logger
from mock_server.request_body import read_body
from mock_server.wire import ApiError
from mock_server.workers.desk import Answer, Desk, Exchange
from mock_server.writer import KEPT, LAST

_HANDED_BYTE: Final = 1


class WorkerConnection(Connection):
    """
    One connection of a worker.

    A request that is here whole is passed on without a task; one whose body is still
    to come, and a plan, have the task that aiohttp gives them.

    Args:
        server: Whose it is.
        desk: Passes requests on.
        options: Those of aiohttp.
    """

    def __init__(self, server: web.Server, desk: Desk, **options: Any) -> None:
        super().__init__(server, lambda _: None, **options)
        self._desk = desk
        self._request_handler = self._serve
        self._asked: tuple[Exchange, Any] | None = None
        """What was passed on without a task, and the message or bytes it came as."""

        self._shipped: tuple[Exchange, Shipped] | None = None
        """A plan for the task that is about to begin."""

        self._is_unread = True
        """Everything that came was passed on as it came, request by request."""

        self.has_served = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """
        Begin.
        """
        super().connection_made(transport)
        self._desk.connections.add(self)

    def connection_lost(self, exc: BaseException | None) -> None:
        """
        Say that the client is gone.
        """
        self._desk.connections.discard(self)
        if self._asked is not None:
            self._desk.give_up(self._asked[0])
            self._asked = None
        if self._shipped is not None:
            self._desk.abandon(self._shipped[0])
            self._shipped = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """
        Take bytes; while a request is being answered, the next ones wait.
        """
        if self._asked is not None:
            self._read_asked()
            self._read(data)
        elif self._is_unread and self._can_pass_on(data):
            if (manager := self._manager) is not None:
                manager.requests_count += 1
            self._asked = self._desk.pass_on(self, data), data
        else:
            # What the parser holds from then on, nobody but the parser knows.
            self._is_unread = False
            super().data_received(data)

    def _can_pass_on(self, data: bytes) -> bool:
        waiter = self._waiter
        return (
            waiter is not None
            and not waiter.done()
            and not self._messages
            and not self._close
            and not self._force_close
            and is_whole(data, self._desk.setup.request_body_bytes_max)
        )

    def _read(self, data: bytes) -> None:
        """
        Read what came without waking the task that waits for it.
        """
        self._is_unread = False
        waiter, self._waiter = self._waiter, None
        try:
            web.RequestHandler.data_received(self, data)
        finally:
            self._waiter = waiter

    def _read_asked(self) -> None:
        """
        Read what was passed on as it came, if it was.
        """
        if self._asked is None or not isinstance(self._asked[1], bytes):
            return
        exchange, data = self._asked
        self._read(data)
        if self._messages and self._parser is not None:
            self._asked = exchange, self._messages.popleft()
            self._parser.message_consumed()
        else:
            self.force_close()

    def take_back(self) -> None:
        """
        Deal with what was passed on, as the other process cannot.
        """
        self._read_asked()
        asked, self._asked = self._asked, None
        if asked is not None and not isinstance(asked[1], bytes):
            self._messages.appendleft(asked[1])
            self._wake()

    def resume_writing(self) -> None:
        """
        Say that what was held back has left.
        """
        super().resume_writing()
        if self._asked is not None:
            self._desk.acknowledge(self._asked[0])

    def cut(self) -> None:
        """
        Leave at once.
        """
        if self.transport is not None:
            self.transport.abort()

    def pass_on(self, exchange: Exchange, data: bytes) -> None:
        """
        Write a piece of an answer.
        """
        if self.transport is None:
            return
        exchange.unacknowledged_bytes += len(data)
        self.transport.write(data)
        if not self.writing_paused:
            self._desk.acknowledge(exchange)

    def answer(self, exchange: Exchange, answer: Answer) -> None:
        """
        Write the rest of an answer, or let a task carry it out.
        """
        if exchange.answered is not None:
            if not exchange.answered.done():
                exchange.answered.set_result(answer)
            return
        if isinstance(answer, Shipped):
            self._read_asked()
        asked, self._asked = self._asked, None
        if asked is None or self.transport is None:
            return
        if isinstance(answer, Shipped):
            self._messages.appendleft(asked[1])
            self._shipped = (exchange, answer)
            self._wake()
            return
        self.transport.write(answer.data)
        self._end(KEPT if answer.is_kept_alive else LAST)
        if self._messages and not (len(self._messages) == 1 and self._answer()):
            self._wake()

    def _answer(self, data: bytes = b"") -> bool:
        del data
        message, payload = self._messages[0]
        if not isinstance(message, RawRequestMessage) or not payload.is_eof():
            return False
        parser, manager = self._parser, self._manager
        if message.upgrade or parser is None or manager is None:
            return False
        if payload.total_bytes > self._desk.setup.request_body_bytes_max:
            return False
        if "expect" in message.headers or payload.exception() is not None:
            return False
        self._is_answering = True
        body = payload.read_nowait()
        self._is_answering = False
        asked = self._messages.popleft()
        parser.message_consumed()
        manager.requests_count += 1
        self._asked = self._desk.ask(self, message, body), asked
        return True

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _process_keepalive(self) -> None:
        if self._asked is not None:
            # Nothing is idle here, though no task can be seen to work.
            now_s = self._desk.clock.monotonic()
            self._next_keepalive_close_time = now_s + self.keepalive_timeout
        super()._process_keepalive()

    async def _serve(self, http: web.BaseRequest) -> web.StreamResponse:
        desk = self._desk
        if self._shipped is not None:
            (exchange, shipped), self._shipped = self._shipped, None
            return await desk.carry_out(shipped, exchange, http)
        body, refusal = b"", None
        try:
            body = await read_body(
                http,
                bytes_max=desk.setup.request_body_bytes_max,
                timeout_s=desk.setup.request_read_timeout_s,
                clock=desk.clock,
            )
        except ApiError as error:
            refusal = refusal_number(error)
        exchange = desk.ask(self, http._message, body, refusal)  # noqa: SLF001 - its raw headers
        exchange.answered = self._loop.create_future()
        try:
            answer = await exchange.answered
            if isinstance(answer, Shipped):
                return await desk.carry_out(answer, exchange, http)
        finally:
            desk.give_up(exchange)
        if self.transport is not None:
            self.transport.write(answer.data)
        return KEPT if answer.is_kept_alive else LAST


class WorkerServer(web.Server):
    """
    Makes the connections of a worker.
    """

    def __init__(self, desk: Desk) -> None:
        super().__init__(
            lambda _: asyncio.sleep(0, LAST),  # noqa: TID251 - never asked
            logger=http_logger(),
            **CONNECTION_OPTIONS,
        )
        self._desk = desk

    def __call__(self) -> web.RequestHandler:
        """
        Return what takes the bytes of one more connection.
        """
        return WorkerConnection(self, self._desk, loop=self._loop, **self._kwargs)


async def work(channel: socket.socket, hand: socket.socket) -> None:
    """
    Serve the connections that are handed over, until the owner is gone.

    Args:
        channel: Carries the frames.
        hand: Carries the connections.
    """
    loop = asyncio.get_running_loop()
    stopped = asyncio.Event()
    desk = Desk(LoopClock(), stopped.set)
    server = WorkerServer(desk)

    def take(group: asyncio.TaskGroup) -> None:
        with suppress(BlockingIOError):
            while True:
                data, descriptors, _, _ = socket.recv_fds(hand, _HANDED_BYTE, 1)
                if not data:
                    loop.remove_reader(hand)
                    return
                for descriptor in descriptors:
                    connection = socket.socket(fileno=descriptor)
                    connection.setblocking(False)  # noqa: FBT003 - its own signature
                    group.create_task(_adopt(server, connection))

    hand.setblocking(False)  # noqa: FBT003 - its own signature
    async with asyncio.TaskGroup() as group:
        loop.add_reader(hand, take, group)
        await desk.channel.open(channel)
        await stopped.wait()
        loop.remove_reader(hand)
    desk.closing.set()
    await server.shutdown(0)


async def _adopt(server: WorkerServer, connection: socket.socket) -> None:
    with suppress(OSError):
        await asyncio.get_running_loop().connect_accepted_socket(server, connection)


def main(arguments: Sequence[str]) -> int:
    """
    Work over the two sockets that the arguments name by their descriptors.
    """
    channel, hand = (socket.socket(fileno=int(number)) for number in arguments)
    # The terminal tells all processes at once; the owner says when to end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with spared_collector():
        asyncio.run(work(channel, hand))
    return 0
