"""
Three tools to begin with: two that answer and one whose result comes later.

With a backend they ask it. Without one they answer from sample data that depends on
the arguments alone, so that the same question has the same answer everywhere.
"""

import hashlib
from collections.abc import Awaitable, Callable, Sequence
from datetime import date, timedelta
from typing import Any, Final

from harness.errors import ToolFailedError
from harness.tools.backend import ToolBackend, backend_function
from harness.tools.model import Deferred, ToolContext, ToolFunction, ToolSpec

Approve = Callable[[str, ToolContext], Awaitable[None]]
"""Asks somebody to approve the refund of an order; the answer comes by webhook."""

# The day is one of the month's, and \Z would be the end of the text in Python only:
# ``maxLength`` is what refuses a line feed behind the last character.
_ORDER_ID: Final = {
    "type": "string",
    "description": "Like ORD-20260115-00042: the day of the order and its number.",
    "pattern": "^ORD-[0-9]{4}(0[1-9]|1[0-2])(0[1-9]|[12][0-9]|3[01])-[A-Z0-9]{5}$",
    "maxLength": 18,
}

GET_WEATHER: Final = ToolSpec(
    name="get_weather",
    description="Tell the current weather of a city.",
    parameters={
        "type": "object",
        "properties": {
            "city": {
                "type": "string",
                "description": "Name of the city.",
                "minLength": 1,
                "maxLength": 100,
            },
            "unit": {
                "type": "string",
                "enum": ["celsius", "fahrenheit"],
                "default": "celsius",
            },
        },
        "required": ["city"],
        "additionalProperties": False,
    },
)

QUERY_ORDER: Final = ToolSpec(
    name="query_order",
    description="Tell the status, the delivery and the amount of an order.",
    parameters={
        "type": "object",
        "properties": {"order_id": _ORDER_ID},
        "required": ["order_id"],
        "additionalProperties": False,
    },
)

APPROVE_REFUND: Final = ToolSpec(
    name="approve_refund",
    description="Ask for the approval of an order's refund; somebody has to decide.",
    parameters={
        "type": "object",
        "properties": {"order_id": _ORDER_ID},
        "required": ["order_id"],
        "additionalProperties": False,
    },
    deferred=True,
)

_CONDITIONS: Final = ("sunny", "cloudy", "rainy", "windy", "foggy", "snowy")
_STATUSES: Final = ("processing", "shipped", "in_transit", "delivered")
_DELIVERY_DAYS: Final = 5


def sample_tools(
    backend: ToolBackend | None, approve: Approve | None
) -> Sequence[tuple[ToolSpec, ToolFunction]]:
    """
    Return the three tools with what runs them.

    Args:
        backend: Who runs them; None for sample data.
        approve: Who is asked for refunds where there is no backend.
    """
    if backend is not None:
        return tuple(
            (spec, backend_function(backend, spec.name))
            for spec in (GET_WEATHER, QUERY_ORDER, APPROVE_REFUND)
        )
    return (
        (GET_WEATHER, _get_weather),
        (QUERY_ORDER, _query_order),
        (APPROVE_REFUND, _approver(approve)),
    )


def _get_weather(arguments: dict[str, Any], _context: ToolContext) -> dict[str, Any]:
    city = arguments["city"]
    unit = arguments.get("unit", "celsius")
    draw = _draws("weather", city.casefold())
    celsius = draw(45) - 10
    return {
        "city": city,
        "temperature": celsius if unit == "celsius" else round(celsius * 9 / 5 + 32),
        "unit": unit,
        "condition": _CONDITIONS[draw(len(_CONDITIONS))],
        "humidity": 30 + draw(65),
        "wind_speed": draw(60),
    }


def _query_order(arguments: dict[str, Any], _context: ToolContext) -> dict[str, Any]:
    order_id = arguments["order_id"]
    draw = _draws("order", order_id)
    return {
        "order_id": order_id,
        "status": _STATUSES[draw(len(_STATUSES))],
        "tracking_number": f"SF{draw(10**10):010d}",
        "estimated_delivery": _delivery_day(order_id),
        "total_amount": (1000 + draw(99_000)) / 100,
        "currency": "CNY",
    }


def _delivery_day(order_id: str) -> str:
    digits = order_id.split("-")[1]
    try:
        ordered = date.fromisoformat(f"{digits[:4]}-{digits[4:6]}-{digits[6:]}")
    except ValueError as error:
        # The schema lets 31 days pass in every month.
        raise ToolFailedError(
            tool=QUERY_ORDER.name, reason=f"there is no day {digits}"
        ) from error
    return (ordered + timedelta(days=_DELIVERY_DAYS)).isoformat()


def _approver(approve: Approve | None) -> ToolFunction:
    async def run(arguments: dict[str, Any], context: ToolContext) -> Deferred:
        if approve is None:
            raise ToolFailedError(
                tool=APPROVE_REFUND.name, reason="there is nobody to approve"
            )
        await approve(arguments["order_id"], context)
        return Deferred()

    return run


def _draws(*keys: str) -> Callable[[int], int]:
    state = int.from_bytes(hashlib.sha256("\x1f".join(keys).encode()).digest())

    def draw(values: int) -> int:
        nonlocal state
        state, value = divmod(state, values)
        return value

    return draw
