"""
What all strategies have in common.
"""

from enum import StrEnum
from typing import Any, Protocol

from harness.resilience.attempt import Attempt, Handler


class StrategyKind(StrEnum):
    """
    The kinds of strategies, from the outermost to the innermost.
    """

    FALLBACK = "fallback"
    RETRY = "retry"
    HEDGING = "hedging"
    CIRCUIT_BREAKER = "circuit_breaker"
    ADAPTIVE_LIMITER = "adaptive_limiter"
    BULKHEAD = "bulkhead"
    RATE_LIMITER = "rate_limiter"


class Strategy(Protocol):
    """
    Something that stands around a call.
    """

    @property
    def kind(self) -> StrategyKind:
        """
        What it is, for events and for the order.
        """

    async def execute(self, inner: Handler, attempt: Attempt) -> Any:
        """
        Make the attempt by calling ``inner``, or refuse it, or make several.
        """
