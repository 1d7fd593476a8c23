"""
A request as it is answered, whichever way it came in.
"""

import asyncio
from collections.abc import Mapping
from typing import Protocol

from aiohttp import HttpVersion, StreamReader
from aiohttp.abc import AbstractStreamWriter
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import RawRequestMessage
from aiohttp.http_writer import StreamWriter


class HttpRequest(Protocol):
    """
    What answering asks of a request; those of aiohttp are such.
    """

    @property
    def method(self) -> str:
        """
        In upper case.
        """

    @property
    def raw_path(self) -> str:
        """
        What the request line names, as it was sent.
        """

    @property
    def query(self) -> Mapping[str, str]:
        """
        The parameters of the path.
        """

    @property
    def headers(self) -> Mapping[str, str]:
        """
        Looked up without regard to case.
        """

    @property
    def version(self) -> HttpVersion:
        """
        Of the protocol.
        """

    @property
    def keep_alive(self) -> bool:
        """
        Whether the client wants to ask again on the same connection.
        """

    @property
    def content(self) -> StreamReader:
        """
        The body.
        """

    @property
    def protocol(self) -> BaseProtocol:
        """
        The connection.
        """

    @property
    def transport(self) -> asyncio.Transport | None:
        """
        That of the connection; None once the client is gone.
        """

    @property
    def writer(self) -> AbstractStreamWriter:
        """
        Waits until what was written has left.
        """


class QuickRequest:
    """
    A request that is likely to be answered at once.

    One of aiohttp takes several times as long to make and to ask.

    Args:
        message: What came in before the body.
        content: The body.
        protocol: The connection.
        loop: The running one.
        data: The bytes with which it was complete; mostly it is all of them.
    """

    __slots__ = (
        "_loop",
        "_message",
        "_writer",
        "content",
        "data",
        "headers",
        "keep_alive",
        "method",
        "protocol",
        "raw_path",
        "version",
    )

    def __init__(
        self,
        message: RawRequestMessage,
        content: StreamReader,
        protocol: BaseProtocol,
        loop: asyncio.AbstractEventLoop,
        data: bytes,
    ) -> None:
        self._message = message
        self._loop = loop
        self._writer: AbstractStreamWriter | None = None
        self.method = message.method
        self.raw_path = message.path
        self.headers = message.headers
        self.version = message.version
        self.keep_alive = not message.should_close
        self.content = content
        self.data = data
        self.protocol = protocol

    @property
    def query(self) -> Mapping[str, str]:
        """
        The parameters of the path.
        """
        return self._message.url.query

    @property
    def transport(self) -> asyncio.Transport | None:
        """
        That of the connection; None once the client is gone.
        """
        return self.protocol.transport

    @property
    def writer(self) -> AbstractStreamWriter:
        """
        Waits until what was written has left.
        """
        if self._writer is None:
            self._writer = StreamWriter(self.protocol, self._loop)
        return self._writer
