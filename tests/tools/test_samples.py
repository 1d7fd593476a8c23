from typing import Any

import pytest

from harness.clock import Clock
from harness.errors import InvalidArgumentsError, ToolFailedError
from harness.tools import Deferred, ToolContext, ToolRegistry, ToolResult, sample_tools

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def approvals() -> list[str]:
    """
    Return the orders that an approval was asked for.
    """
    return []


@pytest.fixture
def registry(clock: Clock, approvals: list[str]) -> ToolRegistry:
    """
    Return a registry with the samples.
    """

    async def approve(order_id: str, _context: ToolContext) -> None:
        approvals.append(order_id)

    registry = ToolRegistry(clock=clock)
    for spec, function in sample_tools(None, approve):
        registry.register(spec, function)
    return registry


async def ask(
    registry: ToolRegistry, name: str, arguments: str, context: ToolContext
) -> Any:
    """
    Return the result of a checked call.
    """
    answer = await registry.execute(name, registry.check(name, arguments), context)
    assert isinstance(answer, ToolResult)
    return answer.value


async def test_tells_weather(registry: ToolRegistry, context: ToolContext) -> None:
    """
    The weather of a city has all its fields and is the same whenever it is asked for.
    """
    weather = await ask(registry, "get_weather", '{"city": "Paris"}', context)
    again = await ask(registry, "get_weather", '{"city": "PARIS"}', context)

    assert set(weather) == {
        "city",
        "temperature",
        "unit",
        "condition",
        "humidity",
        "wind_speed",
    }
    assert weather["unit"] == "celsius"
    assert again | {"city": "Paris"} == weather


async def test_converts_unit(registry: ToolRegistry, context: ToolContext) -> None:
    """
    Fahrenheit is the same temperature on another scale.
    """
    celsius = await ask(registry, "get_weather", '{"city": "Oslo"}', context)
    fahrenheit = await ask(
        registry, "get_weather", '{"city": "Oslo", "unit": "fahrenheit"}', context
    )

    assert fahrenheit["temperature"] == round(celsius["temperature"] * 9 / 5 + 32)


async def test_tells_order(registry: ToolRegistry, context: ToolContext) -> None:
    """
    An order has all its fields; its delivery follows from its day.
    """
    order = await ask(
        registry, "query_order", '{"order_id": "ORD-20260228-A0042"}', context
    )

    assert set(order) == {
        "order_id",
        "status",
        "tracking_number",
        "estimated_delivery",
        "total_amount",
        "currency",
    }
    assert order["estimated_delivery"] == "2026-03-05"


@pytest.mark.parametrize(
    "order_id",
    [
        "",
        "42",
        "ORD-20260115-0004",
        "ORD-20260115-000422",
        "ORD-20261315-00042",
        "ORD-20260132-00042",
        "ord-20260115-00042",
        "ORD-20260115-00042\\n",
        "ORD-\\uff12\\uff10260115-00042",
        " ORD-20260115-00042",
    ],
)
@pytest.mark.parametrize("name", ["query_order", "approve_refund"])
def test_checks_order_id(registry: ToolRegistry, name: str, order_id: str) -> None:
    """
    What is no order id is refused before anything is asked.
    """
    with pytest.raises(InvalidArgumentsError, match="order_id"):
        registry.check(name, f'{{"order_id": "{order_id}"}}')


async def test_refuses_day_that_is_none(
    registry: ToolRegistry, context: ToolContext
) -> None:
    """
    An order of the 31st of February was not found.
    """
    with pytest.raises(ToolFailedError, match="no day 20260231"):
        await ask(
            registry, "query_order", '{"order_id": "ORD-20260231-00042"}', context
        )


async def test_asks_for_approval(
    registry: ToolRegistry, context: ToolContext, approvals: list[str]
) -> None:
    """
    A refund is decided later, by whoever was asked.
    """
    answer = await registry.execute(
        "approve_refund", {"order_id": "ORD-20260115-00042"}, context
    )

    assert answer == Deferred()
    assert approvals == ["ORD-20260115-00042"]


async def test_fails_without_approver(clock: Clock, context: ToolContext) -> None:
    """
    Where nobody approves, the model is told so.
    """
    registry = ToolRegistry(clock=clock)
    for spec, function in sample_tools(None, None):
        registry.register(spec, function)

    with pytest.raises(ToolFailedError, match="nobody"):
        await registry.execute("approve_refund", {"order_id": "x"}, context)
