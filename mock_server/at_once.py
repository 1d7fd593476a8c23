"""
The shortest way from a request to its answer, for what has nothing to wait for.

A chat that no fault, quota or latency touches, and whose events nobody hears, is
answered in one go: its answer is made as it is sent, and what is told of it is its
journal entry and its metrics. Everything else goes the way of every exchange, from the
place at which that turned out.
"""

import logging
from collections.abc import Coroutine
from typing import Any, Final

from aiohttp import HttpVersion11, web
from multidict import istr

from mock_server.exchange import FAILED, Exchange
from mock_server.http_request import HttpRequest, QuickRequest
from mock_server.request_body import body_at_hand
from mock_server.surfaces.chat_completions import ChatCompletions
from mock_server.surfaces.ports import Answer, SurfaceRequest
from mock_server.wire import REQUEST_ID, ApiError, Whole
from mock_server.worlds import World
from mock_server.writer import KEPT, LAST, PENDING_BYTES_MAX, WrittenResponse, date_line

Rest = Coroutine[Any, Any, web.StreamResponse]
"""What is left to be done, and may have to wait."""

_REQUEST_ID_NAME: Final = istr(REQUEST_ID)

logger = logging.getLogger(__name__)


class QuickExchange(Exchange):
    """
    Answers what it can at once.
    """

    def serve_at_once(
        self, http: HttpRequest, surface: ChatCompletions, path: str
    ) -> WrittenResponse | Rest:
        """
        Answer a chat whose body is here; return what is left if it has to wait.
        """
        core = self._core
        if self._quotas.is_limited:
            return self.serve(http, surface, path)
        try:
            body = body_at_hand(http, core.limits.request_body_bytes_max)
        except ApiError:
            body = None
        if body is None:
            return self.serve(http, surface, path)
        core.time.start_if_needed()
        request = self._request_of(http, path, body)
        world = self._world_of(request)
        answer = self._ask_now(surface, request, world)
        whole = answer.whole
        if (
            whole is not None
            and self._is_instant
            and answer.latency is None
            and answer.effect is None
            and not core.events.is_heard
            and _REQUEST_ID_NAME not in request.headers
        ):
            made = whole(answer.reply, request.request_id)
            ended_s = core.clock.monotonic()
            response = write_now(http, made, request, ended_s)
            if response is not None:
                self._reporter.note(
                    surface,
                    request,
                    world,
                    answer,
                    data=http.data if type(http) is QuickRequest else None,
                    sent=made.body,
                    ended_s=ended_s,
                )
                return response
        return self._finish_later(http, surface, request, world, answer)

    def _ask_now(
        self, surface: ChatCompletions, request: SurfaceRequest, world: World
    ) -> Answer:
        try:
            return surface.handle_now(request, world)
        except ApiError as error:
            return self._refuse(request, error)
        except Exception:
            logger.exception("surface %s failed", surface.name)
            return self._refuse(request, FAILED)

    async def _finish_later(
        self,
        http: HttpRequest,
        surface: ChatCompletions,
        request: SurfaceRequest,
        world: World,
        answer: Answer,
    ) -> web.StreamResponse:
        metrics = self._core.metrics.surface(surface.name)
        metrics.in_flight += 1
        try:
            return await self._finish(http, surface, request, world, answer)
        finally:
            metrics.in_flight -= 1


def write_now(
    http: HttpRequest, whole: Whole, request: SurfaceRequest, ended_s: float
) -> WrittenResponse | None:
    """
    Write an answer; None if its client cannot be given it in one piece.

    It sends the bytes that :class:`~mock_server.writer.PlanWriter` would send.
    """
    protocol = http.protocol
    transport = protocol.transport
    body = whole.body
    if (
        transport is None
        or transport.is_closing()
        or protocol.writing_paused
        or http.version != HttpVersion11
        or http.method != "POST"
        or len(body) > PENDING_BYTES_MAX
    ):
        return None
    took_ms = int((ended_s - request.received_s) * 1000)
    is_kept = http.keep_alive
    connection = "" if is_kept else "connection: close\r\n"
    head = (
        f"HTTP/1.1 200 OK\r\n{whole.head}openai-processing-ms: {took_ms}\r\n"
        f"{connection}{date_line(int(request.received_wall_s))}\r\n"
    )
    transport.write(head.encode() + body)
    return KEPT if is_kept else LAST
