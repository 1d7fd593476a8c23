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
from multidict import MultiDict, MultiDictProxy, istr

from mock_server.caller import api_key_of, trace_id_of
from mock_server.exchange import FAILED, Exchange
from mock_server.http_request import HttpRequest, QuickRequest
from mock_server.request_body import body_at_hand
from mock_server.surfaces.chat_completions import PATH, ChatCompletions
from mock_server.surfaces.ports import Answer, SurfaceRequest
from mock_server.wire import REQUEST_ID, ApiError, Whole
from mock_server.worlds import World
from mock_server.writer import KEPT, LAST, PENDING_BYTES_MAX, WrittenResponse, date_line

Rest = Coroutine[Any, Any, web.StreamResponse]
"""What is left to be done, and may have to wait."""

_DATA_BYTES_MAX: Final = 32 * 1024
_HEAD_END: Final = b"\r\n\r\n"
_REQUEST_LINES: Final = tuple(
    f"POST {prefix}{PATH} HTTP/1.1\r\n".encode() for prefix in ("/v1", "")
)
_NO_QUERY: Final[MultiDictProxy[str]] = MultiDictProxy(MultiDict())
_EXPECT_NAME: Final = istr("expect")
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
        body = data = None
        body_bytes_max = core.limits.request_body_bytes_max
        # Who expects to be told to go on is told so, though all of it is here.
        if isinstance(http, QuickRequest) and _EXPECT_NAME not in http.headers:
            body_bytes = http.content.total_bytes
            if body_bytes <= body_bytes_max:
                data = http.data
                body = body_in(data, body_bytes)
        if body is None:
            data = None
            try:
                body = body_at_hand(http, body_bytes_max)
            except ApiError:
                body = None
        if body is None:
            return self.serve(http, surface, path)
        core.time.start_if_needed()
        if data is not None and type(http) is QuickRequest:
            request = self._chat_of(http, path, body)
        else:
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
            elapsed_s = core.clock.monotonic() - request.received_s
            response = write_now(http, made, request, elapsed_s)
            if response is not None:
                self._reporter.note(
                    surface, request, world, answer, data, made.body, elapsed_s
                )
                return response
        return self._finish_later(http, surface, request, world, answer)

    def _chat_of(self, http: HttpRequest, path: str, body: bytes) -> SurfaceRequest:
        """
        Return the request of a chat that came in here, at its path and no other.
        """
        headers, clock = http.headers, self._core.clock
        return SurfaceRequest(
            request_id=next(self._request_ids),
            method="POST",
            path=path,
            query=_NO_QUERY,
            headers=headers,
            body=body,
            trace_id=trace_id_of(headers),
            api_key=api_key_of(headers),
            received_s=clock.monotonic(),
            received_wall_s=clock.wall(),
        )

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


def body_in(data: bytes, body_bytes: int) -> bytes | None:
    """
    Return the body of a chat that came in as these bytes and nothing else.

    A head that began earlier, a body in pieces and a second request each move the first
    empty line away from where a body of this length begins; None of such. A large one
    has to be taken from the stream that holds it, which may have paused for it.
    """
    start = len(data) - body_bytes
    if (
        data.find(_HEAD_END) + len(_HEAD_END) != start
        or len(data) > _DATA_BYTES_MAX
        or not data.startswith(_REQUEST_LINES)
    ):
        return None
    return data[start:]


def write_now(
    http: HttpRequest, whole: Whole, request: SurfaceRequest, elapsed_s: float
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
    is_kept = http.keep_alive
    connection = "" if is_kept else "connection: close\r\n"
    head = (
        f"HTTP/1.1 200 OK\r\n{whole.head}openai-processing-ms: {int(elapsed_s * 1000)}\r\n"
        f"{connection}{date_line(int(request.received_wall_s))}\r\n"
    )
    transport.write(head.encode() + body)
    return KEPT if is_kept else LAST
