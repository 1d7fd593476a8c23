"""
A client's connection, whose requests are answered at once where that can be.

Most answers need nothing to be waited for. Such a request is answered while its bytes
are being received: the tasks and futures that would carry it through the loop cost as
much as the answer itself. What turns out to wait after all goes on in a task, from the
place it has come to.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Generator, Mapping
from typing import Any, Final, cast

from aiohttp import web
from aiohttp.http_parser import RawRequestMessage

from mock_server.clock import LoopClock
from mock_server.http_request import HttpRequest, QuickRequest
from mock_server.writer import KEPT, WrittenResponse

Answering = Coroutine[Any, Any, web.StreamResponse]
AtOnce = Callable[[HttpRequest], WrittenResponse | Answering | None]
"""Answers a request or begins to; None if it must have a task from the start."""

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
HandOver = Callable[[int], bool]
"""Gives an open connection, by its descriptor, to another process if it can."""

# A client that goes away must end its exchange, or nobody would know that it has.
# Nothing is inflated: signatures cover the bytes that were sent.
CONNECTION_OPTIONS: Final[Mapping[str, Any]] = {
    "handler_cancellation": True,
    "auto_decompress": False,
    "access_log": None,
    "keepalive_timeout": 75.0,
}


class Begun:
    """
    A coroutine that was begun outside of a task and waits for something.

    Args:
        coroutine: What was begun.
        awaited: What it yielded.
    """

    def __init__(self, coroutine: Answering, awaited: Any) -> None:
        self._coroutine = coroutine
        self._awaited = awaited

    def __await__(self) -> Generator[Any, Any, web.StreamResponse]:
        awaited = self._awaited
        try:
            while True:
                try:
                    sent = yield awaited
                except BaseException as error:  # noqa: BLE001 - all of them are its own
                    awaited = self._coroutine.throw(error)
                else:
                    awaited = self._coroutine.send(sent)
        except StopIteration as end:
            response: web.StreamResponse = end.value
            return response

    def close(self) -> None:
        """
        Let it end where it is.
        """
        self._coroutine.close()


class Connection(web.RequestHandler):
    """
    One connection.

    Args:
        server: Whose it is.
        at_once: Begins to answer what needs no task.
        options: Those of aiohttp.
    """

    def __init__(self, server: web.Server, at_once: AtOnce, **options: Any) -> None:
        super().__init__(server, **options)
        self._at_once = at_once
        self._handler: Handler = server.request_handler
        self._request_handler = self._handle
        self._clock = LoopClock()
        self._begun: Begun | None = None
        self._is_answering = False

    def data_received(self, data: bytes) -> None:
        """
        Take bytes, and answer the request if they complete one.
        """
        waiter = self._waiter
        if waiter is None or waiter.done() or self._messages:
            super().data_received(data)
            return
        # Without its waiter nobody is told of the requests that it finds.
        self._waiter = None
        try:
            super().data_received(data)
        finally:
            self._waiter = waiter
        if not self._messages or (len(self._messages) == 1 and self._answer(data)):
            return
        if not waiter.done():
            waiter.set_result(None)

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's own signature
        """
        Go on reading, if anything was held back.
        """
        # Whoever reads a body asks for it, though mostly there is nothing more.
        if not self._is_answering or self._reading_paused or self._buffer_paused:
            super().resume_reading(resume_parser)

    def connection_lost(self, exc: BaseException | None) -> None:
        """
        Leave what was begun to the task that has it, or end it.
        """
        super().connection_lost(exc)
        if self._begun is not None:
            self._begun.close()
            self._begun = None

    def _answer(self, data: bytes = b"") -> bool:
        """
        Answer the one request that came, and say whether that is done.

        Args:
            data: The bytes with which it was complete.
        """
        message, payload = self._messages[0]
        if not isinstance(message, RawRequestMessage) or not payload.is_eof():
            return False
        manager, parser = self._manager, self._parser
        if message.upgrade or manager is None or parser is None:
            return False
        response: web.StreamResponse
        self._is_answering = True
        try:
            answering = self._at_once(
                QuickRequest(message, payload, self, self._loop, data)
            )
            if answering is None:
                return False
            if type(answering) is WrittenResponse:
                response = answering
            else:
                # The type is one of two, and a coroutine's own type is never asked.
                begun = cast("Answering", answering)
                self._begun = Begun(begun, begun.send(None))
                return False
        except StopIteration as end:
            response = end.value
        finally:
            self._is_answering = False
        self._messages.popleft()
        parser.message_consumed()
        manager.requests_count += 1
        self._end(response)
        return True

    def _end(self, response: web.StreamResponse) -> None:
        """
        Keep the connection for another request, or close it.
        """
        if (response is not KEPT and not response.keep_alive) or self._close:
            self.force_close()
            return
        self._keepalive = True
        self._next_keepalive_close_time = (
            self._clock.monotonic() + self._keepalive_timeout
        )
        if self._keepalive_handle is None:
            self._process_keepalive()

    async def _handle(self, http: web.BaseRequest) -> web.StreamResponse:
        begun, self._begun = self._begun, None
        if begun is not None:
            return await begun
        return await self._handler(http)


class QuickServer(web.Server):
    """
    Serves connections that answer at once where they can.

    Args:
        handler: Answers what has a task of its own.
        at_once: Begins to answer what needs none.
        hand_over: Gives a connection to another process.
        options: Those of every connection.
    """

    def __init__(
        self,
        handler: Handler,
        at_once: AtOnce,
        hand_over: HandOver | None = None,
        **options: Any,
    ) -> None:
        super().__init__(handler, **options)
        self._at_once = at_once
        self._hand_over = hand_over

    def __call__(self) -> web.RequestHandler:
        """
        Return what takes the bytes of one more connection.
        """
        if self._hand_over is None:
            return self._connect()
        # aiohttp only ever passes it on to the loop.
        return cast("web.RequestHandler", HandedOver(self._hand_over, self._connect))

    def _connect(self) -> Connection:
        return Connection(self, self._at_once, loop=self._loop, **self._kwargs)


class HandedOver(asyncio.Protocol):
    """
    A connection that another process may take.

    Args:
        hand_over: Gives it away.
        connect: Makes what takes its bytes here, if nobody else does.
    """

    def __init__(self, hand_over: HandOver, connect: Callable[[], Connection]) -> None:
        self._hand_over = hand_over
        self._connect = connect

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """
        Give it away before anything is read from it.
        """
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 - for the types
        if self._hand_over(transport.get_extra_info("socket").fileno()):
            # The other process has a descriptor of its own; this closes only ours.
            transport.abort()
            return
        connection = self._connect()
        transport.set_protocol(connection)
        connection.connection_made(transport)
