"""
The doors of the mock: where clients connect, and a fault that closes the first.
"""

import asyncio
import math
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from mock_server.connection import (
    CONNECTION_OPTIONS,
    AtOnce,
    Handler,
    HandOver,
    QuickServer,
)
from mock_server.core import Core
from mock_server.http_log import http_logger
from mock_server.schedule import is_due, next_change_s

_SHUTDOWN_TIMEOUT_S = 0.25
"""What an answer gets that is under way when the mock stops; hanging ones get none."""

_BACKLOG = 1024


class Door:
    """
    A listener that can be closed and opened again at the same place.

    Args:
        handler: Answers the requests.
        host: Where it listens.
        port: 0 takes a free one, and keeps it.
        at_once: Begins to answer the requests that need no task.
        hand_over: Gives a connection to another process.
        cut_elsewhere: Cuts the connections that were given away.
        tls: What the connections are encrypted with, if they are.
    """

    def __init__(
        self,
        handler: Handler,
        host: str,
        port: int,
        *,
        at_once: AtOnce = lambda _: None,
        hand_over: HandOver | None = None,
        cut_elsewhere: Callable[[], None] = lambda: None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._server = QuickServer(
            handler, at_once, hand_over, logger=http_logger(), **CONNECTION_OPTIONS
        )
        self._cut_elsewhere = cut_elsewhere
        self._tls = tls
        self._runner = web.ServerRunner(
            self._server, shutdown_timeout=_SHUTDOWN_TIMEOUT_S
        )
        self._host = host
        self._site: web.TCPSite | None = None
        self.port = port

    @property
    def is_open(self) -> bool:
        """
        Whether anybody can connect.
        """
        return self._site is not None

    async def open(self) -> None:
        """
        Listen.

        Raises:
            OSError: The port cannot be had.
        """
        if self._site is not None:
            return
        site = web.TCPSite(
            self._runner,
            self._host,
            self.port,
            backlog=_BACKLOG,
            ssl_context=self._tls,
        )
        await site.start()
        self._site = site
        self.port = int(self._runner.addresses[0][1])

    async def close(self) -> None:
        """
        Refuse whoever comes, and cut off whoever is there.
        """
        site, self._site = self._site, None
        if site is None:
            return
        await site.stop()
        for protocol in self._server.connections:
            if protocol.transport is not None:
                protocol.transport.abort()
        self._cut_elsewhere()

    @asynccontextmanager
    async def serving(self, stop: Callable[[], None]) -> AsyncIterator[None]:
        """
        Be open while the context lasts.

        Args:
            stop: Lets everything that hangs end, before the connections are closed.
        """
        await self._runner.setup()
        try:
            await self.open()
            yield
        finally:
            stop()
            await self._runner.cleanup()


class Gatekeeper:
    """
    Closes and opens a door as the faults say that close it.
    """

    def __init__(self, core: Core, door: Door) -> None:
        self._core = core
        self._door = door
        self._changed = asyncio.Event()
        core.injector.watch(self._changed.set)
        core.time.watch(self._changed.set)

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """
        Watch the faults while the context lasts.
        """
        async with asyncio.TaskGroup() as group:
            task = group.create_task(self._watch(), name="watch the door")
            try:
                yield
            finally:
                task.cancel()

    async def _watch(self) -> None:
        core = self._core
        while True:
            self._changed.clear()
            closures = [active.script for active in core.injector.closures]
            now_s = core.time.elapsed_s
            if any(is_due(script, now_s) for script in closures):
                # Nobody could send the first request that would start the time.
                core.time.start_if_needed()
                await self._door.close()
            else:
                await self._door.open()
            times_s = [next_change_s(script, now_s) for script in closures]
            await self._wait_change(min(times_s, default=math.inf) - now_s)

    async def _wait_change(self, delay_s: float) -> None:
        if math.isinf(delay_s) or not self._core.time.is_started:
            await self._changed.wait()
            return
        try:
            async with self._core.clock.timeout(max(0.0, delay_s)):
                await self._changed.wait()
        except TimeoutError:
            return
