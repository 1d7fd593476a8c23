"""
The mock as an aiohttp application.
"""

import aiohttp
import pytest
from aiohttp import web

from mock_server import LoopClock, create_app
from mock_server.documents import parse_document
from mock_server.script import script_of

pytestmark = pytest.mark.virtual_time


async def test_serves_every_surface_in_somebody_else_s_runner(
    clock: LoopClock,
) -> None:
    """
    The application answers like the server, also when no fault hits, and cleans up.
    """
    text = "tools: {t: {result: 1}}"
    script = script_of(parse_document(text, file="script"))
    runner = web.AppRunner(create_app(script, clock=clock), handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}"

    async with aiohttp.ClientSession() as session:
        async with session.post(f"{url}/tools/t", json={}) as response:
            tool = await response.json()
        async with session.get(f"{url}/_mock/health") as response:
            health = await response.json()
        headers = {"expect": "100-continue"}
        async with session.post(f"{url}/tools/t", json={}, headers=headers) as response:
            careful = response.status
    await runner.cleanup()

    assert tool == 1
    assert health["status"] == "ok"
    assert careful == 200
