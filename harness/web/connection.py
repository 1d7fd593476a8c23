"""
Below the application: requests that are none, and heads that do not come.

aiohttp answers what it cannot parse by itself, in plain text that quotes what was sent.
Here such a request gets an error in the shape of all others, which quotes nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong

from harness.clock import Clock
from harness.errors import UsageError
from harness.events import trace_scope
from harness.ids import IdMint
from harness.telemetry import Redactor
from harness.web.answers import RequestError, error_answer
from harness.web.middleware import to_refusal

HEAD_TIMEOUT_S: Final = 30.0
"""A connection whose next request has begun and has no whole head by then is closed."""

_BareHandler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
_LOG: Final = logging.getLogger(__name__)


class Connection(web.RequestHandler):
    """
    A caller's connection.

    Args:
        server: Whose it is.
        clock: Bounds how long a head may take.
        ids: Mints the trace of a request that named none.
        redactor: Keeps secrets out of answers.
        options: Those of aiohttp.
    """

    def __init__(
        self,
        server: web.Server,
        *,
        clock: Clock,
        ids: IdMint,
        redactor: Redactor,
        **options: Any,
    ) -> None:
        super().__init__(server, **options)
        self._clock = clock
        self._ids = ids
        self._redactor = redactor
        self._head_timer: asyncio.TimerHandle | None = None

    def data_received(self, data: bytes) -> None:
        """
        Take bytes; the first of a head start the time that it has.
        """
        is_between = self._current_request is None and not self._messages
        super().data_received(data)
        if self._messages or not is_between:
            self._stop_timer()
        elif data and self._head_timer is None:
            self._head_timer = self._clock.call_at(
                self._clock.monotonic() + HEAD_TIMEOUT_S, self.force_close
            )

    def connection_lost(self, exc: BaseException | None) -> None:
        """
        Wait for nothing any more.
        """
        self._stop_timer()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """
        Answer what could not be parsed, and what nobody foresaw.
        """
        del message
        if request.writer.output_size > 0:
            reason = "the answer has begun"
            raise ConnectionError(reason)
        error: BaseException
        if status < HTTPStatus.INTERNAL_SERVER_ERROR:
            _LOG.info("a request could not be read: %s", type(exc).__name__)
            error = _unreadable(status, exc)
        else:
            _LOG.error("a request failed", exc_info=exc)
            error = RuntimeError()
        with trace_scope(self._ids.trace_id()):
            response = error_answer(error, redactor=self._redactor)
        response.force_close()
        return response

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None


class Runner(web.AppRunner):
    """
    Runs an application on connections of ours.

    Args:
        app: The application.
        clock: Bounds how long a head may take.
        ids: Mints traces.
        redactor: Keeps secrets out of answers.
        options: Those of aiohttp.
    """

    __slots__ = ("_clock", "_ids", "_redactor")

    def __init__(
        self,
        app: web.Application,
        *,
        clock: Clock,
        ids: IdMint,
        redactor: Redactor,
        **options: Any,
    ) -> None:
        super().__init__(app, **options)
        self._clock = clock
        self._ids = ids
        self._redactor = redactor

    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        return _Server(
            self._in_shape(made.request_handler),
            request_factory=made.request_factory,
            clock=self._clock,
            ids=self._ids,
            redactor=self._redactor,
            **self._kwargs,
        )

    def _in_shape(self, handler: _BareHandler) -> _BareHandler:
        """
        Return the handler for which refusals outside of all middlewares have our shape.
        """

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            try:
                return await handler(request)
            except web.HTTPException as error:
                with trace_scope(self._ids.trace_id()):
                    return error_answer(
                        to_refusal(request, error), redactor=self._redactor
                    )

        return handle


class _Server(web.Server):
    def __init__(
        self,
        handler: _BareHandler,
        *,
        request_factory: Any,
        handler_cancellation: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(
            handler,
            request_factory=request_factory,
            handler_cancellation=handler_cancellation,
        )
        self._options = options

    def __call__(self) -> web.RequestHandler:
        return Connection(self, loop=self._loop, **self._options)


def _unreadable(status: int, exc: BaseException | None) -> UsageError:
    if isinstance(exc, LineTooLong):
        return RequestError(
            status=HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
            code="head_too_large",
            message="the request line or a header is too long",
        )
    return RequestError(
        status=status, code="bad_request", message="this is no HTTP that can be read"
    )
