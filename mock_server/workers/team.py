"""
The owner's side: it hands connections to workers and answers what they ask.

All state stays in this process (scripts, conversations, quotas, faults, journal,
events, metrics), so several workers are one mock by construction. What is theirs is
the work around it: reading requests, and writing answers with all their waits.
"""

import asyncio
import logging
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from itertools import cycle
from typing import Any, Final, assert_never, cast

from aiohttp import web

from mock_server.connection import Begun
from mock_server.forwarding import (
    Acked,
    Asked,
    Came,
    Channel,
    Closing,
    Cut,
    Ended,
    Forwarded,
    ForwardedRequest,
    FromWorker,
    Gone,
    Ready,
    Returned,
    Setup,
    UnreadReader,
    UnreadRequest,
    Wrote,
)
from mock_server.mock import Mock
from mock_server.writer import WrittenResponse

WORKERS_MAX: Final = 64
"""More processes than that are a mistake."""

_END_TIMEOUT_S: Final = 0.25
"""What answers get that are under way when the mock stops."""

_EXIT_TIMEOUT_S: Final = 2.0
"""What a worker gets to end before it is made to."""

# Made once: a union that is written where it is asked for is made each time.
_REQUESTS: Final = (Came, Asked)

logger = logging.getLogger(__name__)


def refusal_of(workers: int, *, speaks_tls: bool = False) -> str | None:
    """
    Return why so many workers cannot be one mock here; None if they can.
    """
    if not 1 <= workers <= WORKERS_MAX:
        return f"--workers {workers} is not between 1 and {WORKERS_MAX}"
    if workers > 1 and speaks_tls:
        return (
            "--workers: only 1 is possible with TLS, whose connections no other "
            "process can go on with"
        )
    if workers > 1 and not hasattr(socket, "send_fds"):
        return (
            "--workers: only 1 is possible on this platform, which cannot hand an "
            "open connection from one process to another"
        )
    return None


class Helper:
    """
    One worker, seen from here.
    """

    def __init__(self, process: subprocess.Popen[bytes], hand: socket.socket) -> None:
        self.process = process
        self.hand = hand
        self.channel: Channel[Any]
        self.reader: UnreadReader
        self.ready = asyncio.Event()
        """It can take connections, or never will."""

        self.is_lost = False

        self.exchanges: dict[int, tuple[Forwarded, asyncio.Task[None]]] = {}
        """Those that could not be answered at once."""


class WorkerError(Exception):
    """
    A worker ended before it could take any work.
    """

    def __init__(self) -> None:
        super().__init__("a worker could not be started; its words are above")


class Team:
    """
    The workers of one mock.

    Args:
        mock: Decides.
        workers: How many processes there are, this one included.
        lost: Told that a worker has ended by itself.
    """

    def __init__(self, mock: Mock, workers: int, *, lost: Callable[[], None]) -> None:
        self._mock = mock
        self._workers = workers
        self._lost = lost
        self._helpers: list[Helper] = []
        self._turns: Iterator[Helper | None] = cycle([None])
        self._waiting: list[tuple[Helper, Asked | Came]] = []
        self._group: asyncio.TaskGroup | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_ending = False
        self._has_ended = False
        """Some exchange has ended, and its task has not yet run."""

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """
        Have the workers while the context lasts.
        """
        failure: Exception | None = None
        async with asyncio.TaskGroup() as group:
            self._group = group
            try:
                await self._begin()
                yield
            except Exception as error:  # noqa: BLE001 - raised below
                # Inside the group it would come out wrapped in another exception.
                failure = error
            finally:
                await self._stop()
        if failure is not None:
            raise failure

    async def _begin(self) -> None:
        for _ in range(self._workers - 1):
            self._helpers.append(await self._start())
        for helper in self._helpers:
            await helper.ready.wait()
            if helper.is_lost:
                raise WorkerError
        self._turns = cycle([None, *self._helpers])
        self._mock.before_request = self._catch_up

    def hand_over(self, descriptor: int) -> bool:
        """
        Give a connection to whose turn it is; False if that is this process.
        """
        helper = next(self._turns)
        if helper is None:
            return False
        try:
            socket.send_fds(helper.hand, [b"\0"], [descriptor])
        except OSError:
            # It does not keep up, or is gone: then this process does the work.
            return False
        return True

    def cut(self) -> None:
        """
        Cut all connections that were handed over.
        """
        for helper in self._helpers:
            helper.channel.send(Cut())

    async def _start(self) -> Helper:
        ours, theirs = socket.socketpair()
        hand, taken = socket.socketpair()
        with theirs, taken:
            command = [sys.executable, "-m", "mock_server.workers"]
            descriptors = (theirs.fileno(), taken.fileno())
            path = os.pathsep.join(filter(None, sys.path))
            process = subprocess.Popen(  # noqa: ASYNC220, S603 - ours, and it starts at once
                [*command, *map(str, descriptors)],
                pass_fds=descriptors,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                env={**os.environ, "PYTHONPATH": path},
            )
        hand.setblocking(False)  # noqa: FBT003 - its own signature
        helper = Helper(process, hand)
        helper.channel = Channel(
            FromWorker,
            lambda frames: self._take(helper, frames),
            lambda: self._lose(helper),
        )
        helper.reader = UnreadReader(helper.channel.send, asyncio.get_running_loop())
        await helper.channel.open(ours)
        limits = self._mock.core.limits
        helper.channel.send(
            Setup(
                limits.request_body_bytes_max,
                limits.request_read_timeout_s,
                limits.journal_body_bytes_max,
            )
        )
        return helper

    async def _stop(self) -> None:
        self._is_ending = True
        self._mock.before_request = None
        for helper in self._helpers:
            helper.channel.send(Closing())
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=_END_TIMEOUT_S)
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        for helper in self._helpers:
            helper.channel.close()
            helper.hand.close()
            try:
                await asyncio.to_thread(helper.process.wait, _EXIT_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                helper.process.kill()
                helper.process.wait()

    def _lose(self, helper: Helper) -> None:
        for http, task in list(helper.exchanges.values()):
            http.connection.lose()
            task.cancel()
        helper.is_lost = True
        if not helper.ready.is_set():
            helper.ready.set()
        elif not self._is_ending:
            self._lost()

    # What comes in -------------------------------------------------------------------

    def _take(self, helper: Helper, frames: list[FromWorker]) -> None:
        self._sort(helper, frames)
        if self._waiting:
            self._serve_waiting()

    def _catch_up(self) -> bool:
        """
        Learn of everything that has ended, before another request is looked at.

        A client may ask again, at another process, as soon as it has its answer. That
        its answer has ended was said before it was sent, so it is here already.

        Returns:
            Some task has to run first.
        """
        for helper in self._helpers:
            if helper.exchanges:
                self._sort(helper, helper.channel.read_now())
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._serve_waiting)
        has_ended, self._has_ended = self._has_ended, False
        return has_ended

    def _sort(self, helper: Helper, frames: list[FromWorker]) -> None:
        for frame in frames:
            if isinstance(frame, _REQUESTS):
                self._waiting.append((helper, frame))
                continue
            if isinstance(frame, Ready):
                helper.ready.set()
                continue
            found = helper.exchanges.get(frame.number)
            if found is None:
                continue
            http, task = found
            match frame:
                case Wrote():
                    if http.shipment is not None:
                        http.shipment.end(frame)
                        self._has_ended = True
                case Acked(data_bytes=data_bytes):
                    http.connection.acknowledge(data_bytes)
                case Gone():
                    # What became of a plan is told by who carries it out.
                    if http.shipment is None:
                        http.connection.lose()
                        task.cancel()
                case _:
                    assert_never(frame)

    def _serve_waiting(self) -> None:
        batch, self._waiting = self._waiting, []
        if not batch:
            return
        if self._catch_up():
            asyncio.get_running_loop().call_soon(self._serve_batch, batch)
        else:
            self._serve_batch(batch)

    def _serve_batch(self, batch: list[tuple[Helper, Asked | Came]]) -> None:
        for helper in self._helpers:
            helper.channel.hold()
        try:
            for helper, asked in batch:
                self._serve(helper, asked)
        finally:
            for helper in self._helpers:
                helper.channel.flush()

    def _serve(self, helper: Helper, asked: Asked | Came) -> None:
        if self._group is None or self._is_ending:
            return
        http: Forwarded | None
        if isinstance(asked, Came):
            http = helper.reader.read(asked)
            if http is None:
                helper.channel.send(Returned(asked.number))
                return
        else:
            loop = asyncio.get_running_loop()
            http = ForwardedRequest.of(asked, helper.channel.send, loop)
        answering = self._mock.begin_answer(http)
        rest: Awaitable[web.StreamResponse]
        if answering is None:
            if isinstance(http, UnreadRequest):
                http = http.for_aiohttp()
            rest = self._mock.answer(http)
        elif isinstance(answering, WrittenResponse):
            self._end(helper, http, answering)
            return
        else:
            try:
                rest = Begun(answering, answering.send(None))
            except StopIteration as end:
                self._end(helper, http, end.value)
                return
        http.connection.release()
        task = self._group.create_task(self._finish(helper, http, rest))
        helper.exchanges[http.number] = (http, task)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(
        self,
        helper: Helper,
        http: Forwarded,
        rest: Awaitable[web.StreamResponse],
    ) -> None:
        try:
            response = await rest
            if not isinstance(response, WrittenResponse):
                await response.prepare(cast("ForwardedRequest", http))
                await response.write_eof()
        except ConnectionError:
            logger.debug("the client of a worker is gone")
        except Exception:
            logger.exception("a request of a worker failed")
            http.connection.drop()
        else:
            self._end(helper, http, response)
        finally:
            del helper.exchanges[http.number]

    @staticmethod
    def _end(helper: Helper, http: Forwarded, response: web.StreamResponse) -> None:
        if http.shipment is None:
            data = http.connection.end()
            is_kept_alive = bool(response.keep_alive)
            helper.channel.send(Ended(http.number, data, is_kept_alive))
