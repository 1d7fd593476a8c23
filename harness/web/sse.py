"""
Server-sent events to one listener.
"""

import asyncio
from typing import Any

import orjson
from aiohttp import web

from harness.orchestrator import CallerLeftError

_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
}


class EventStream:
    """
    Writes events; the answer begins with the first of them.

    A failure before the first event can therefore still be an ordinary error answer.
    """

    def __init__(self, request: web.Request) -> None:
        self.response = web.StreamResponse(headers=_HEADERS)
        self._request = request
        self._writing = asyncio.Lock()

    @property
    def is_started(self) -> bool:
        """
        Whether the head of the answer was sent.
        """
        return self.response.prepared

    async def start(self) -> None:
        """
        Send the head, if it was not sent.
        """
        await self._write(b"")

    async def send(self, name: str, data: Any) -> None:
        """
        Send one event; waits while the listener does not read.

        Raises:
            CallerLeftError: The connection is closed.
        """
        await self.send_raw(name, orjson.dumps(data))

    async def send_raw(self, name: str, data: bytes) -> None:
        """
        Send one event whose data are JSON already.

        Raises:
            CallerLeftError: The connection is closed.
        """
        await self._write(b"event: %b\ndata: %b\n\n" % (name.encode(), data))

    async def comment(self, text: str) -> None:
        """
        Send a comment, which keeps the connection alive and says nothing.

        Raises:
            CallerLeftError: The connection is closed.
        """
        await self._write(b": %b\n\n" % text.encode())

    async def end(self) -> None:
        """
        Send the end of the answer, if there is still somebody to take it.
        """
        try:
            async with self._writing:
                await self.response.write_eof()
        except ConnectionError:
            return

    async def _write(self, data: bytes) -> None:
        try:
            # Events of concurrent tool calls come from several tasks.
            async with self._writing:
                if not self.response.prepared:
                    await self.response.prepare(self._request)
                if data:
                    await self.response.write(data)
        except ConnectionError as error:
            message = "the connection is closed"
            raise CallerLeftError(message) from error
