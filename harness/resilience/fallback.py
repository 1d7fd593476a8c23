"""
Answers with something lesser when a call was refused.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

from harness.bus import EventBus
from harness.errors import RejectedError
from harness.events import FallbackUsed
from harness.resilience.attempt import Attempt, Handler
from harness.resilience.strategy import StrategyKind

REFUSALS: Final[tuple[type[Exception], ...]] = (RejectedError,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Degraded:
    """
    A result that is not what was asked for; the mark cannot be overlooked.
    """

    value: Any
    error: Exception
    """Why."""


class Fallback:
    """
    The lesser answers of one destination.

    Args:
        answer: Gives one, knowing the error.
        errors: What is answered so; anything else leaves as it is, and cancellation
            always does.
    """

    kind = StrategyKind.FALLBACK

    def __init__(
        self,
        *,
        answer: Callable[[Exception], Awaitable[Any]],
        bus: EventBus,
        errors: tuple[type[Exception], ...] = REFUSALS,
    ) -> None:
        self._answer = answer
        self._bus = bus
        self._errors = errors

    async def execute(self, inner: Handler, attempt: Attempt) -> Any:
        """
        Make the call, and return a :class:`Degraded` result where it was refused.

        An error of the fallback itself leaves, with the refusal as its cause.
        """
        try:
            return await inner(attempt)
        except self._errors as error:
            refusal = error
        try:
            value = await self._answer(refusal)
        except Exception as failure:
            raise failure from refusal
        reason = getattr(refusal, "reason", type(refusal).__name__)
        self._bus.publish(FallbackUsed(operation=attempt.operation, reason=reason))
        return Degraded(value=value, error=refusal)
