from collections.abc import AsyncIterator

import aiohttp
import pytest

from harness.clock import Clock
from harness.errors import ToolFailedError
from harness.ids import IdMint
from harness.tools import (
    Deferred,
    ToolBackend,
    ToolContext,
    ToolRegistry,
    ToolResult,
    sample_tools,
)
from mock_server import MockOptions, running_mock
from mock_server.script import MockScript

pytestmark = pytest.mark.virtual_time

SCRIPT = {
    "tools": {
        "get_weather": {"result": {"city": "Paris", "temperature": 22}},
        "query_order": {"error": {"code": "not_found", "message": "no such order"}},
        "approve_refund": {"deferred": True, "result": {"approved": True}},
    }
}


@pytest.fixture
async def registry(
    session: aiohttp.ClientSession, clock: Clock, ids: IdMint
) -> AsyncIterator[ToolRegistry]:
    """
    Return the sample tools, run by the mock.
    """
    script = MockScript.model_validate(SCRIPT)
    async with running_mock(script, MockOptions(port=0)) as mock:
        backend = ToolBackend(session=session, base_url=mock.url, clock=clock, ids=ids)
        registry = ToolRegistry(clock=clock)
        for spec, function in sample_tools(backend, None):
            registry.register(spec, function)
        yield registry


async def test_runs_tools_of_mock(registry: ToolRegistry, context: ToolContext) -> None:
    """
    The mock's results, failures and deferrals are taken for what they are.
    """
    order = {"order_id": "ORD-20260115-00042"}

    weather = await registry.execute("get_weather", {"city": "Paris"}, context)
    refund = await registry.execute("approve_refund", order, context)
    with pytest.raises(ToolFailedError) as caught:
        await registry.execute("query_order", order, context)

    assert weather == ToolResult({"city": "Paris", "temperature": 22})
    assert refund == Deferred()
    assert caught.value.reason == "it answered 500: no such order"
