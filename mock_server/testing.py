"""
A mock in a test, and a client that sees every byte.

HTTP libraries hide what faults do: they join chunks, drop connections quietly and
retry. This client writes a request as bytes, and keeps all bytes of the answer and the
way the connection ended.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import orjson

from mock_server.app import RunningMock, running_mock
from mock_server.clock import Clock, LoopClock
from mock_server.documents import parse_document
from mock_server.events import Record
from mock_server.options import MockOptions
from mock_server.script import script_of

_READ_BYTES = 65536
_WAIT_S = 3600.0


class Ending(StrEnum):
    """
    How a connection ended, as the client saw it.
    """

    CLOSED = "closed"
    RESET = "reset"
    STILL_OPEN = "still_open"
    """The client waited long enough and left."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawAnswer:
    """
    Everything that came back on a connection.
    """

    raw: bytes
    ending: Ending
    first_byte_s: float | None
    """From the end of the request to the first byte."""

    last_byte_s: float
    """From the end of the request to the end of the connection, or of the patience."""

    @property
    def head(self) -> bytes:
        """
        The status line and the headers; nothing if they never came.
        """
        head, separator, _ = self.raw.partition(b"\r\n\r\n")
        return head if separator else b""

    @property
    def status(self) -> int | None:
        """
        The status; None if it never came.
        """
        return int(self.head.split(b" ")[1]) if self.head else None

    @property
    def headers(self) -> dict[str, str]:
        """
        The headers, in lower case; the last one wins.
        """
        lines = self.head.decode().split("\r\n")[1:]
        pairs = (line.split(": ", 1) for line in lines)
        return {name.lower(): value for name, value in pairs}

    @property
    def framed(self) -> bytes:
        """
        What came after the headers, as it stood on the wire.
        """
        return self.raw.partition(b"\r\n\r\n")[2]

    @property
    def chunks(self) -> list[bytes]:
        """
        The whole chunks of a chunked body, the empty last one included if it came.
        """
        left = self.framed
        chunks = []
        while b"\r\n" in left:
            size, _, rest = left.partition(b"\r\n")
            length = int(size, 16)
            if len(rest) < length + 2:
                break
            chunks.append(rest[:length])
            left = rest[length + 2 :]
        return chunks

    @property
    def body(self) -> bytes:
        """
        The body without its framing, as far as it came.
        """
        if self.headers.get("transfer-encoding") == "chunked":
            return b"".join(self.chunks)
        return self.framed

    @property
    def is_whole(self) -> bool:
        """
        Whether the framing says that nothing is missing.
        """
        if self.headers.get("transfer-encoding") == "chunked":
            return self.chunks[-1:] == [b""]
        return len(self.framed) == int(self.headers.get("content-length", -1))

    @property
    def json(self) -> Any:
        """
        The body as JSON.
        """
        return orjson.loads(self.body)

    @property
    def events(self) -> list[bytes]:
        """
        The data of the stream's events.
        """
        events = self.body.split(b"\n\n")
        return [event.removeprefix(b"data: ") for event in events if event]

    @property
    def named_events(self) -> list[tuple[str, Any]]:
        """
        The stream's events as the Responses API sends them: each name, each value.
        """
        named = []
        for event in self.body.split(b"\n\n"):
            name, separator, data = event.partition(b"\ndata: ")
            if separator:
                text = name.removeprefix(b"event: ").decode()
                named.append((text, orjson.loads(data)))
        return named


@dataclass(slots=True)
class MockInTest:
    """
    A running mock, what it published, and a client of it.
    """

    running: RunningMock
    clock: Clock
    records: list[Record] = field(default_factory=list)

    def of(self, *kinds: str) -> list[Record]:
        """
        Return the published records of these kinds.
        """
        return [record for record in self.records if record["kind"] in kinds]

    async def send(
        self,
        method: str,
        path: str,
        body: object = b"",
        *,
        headers: Mapping[str, str] | None = None,
        wait_s: float = _WAIT_S,
    ) -> RawAnswer:
        """
        Send a request on a connection of its own and read until that ends.

        Args:
            method: Of the request.
            path: With the query.
            body: Bytes as they are; anything else as JSON.
            headers: Besides host, length and ``connection: close``.
            wait_s: How long to wait for the end before leaving.
        """
        data = body if isinstance(body, bytes) else orjson.dumps(body)
        fields = {
            "host": f"{self.running.host}:{self.running.port}",
            "connection": "close",
            "content-length": str(len(data)),
            **(headers or {}),
        }
        lines = [f"{method} {path} HTTP/1.1", *(f"{k}: {v}" for k, v in fields.items())]
        return await self.send_bytes(
            ("\r\n".join(lines) + "\r\n\r\n").encode() + data, wait_s=wait_s
        )

    async def send_bytes(self, request: bytes, *, wait_s: float = _WAIT_S) -> RawAnswer:
        """
        Send bytes on a connection of their own and read until that ends.
        """
        running = self.running
        reader, writer = await asyncio.open_connection(running.host, running.port)
        try:
            writer.write(request)
            # The mock may have had enough before all of it was sent.
            with suppress(ConnectionError):
                await writer.drain()
            return await self._read(reader, wait_s)
        finally:
            writer.close()

    async def _read(self, reader: asyncio.StreamReader, wait_s: float) -> RawAnswer:
        started_s = self.clock.monotonic()
        first_byte_s = None
        raw = b""
        ending = Ending.CLOSED
        try:
            async with self.clock.timeout(wait_s):
                while piece := await reader.read(_READ_BYTES):
                    if not raw:
                        first_byte_s = self.clock.monotonic() - started_s
                    raw += piece
        except ConnectionError:
            ending = Ending.RESET
        except TimeoutError:
            ending = Ending.STILL_OPEN
        return RawAnswer(
            raw=raw,
            ending=ending,
            first_byte_s=first_byte_s,
            last_byte_s=self.clock.monotonic() - started_s,
        )

    async def chat(
        self,
        message: str = "hello",
        *,
        stream: bool = False,
        model: str = "gpt-4o",
        api_key: str = "sk-test",
        headers: Mapping[str, str] | None = None,
        wait_s: float = _WAIT_S,
        **more: object,
    ) -> RawAnswer:
        """
        Ask for a chat completion.
        """
        body = {
            "model": model,
            "messages": [{"role": "user", "content": message}],
            "stream": stream,
            **more,
        }
        return await self.send(
            "POST",
            "/v1/chat/completions",
            body,
            headers={"authorization": f"Bearer {api_key}", **(headers or {})},
            wait_s=wait_s,
        )

    async def respond(
        self,
        given: object = "hello",
        *,
        model: str = "gpt-4o",
        api_key: str = "sk-test",
        headers: Mapping[str, str] | None = None,
        wait_s: float = _WAIT_S,
        **more: object,
    ) -> RawAnswer:
        """
        Ask for a response of the Responses API.
        """
        return await self.send(
            "POST",
            "/v1/responses",
            {"model": model, "input": given, **more},
            headers={"authorization": f"Bearer {api_key}", **(headers or {})},
            wait_s=wait_s,
        )


@asynccontextmanager
async def mock_in_test(
    script: str = "{}",
    options: MockOptions | None = None,
    *,
    clock: Clock | None = None,
) -> AsyncIterator[MockInTest]:
    """
    Run a mock on a free port while the context lasts.

    Args:
        script: YAML or JSON.
        options: Everything else; by default what :class:`MockOptions` says.
        clock: Time; by default that of the running loop.
    """
    clock = clock or LoopClock()
    document = parse_document(script, file="script")
    options = options or MockOptions(port=0)
    async with running_mock(
        script_of(document), options, clock=clock, source=document.data
    ) as running:
        mock = MockInTest(running, clock)
        running.mock.core.events.listen(mock.records.append)
        yield mock
