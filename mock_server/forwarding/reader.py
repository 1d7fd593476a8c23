"""
Reads requests that came in at another process, and were passed on as they came.
"""

import asyncio

from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser

from mock_server.forwarding.frames import Came
from mock_server.forwarding.request import Send, UnreadRequest
from mock_server.forwarding.whole import DATA_BYTES_MAX, body_bytes_in


class _NothingToRead(BaseProtocol):
    """
    Stands for a connection whose bytes are all here.
    """

    def pause_reading(self) -> None:
        """
        Nothing is being read.
        """

    def resume_reading(self, resume_parser: bool = True) -> None:  # noqa: FBT001, FBT002 - aiohttp's own signature
        """
        Nothing is left to be read.
        """


class UnreadReader:
    """
    Reads requests one by one, each whole.

    Args:
        send: Speaks to the process where they came in.
        loop: The running one.
    """

    def __init__(self, send: Send, loop: asyncio.AbstractEventLoop) -> None:
        self._send = send
        self._loop = loop
        self._protocol = _NothingToRead(loop)
        self._parser = self._make_parser()

    def read(self, came: Came) -> UnreadRequest | None:
        """
        Return the request; None if these bytes are not one and nothing else.
        """
        data = came.data
        try:
            messages, is_upgraded, _ = self._parser.feed_data(data)
        except HttpProcessingError:
            self._parser = self._make_parser()
            return None
        if len(messages) == 1 and not is_upgraded:
            message, content = messages[0]
            if content.is_eof() and content.total_bytes == body_bytes_in(data):
                if message.should_close:
                    # It takes this for the end of a connection.
                    self._parser = self._make_parser()
                else:
                    self._parser.message_consumed()
                return UnreadRequest(came, message, content, self._send, self._loop)
        self._parser = self._make_parser()
        return None

    def _make_parser(self) -> HttpRequestParser:
        return HttpRequestParser(
            self._protocol, self._loop, DATA_BYTES_MAX, auto_decompress=False
        )
