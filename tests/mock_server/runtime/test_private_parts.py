"""
What a connection needs of aiohttp's private parts, pinned.
"""

import asyncio
from collections import deque

import pytest
from aiohttp import web
from aiohttp.http_parser import HttpRequestParser

from mock_server.connection import CONNECTION_OPTIONS


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("_messages", deque),
        ("_waiter", asyncio.Future | None),
        ("_parser", HttpRequestParser),
        ("_manager", web.Server),
        ("_task_handler", asyncio.Task | None),
        ("_keepalive_handle", asyncio.Handle | None),
        ("_next_keepalive_close_time", float),
        ("_keepalive", bool),
        ("_close", bool),
        ("_reading_paused", bool),
        ("_buffer_paused", bool),
    ],
)
async def test_a_connection_has_the_parts_that_are_used(name: str, kind: type) -> None:
    """
    A connection of aiohttp still keeps its state where ours looks for it.
    """

    async def answer(http: web.BaseRequest) -> web.StreamResponse:
        del http
        return web.Response()

    connection = web.Server(answer, **CONNECTION_OPTIONS)()

    assert isinstance(getattr(connection, name), kind)
    assert callable(connection._process_keepalive)
    assert callable(connection._request_handler)
