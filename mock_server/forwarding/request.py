"""
A request that came in at another process, as if it had come in here.
"""

import asyncio
from collections.abc import Callable
from functools import lru_cache
from typing import Any, Final, Protocol, cast

from aiohttp import HttpVersion, StreamReader, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import RawRequestMessage
from aiohttp.http_writer import StreamWriter
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from mock_server.forwarding.frames import Asked, Came, Data, Dropped, Frame, Wrote
from mock_server.http_request import HttpRequest, QuickRequest
from mock_server.wire import ApiError

REFUSALS: Final = (
    ApiError("The body is too large.", status=413),
    ApiError("The body did not arrive in time.", status=408),
    ApiError("The body of the request could not be read."),
)
"""What is answered to a body that cannot be read, by number."""

Send = Callable[[Frame], None]

_UNSENT_BYTES_MAX: Final = 64 * 1024
"""So much may be on its way to a client before the answer waits."""


def refusal_number(error: ApiError) -> int:
    """
    Return the number of what kept a body from being read.
    """
    return next(n for n, known in enumerate(REFUSALS) if known.status == error.status)


class ForwardedBody:
    """
    A body that is here whole.
    """

    def __init__(self, body: bytes, refusal: int | None) -> None:
        self._body = body
        self._refusal = refusal
        self.total_bytes = len(body)

    def take(self) -> bytes:
        """
        Return it.

        Raises:
            ApiError: It could not be read.
        """
        if self._refusal is not None:
            raise REFUSALS[self._refusal]
        return self._body


class ForwardedConnection(BaseProtocol):
    """
    Stands for the client's connection, which another process holds.
    """

    ssl_context = None
    peername = None
    sockname = None

    def __init__(
        self,
        number: int,
        send: Send,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        super().__init__(loop)
        self._forwarded = ForwardedTransport(number, send, self)
        self.transport = self._forwarded

    def end(self) -> bytes:
        """
        Return what was written and has not been sent on; nothing is written after it.
        """
        # Apart they are freed at once; together when somebody looks for garbage.
        self.transport = None
        return self._forwarded.end()

    def release(self) -> None:
        """
        Send on what is written, as whoever began the answer has something to wait for.
        """
        self._forwarded.release()

    def acknowledge(self, data_bytes: int) -> None:
        """
        Learn that so many bytes have left.
        """
        self._forwarded.acknowledge(data_bytes)

    def drop(self) -> None:
        """
        Have the connection closed, whatever was written.
        """
        self._forwarded.close()

    def lose(self) -> None:
        """
        Learn that the client is gone.
        """
        if self.transport is not None:
            self._forwarded.lose()
            self.transport = None
            self.connection_lost(None)


class ForwardedTransport(asyncio.Transport):
    """
    Sends what is written to the process that holds the connection.
    """

    def __init__(self, number: int, send: Send, protocol: BaseProtocol) -> None:
        # Its base only makes a dictionary, of what nobody can be told here.
        self._number = number
        self._send = send
        self._protocol: BaseProtocol | None = protocol
        self._unsent: list[bytes] = []
        self._unacknowledged_bytes = 0
        self._is_closing = False
        self._is_held = True
        """What is written may be all of an answer, and then leaves with its end."""

    def release(self) -> None:
        """
        Send on what is written.
        """
        self._is_held = False
        if self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)

    def is_closing(self) -> bool:
        """
        Say whether nothing can be written any more.
        """
        return self._is_closing

    def write(self, data: Any) -> None:
        """
        Write bytes; what is written in one moment leaves together.
        """
        if not self._unsent and not self._is_held:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent.append(bytes(data))

    def end(self) -> bytes:
        """
        Return what was written and has not been sent on, and know nobody any more.
        """
        self._protocol = None
        return self._take()

    def acknowledge(self, data_bytes: int) -> None:
        """
        Learn that so many bytes have left.
        """
        self._unacknowledged_bytes -= data_bytes
        protocol = self._protocol
        is_low = self._unacknowledged_bytes <= _UNSENT_BYTES_MAX
        if is_low and protocol is not None and protocol.writing_paused:
            protocol.resume_writing()

    def close(self) -> None:
        """
        Have the connection closed, with what was written before.
        """
        if not self._is_closing:
            self._flush()
            self._is_closing = True
            self._send(Dropped(self._number))

    def abort(self) -> None:
        """
        Have the connection closed.
        """
        self.close()

    def lose(self) -> None:
        """
        Learn that the client is gone.
        """
        self._unsent.clear()
        self._is_closing = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """
        Return nothing: the connection is elsewhere.
        """
        del name
        return default

    def _flush(self) -> None:
        data = self._take()
        if not data or self._is_closing:
            return
        self._send(Data(self._number, data))
        self._unacknowledged_bytes += len(data)
        protocol = self._protocol
        is_high = self._unacknowledged_bytes > _UNSENT_BYTES_MAX
        if is_high and protocol is not None and not protocol.writing_paused:
            protocol.pause_writing()

    def _take(self) -> bytes:
        data = b"".join(self._unsent)
        self._unsent.clear()
        return data


class Shipment(Protocol):
    """
    A plan that is carried out elsewhere.
    """

    def end(self, wrote: Wrote) -> None:
        """
        Learn how it ended.
        """


class ForwardedRequest(web.BaseRequest):
    """
    A request of a connection that another process holds.

    Args:
        asked: What came in.
        message: What came in before the body.
        content: The body.
        connection: Stands for the client's.
        send: Speaks to that process.
        loop: The running one.
    """

    ATTRS = web.BaseRequest.ATTRS | frozenset(
        {"asked", "connection", "number", "send", "shipment"}
    )

    def __init__(
        self,
        asked: Asked | Came,
        message: RawRequestMessage,
        content: StreamReader,
        connection: ForwardedConnection,
        send: Send,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.asked = asked
        self.number = asked.number
        self.send = send
        self.shipment: Shipment | None = None
        self.connection = connection
        # aiohttp knows one kind of connection and task; these stand in for them.
        super().__init__(
            message,
            content,
            cast("Any", connection),
            StreamWriter(connection, loop),
            cast("Any", None),
            loop,
        )

    @classmethod
    def of(
        cls, asked: Asked, send: Send, loop: asyncio.AbstractEventLoop
    ) -> "ForwardedRequest":
        """
        Return a request that was read where it came in.
        """
        headers: CIMultiDict[str] = CIMultiDict(
            [(_text_of(name), _text_of(value)) for name, value in asked.headers]
        )
        message = RawRequestMessage(
            asked.method,
            _text_of(asked.path),
            HttpVersion(1, asked.minor_version),
            CIMultiDictProxy(headers),
            asked.headers,
            not asked.is_kept_alive,
            None,
            False,  # noqa: FBT003 - aiohttp's own tuple
            False,  # noqa: FBT003 - aiohttp's own tuple
            url_of(_text_of(asked.path)),
        )
        # aiohttp knows one kind of body; this stands in for it.
        content = cast("Any", ForwardedBody(asked.body, asked.refusal))
        connection = ForwardedConnection(asked.number, send, loop)
        return cls(asked, message, content, connection, send, loop)


class UnreadRequest(QuickRequest):
    """
    A request that is read here, as it came in at another process.

    Args:
        came: What came in.
        message: What came in before the body.
        content: The body.
        send: Speaks to that process.
        loop: The running one.
    """

    __slots__ = ("asked", "connection", "number", "send", "shipment")

    def __init__(
        self,
        came: Came,
        message: RawRequestMessage,
        content: StreamReader,
        send: Send,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self.asked = came
        self.number = came.number
        self.send = send
        self.shipment: Shipment | None = None
        self.connection = ForwardedConnection(came.number, send, loop)
        super().__init__(message, content, self.connection, loop, came.data)

    def for_aiohttp(self) -> ForwardedRequest:
        """
        Return it as what every surface can be given.
        """
        return ForwardedRequest(
            self.asked,
            self._message,
            self.content,
            self.connection,
            self.send,
            self._loop,
        )


Forwarded = ForwardedRequest | UnreadRequest
_FORWARDED: Final = frozenset({ForwardedRequest, UnreadRequest})


def forwarded(http: HttpRequest) -> Forwarded | None:
    """
    Return a request as one that came in at another process; None if it did not.
    """
    # Asking by isinstance takes long: a request of aiohttp is an abstract mapping.
    return cast("Forwarded", http) if type(http) in _FORWARDED else None


@lru_cache(maxsize=1024)
def url_of(target: str) -> URL:
    """
    Return the URL that a request line names, as aiohttp's parser would.
    """
    if not target.startswith("/"):
        return URL(target, encoded=True)
    rest, _, fragment = target.partition("#")
    path, _, query = rest.partition("?")
    return URL.build(path=path, query_string=query, fragment=fragment, encoded=True)


@lru_cache(maxsize=4096)
def _text_of(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")
