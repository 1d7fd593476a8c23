"""
Writes a plan to a connection, byte for byte.

Everything else in the mock decides; this is the only place that touches a transport.
It needs no real socket: in-memory transports serve as well.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from email.utils import formatdate
from enum import StrEnum
from functools import lru_cache
from http import HTTPStatus
from typing import Final, assert_never

from aiohttp import HttpVersion11, web
from aiohttp.abc import AbstractStreamWriter
from msgspec import Struct
from msgspec.structs import replace

from mock_server.clock import Clock
from mock_server.http_request import HttpRequest
from mock_server.wire import (
    Chunk,
    Close,
    CutAfter,
    End,
    EndIf,
    Hang,
    Head,
    Pace,
    Plan,
    Repeat,
    Reset,
    Step,
    Wait,
)

_LINGER_NONE = struct.pack("ii", 1, 0)
_NO_BODY = frozenset({204, 304})
_WHOLE_STEPS = 3
PENDING_BYTES_MAX = 64 * 1024
"""So much gathers at most before it is sent."""


class Outcome(StrEnum):
    """
    How an exchange ended.
    """

    COMPLETE = "complete"
    CUT = "cut"
    """Closed in the middle of the answer."""

    RESET = "reset"
    CLOSED = "closed"
    """Closed before the first byte."""

    ABANDONED = "abandoned"
    """The client went away first."""

    HUNG = "hung"
    """Nothing more was sent until the mock was stopped."""

    # That of enums is no faster than a function, and every request is counted by it.
    __hash__ = str.__hash__


_COMPLETE: Final = Outcome.COMPLETE


class Written(Struct):
    """
    What came of a plan.
    """

    status: int | None = None
    """None while no status line was sent."""

    headers: tuple[tuple[str, str], ...] = ()
    outcome: Outcome = Outcome.HUNG
    planned_s: float = 0.0
    """The waits of the plan and of its latencies, as far as it came."""

    depends_on: tuple[str, ...] = ()
    """What besides the seed decided the waits: ``clock``, ``load``, or nothing."""

    body: bytes | bytearray = b""
    """The first bytes of the body, before any framing."""

    body_bytes: int = 0


class WrittenResponse(web.StreamResponse):
    """
    Tells aiohttp that the answer is out, and whether the connection lives on.
    """

    def __init__(self, *, keep_alive: bool) -> None:
        super().__init__()
        self._is_kept_alive = keep_alive

    @property
    def keep_alive(self) -> bool:
        """
        Whether another request may follow.
        """
        return self._is_kept_alive

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """
        Send nothing: the headers are out.
        """
        del request
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """
        Send nothing: the body is out.
        """
        del data


KEPT = WrittenResponse(keep_alive=True)
LAST = WrittenResponse(keep_alive=False)


def write_whole(
    request: HttpRequest,
    plan: Plan,
    *,
    clock: Clock,
    body_kept_max: int,
    late_headers: tuple[tuple[str, str], ...],
) -> tuple[web.StreamResponse, Written] | None:
    """
    Write an answer that is one body and waits for nothing; None if it is not such.

    It sends the bytes that :class:`PlanWriter` would send, in a fraction of the time.
    """
    if len(plan) != _WHOLE_STEPS:
        return None
    head, chunk, end = plan
    transport = request.transport
    if (
        type(head) is not Head
        or type(chunk) is not Chunk
        or type(end) is not End
        or head.status in _NO_BODY
        or len(chunk.data) > PENDING_BYTES_MAX
        or request.method == "HEAD"
        or request.version != HttpVersion11
        or transport is None
        or transport.is_closing()
        or request.protocol.writing_paused
    ):
        return None
    data = chunk.data
    lines = [f"{name}: {value}\r\n" for name, value in head.headers]
    text = _start_line(1, 1, head.status) + "".join(lines)
    if "\r\ncontent-length: " not in text or "\r\ndate: " in text:
        return None
    for name, value in late_headers:
        text += f"{name}: {value}\r\n"
    is_kept = request.keep_alive
    if not is_kept and "\r\nconnection: " not in text:
        text += "connection: close\r\n"
    text += f"date: {_date(int(clock.wall()))}\r\n\r\n"
    transport.write(text.encode() + data)
    length = len(data)
    written = Written(
        status=head.status,
        headers=head.headers,
        outcome=_COMPLETE,
        body=data if length <= body_kept_max else data[:body_kept_max],
        body_bytes=length,
    )
    return (KEPT if is_kept else LAST), written


class PlanWriter:
    """
    Writes one plan.

    Args:
        request: Whose connection it is.
        clock: For the waits.
        delay_of: How long a chunk of that pace waits, by its number; None: not at all.
        closing: Set when the mock stops; a hanging answer then ends.
        body_kept_max: How much of the body :class:`Written` keeps.
        late_headers: Headers that are known only when the head is sent.
        foretell: Told how it ends in the moment before the client can know.
    """

    def __init__(
        self,
        request: HttpRequest,
        *,
        clock: Clock,
        delay_of: Callable[[Pace, int], float] | None,
        closing: asyncio.Event,
        body_kept_max: int,
        late_headers: Callable[[], tuple[tuple[str, str], ...]] = tuple,
        foretell: Callable[[Written], None] | None = None,
    ) -> None:
        self._request = request
        self._clock = clock
        self._delay_of = delay_of
        self._closing = closing
        self._body_kept_max = body_kept_max
        self._late_headers = late_headers
        self._foretell = foretell
        self._unsent: Head | None = None
        """It waits for its first chunk."""

        self._names: set[str] = set()
        """The headers that it has."""

        self._pending: list[bytes] = []
        """What leaves together, because nothing is waited for in between."""

        self._pending_bytes = 0
        self._is_chunked = False
        self._is_bodiless = False
        self._outputs = 0
        self._is_ended = False
        self._body = bytearray()
        self.written = Written(body=self._body)

    async def write(self, plan: Plan) -> web.StreamResponse:
        """
        Write the plan and return what aiohttp is to be given.

        Raises:
            asyncio.CancelledError: The client went away, or the mock is being stopped;
                :attr:`written` says which.
        """
        try:
            await self._write_steps(plan)
        except ConnectionError:
            self._note_end(Outcome.ABANDONED)
        except asyncio.CancelledError:
            is_gone = self._request.transport is None
            self._note_end(Outcome.ABANDONED if is_gone else Outcome.HUNG)
            raise
        is_complete = self.written.outcome is Outcome.COMPLETE
        return KEPT if is_complete and self._request.keep_alive else LAST

    async def _write_steps(self, plan: Plan) -> None:
        for number, step in enumerate(plan):
            if type(step) is Chunk:
                delay_s = self._delay_before(step)
                if delay_s > 0:
                    await self._wait(delay_s)
                self._take_chunk(step.data)
                if self._pending_bytes > PENDING_BYTES_MAX:
                    await self._flush()
            elif isinstance(step, CutAfter):
                await self._write_until_cut(step, plan[number + 1 :])
            else:
                await self._write_step(step)
            if self._is_ended:
                return
        # A plan that does not say how it ends is complete.
        await self._end()

    async def _write_until_cut(self, cut: CutAfter, plan: Plan) -> None:
        planned_s = self.written.planned_s
        scope = self._clock.timeout(cut.delay_s)
        try:
            async with scope:
                await self._write_steps(plan)
        except TimeoutError:
            if not scope.expired():
                raise
            self.written.planned_s = planned_s + cut.delay_s
            await self._write_step(cut.cut)

    async def _write_step(self, step: Step) -> None:
        match step:
            case Head():
                self._take_head(step)
            case Wait(delay_s=delay_s):
                await self._flush()
                await self._wait(delay_s)
            case Repeat():
                await self._repeat(step)
            case CutAfter() | Chunk():
                # They are dealt with before.
                pass
            case _:
                await self._write_end(step)

    async def _write_end(self, step: End | EndIf | Close | Reset | Hang) -> None:
        match step:
            case End():
                await self._end()
            case EndIf(is_over=is_over):
                if is_over():
                    await self._end()
            case Close():
                await self._close()
            case Reset():
                await self._reset()
            case Hang():
                await self._flush()
                await self._closing.wait()
                self._note_end(Outcome.HUNG)
            case _:
                assert_never(step)

    def _take_head(self, head: Head) -> None:
        request = self._request
        self._names = {name.lower() for name, _ in head.headers}
        self._is_bodiless = head.status in _NO_BODY or request.method == "HEAD"
        self._is_chunked = not (
            "content-length" in self._names
            or self._is_bodiless
            or request.version < (1, 1)
        )
        self._unsent = head

    def _encode_head(self, head: Head) -> bytes:
        request = self._request
        headers = [*head.headers, *self._late_headers()]
        if head.status in _NO_BODY:
            headers = [header for header in headers if header[0] != "content-length"]
        if "date" not in self._names:
            headers.append(("date", _date(int(self._clock.wall()))))
        if self._is_chunked:
            headers.append(("transfer-encoding", "chunked"))
        if not request.keep_alive and "connection" not in self._names:
            headers.append(("connection", "close"))
        start = _start_line(request.version[0], request.version[1], head.status)
        lines = [f"{name}: {value}\r\n" for name, value in headers]
        return f"{start}{''.join(lines)}\r\n".encode()

    def _delay_before(self, chunk: Chunk) -> float:
        if self._delay_of is None or chunk.pace is Pace.NONE:
            return 0.0
        delay_s = self._delay_of(chunk.pace, self._outputs)
        self._outputs += 1
        return delay_s

    def _take_chunk(self, data: bytes) -> None:
        """
        Have the bytes sent with what comes next, or before the next wait.
        """
        written = self.written
        length = len(data)
        written.body_bytes += length
        room = self._body_kept_max - len(self._body)
        if room > 0:
            self._body += data if length <= room else data[:room]
        if self._is_bodiless or not data:
            return
        if self._is_chunked:
            data = b"%x\r\n%b\r\n" % (length, data)
        self._pending.append(data)
        self._pending_bytes += length

    async def _repeat(self, step: Repeat) -> None:
        while not self._closing.is_set():
            await self._flush()
            # Without any wait a client that reads quickly would keep the loop busy.
            await self._clock.sleep(step.interval_s)
            self._take_chunk(step.data)
        self._note_end(Outcome.HUNG)

    async def _wait(self, delay_s: float) -> None:
        if delay_s > 0:
            if self._pending:
                await self._flush()
            self.written.planned_s += delay_s
            await self._clock.sleep(delay_s)

    async def _flush(self) -> None:
        """
        Send what has gathered, the head with it.
        """
        pending = self._pending
        if self._unsent is not None:
            head, self._unsent = self._unsent, None
            pending.insert(0, self._encode_head(head))
            self.written.status = head.status
            self.written.headers = head.headers
        if not pending:
            return
        transport = self._request.transport
        if transport is None or transport.is_closing():
            message = "the client is gone"
            raise ConnectionResetError(message)
        transport.write(pending[0] if len(pending) == 1 else b"".join(pending))
        pending.clear()
        self._pending_bytes = 0
        await self._request.writer.drain()

    async def _end(self) -> None:
        if self._is_chunked:
            self._pending.append(b"0\r\n\r\n")
        self._tell_ahead(Outcome.COMPLETE)
        await self._flush()
        self._note_end(Outcome.COMPLETE)

    async def _close(self) -> None:
        """
        Close with FIN: what was written arrives, and then the end.
        """
        await self._flush()
        is_begun = self.written.status is not None
        outcome = Outcome.CUT if is_begun else Outcome.CLOSED
        self._tell_ahead(outcome)
        self._note_end(outcome)
        if (transport := self._request.transport) is not None:
            transport.close()

    async def _reset(self) -> None:
        """
        Close with RST, once what was written has left.
        """
        await self._flush()
        self._tell_ahead(Outcome.RESET)
        self._note_end(Outcome.RESET)
        transport = self._request.transport
        if not isinstance(transport, asyncio.Transport):
            return
        # aborting drops what the transport still holds
        is_encrypted = transport.get_extra_info("sslcontext") is not None
        # an encrypted one counts itself full when it holds as much as its limit
        transport.set_write_buffer_limits(high=1 if is_encrypted else 0)
        await self._request.writer.drain()
        connection = transport.get_extra_info("socket")
        with contextlib.suppress(OSError, AttributeError):
            # A close that may not linger sends RST. An in-memory transport, whose
            # socket is a fake, resets when it is aborted.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
        transport.abort()

    def _tell_ahead(self, outcome: Outcome) -> None:
        """
        Tell of the end, unless it is not sure yet that it will be this one.
        """
        transport = self._request.transport
        if (
            self._foretell is None
            or transport is None
            or transport.is_closing()
            or self._request.protocol.writing_paused
        ):
            return
        written, head = self.written, self._unsent
        if head is not None:
            written = replace(written, status=head.status, headers=head.headers)
        self._foretell(replace(written, outcome=outcome))

    def _note_end(self, outcome: Outcome) -> None:
        if not self._is_ended:
            self._is_ended = True
            self.written.outcome = outcome


@lru_cache(maxsize=4)
def date_line(wall_s: int) -> str:
    """
    Return the header that tells the date, as it is sent.
    """
    return f"date: {_date(wall_s)}\r\n"


@lru_cache(maxsize=4)
def _date(wall_s: int) -> str:
    return formatdate(wall_s, usegmt=True)


@lru_cache(maxsize=256)
def _start_line(major: int, minor: int, status: int) -> str:
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Status"
    return f"HTTP/{major}.{minor} {status} {phrase}\r\n"
