"""
Stands between a client and an API, and writes down what passes.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Final

import aiohttp
from aiohttp import web
from multidict import CIMultiDict
from yarl import URL

from mock_server.caller import trace_id_of
from mock_server.clock import Clock
from mock_server.recorder.events import Piece
from mock_server.recorder.options import RecordOptions
from mock_server.recorder.reading import Taken, read_chat
from mock_server.recorder.recorded import Recorded, UnreadableError
from mock_server.recorder.recording import Recording
from mock_server.recorder.redaction import secrets_in
from mock_server.recorder.responses import ResponsesReader
from mock_server.request_body import read_body
from mock_server.wire import ApiError, error_body

Reader = Callable[[Taken], Recorded]

_HOP_BY_HOP: Final = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
_NOT_SENT: Final = _HOP_BY_HOP | {"host", "content-length", "accept-encoding", "expect"}
_NOT_RETURNED: Final = _HOP_BY_HOP | {"content-length", "content-encoding"}

_PATH_SHOWN_MAX: Final = 100

logger = logging.getLogger(__name__)


class Proxy:
    """
    Passes requests on and records their answers.

    Args:
        options: Where they go.
        recording: Where they are kept.
        session: Speaks to the upstream.
        clock: Stamps what comes.
        on_change: Called when there is something to write down.
        say: Told what is not recorded, the first time that it happens.
    """

    def __init__(
        self,
        options: RecordOptions,
        recording: Recording,
        *,
        session: aiohttp.ClientSession,
        clock: Clock,
        on_change: Callable[[], None],
        say: Callable[[str], None],
    ) -> None:
        self._options = options
        self._recording = recording
        self._session = session
        self._clock = clock
        self._on_change = on_change
        self._say = say
        # Paths without ``/v1``; all others are only passed on.
        self._readers: Mapping[str, Reader] = {
            "/chat/completions": read_chat,
            "/responses": ResponsesReader().read,
        }

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """
        Pass a request on, and its answer back as it comes.
        """
        limits = self._recording.limits
        try:
            body = await read_body(
                http,
                bytes_max=limits.body_bytes_max,
                timeout_s=limits.request_read_timeout_s,
                clock=self._clock,
            )
        except ApiError as error:
            return _refusal(error)
        headers = CIMultiDict(
            (name, value)
            for name, value in http.headers.items()
            if name.lower() not in _NOT_SENT
        )
        # What is compressed could not be timed piece by piece.
        headers["accept-encoding"] = "identity"
        target = URL(self._options.target_of(http.path_qs), encoded=True)
        started_s = self._clock.monotonic()
        try:
            async with self._session.request(
                http.method,
                target,
                headers=headers,
                data=body or None,
                allow_redirects=False,
            ) as answer:
                return await self._pass_back(http, body, answer, started_s)
        except (aiohttp.ClientError, TimeoutError) as error:
            self._skip(f"the upstream did not answer: {type(error).__name__}")
            refusal = ApiError(
                f"The upstream did not answer: {type(error).__name__}.",
                status=502,
                type="server_error",
                code="upstream_unreachable",
            )
            return _refusal(refusal)

    async def _pass_back(
        self,
        http: web.BaseRequest,
        body: bytes,
        answer: aiohttp.ClientResponse,
        started_s: float,
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=answer.status, reason=answer.reason)
        for name, value in answer.headers.items():
            if name.lower() not in _NOT_RETURNED:
                response.headers.add(name, value)
        await response.prepare(http)
        pieces: list[Piece] = []
        left = self._recording.limits.body_bytes_max
        try:
            async for piece in answer.content.iter_any():
                left -= len(piece)
                if left >= 0:
                    pieces.append((self._clock.monotonic(), piece))
                await response.write(piece)
        except (aiohttp.ClientError, TimeoutError):
            # The client must see the cut that the upstream made.
            self._skip("the answer was cut off")
            if http.transport is not None:
                http.transport.close()
            return response
        except (ConnectionError, asyncio.CancelledError):
            self._skip("the client left before the end of the answer")
            raise
        await response.write_eof()
        if left < 0:
            self._skip("an answer was too large")
            return response
        taken = Taken(
            path=http.path.removeprefix("/v1"),
            request_headers=http.headers,
            request_body=body,
            trace_id=trace_id_of(http.headers),
            started_s=started_s,
            status=answer.status,
            headers=answer.headers,
            pieces=tuple(pieces),
        )
        self._take(http.method, taken)
        return response

    def _take(self, method: str, taken: Taken) -> None:
        reader = self._readers.get(taken.path) if method == "POST" else None
        recording = self._recording
        try:
            recording.hide(secrets_in(taken.request_headers))
            recording.hide(secrets_in(taken.headers))
            if reader is not None:
                recording.add(reader(taken))
        except UnreadableError as error:
            self._skip(str(error))
            return
        except (AttributeError, KeyError, TypeError, ValueError):
            # An API may say anything; its client has had the answer all the same.
            self._skip("an answer has a form of its own")
            return
        if reader is None:
            self._skip(f"{method} {taken.path[:_PATH_SHOWN_MAX]} is only passed on")
        else:
            self._on_change()

    def _skip(self, reason: str) -> None:
        if self._recording.skip(reason) == 1:
            self._say(f"not recorded: {reason}")


def _refusal(error: ApiError) -> web.Response:
    return web.Response(
        status=error.status, body=error_body(error), content_type="application/json"
    )
