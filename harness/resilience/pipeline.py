"""
Strategies, composed into one way to make a call.

The right order, from the outside in: fallback, total deadline, retry or hedging (one
budget), circuit breaker, bulkhead, rate limiter, attempt timeout, call, classify. The
strategies are data until one short loop wraps them around the call.
"""

import asyncio
import functools
import warnings
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, TypeVar, cast

from harness.bus import EventBus
from harness.clock import Clock
from harness.errors import AttemptTimeoutError, DeadlineExceededError
from harness.events import AttemptEnded, AttemptStarted, OperationRejected
from harness.ids import IdMint
from harness.resilience.adaptive_limiter import AdaptiveLimiter
from harness.resilience.attempt import Attempt, Execution, Handler
from harness.resilience.attempt_timer import AttemptTimer
from harness.resilience.bulkhead import Bulkhead
from harness.resilience.circuit_breaker import CircuitBreaker
from harness.resilience.deadline import (
    Deadline,
    current_deadline,
    earlier,
    enter_deadline,
    leave_deadline,
)
from harness.resilience.hedging import Hedging
from harness.resilience.lint import PipelineOrderWarning, lint_order
from harness.resilience.outcome import CANCELLED, Classified, Classifier, Outcome
from harness.resilience.rate_limiter import RateLimiter
from harness.resilience.retry import Retry
from harness.resilience.statistics import PipelineStatistics
from harness.resilience.strategy import Strategy

T = TypeVar("T")

# A member of an enum is looked up slowly, and these are asked for at every attempt.
_SUCCESS: Final = Outcome.SUCCESS
_FAILURE: Final = Outcome.FAILURE
_BACKPRESSURE: Final = Outcome.BACKPRESSURE

_ROUNDING_S = 1e-3
"""A timer may fire so much early; nothing can be done in what is left then."""


class Pipeline:
    """
    One way to call one destination.

    Args:
        name: The destination, as it stands in events.
        strategies: From the outermost to the innermost; an empty pipeline is one too.
        classify: What an attempt tells; it is asked once per attempt.
        total_timeout_s: The time for a whole call; None for no end but the caller's.
        attempt_timeout_s: The time for one attempt, once all permits are there.
    """

    def __init__(
        self,
        name: str,
        *,
        strategies: Sequence[Strategy] = (),
        classify: Classifier,
        clock: Clock,
        bus: EventBus,
        ids: IdMint | None = None,
        total_timeout_s: float | None = None,
        attempt_timeout_s: float | None = None,
    ) -> None:
        self.name = name
        self.strategies = tuple(strategies)
        for complaint in lint_order(self.strategies):
            warnings.warn(complaint, PipelineOrderWarning, stacklevel=2)
        self.in_flight = 0
        self._calls = 0
        self._successes = 0
        self._failures = 0
        self._backpressures = 0
        self._ignored = 0
        self._classify = classify
        self._clock = clock
        self._bus = bus
        self._ids = ids or IdMint()
        self._total_timeout_s = total_timeout_s
        self._attempt_timeout_s = attempt_timeout_s
        self._timer = (
            None
            if attempt_timeout_s is None
            else AttemptTimer(timeout_s=attempt_timeout_s, clock=clock)
        )
        self._gate = _gate_of(self.strategies)
        self._handler = self._compose()

    async def execute(
        self,
        call: Callable[[Attempt], Awaitable[T]],
        *,
        operation: str,
        deadline: Deadline | None = None,
        idempotency_key: str | None = None,
        tokens: float = 0.0,
        may_hedge: bool = False,
    ) -> T:
        """
        Make the call, as often as the strategies allow, and return its result.

        Args:
            call: Makes one attempt. It is given the attempt, which it may commit.
            operation: The name of what is done; one of few.
            deadline: When the whole call has to be over; the earliest of this, the
                current one and the pipeline's total timeout holds.
            idempotency_key: The key of the call; minted if None.
            tokens: What an attempt costs at a limit on tokens, beside one request.
            may_hedge: Whether the call may be made twice at once: it has no tools and
                no side effects.

        Raises:
            RejectedError: A strategy refused; nothing was attempted by the last try.
            DeadlineExceededError: The time was over.
        """
        self._calls += 1
        if self._gate is not None:
            self._gate.refuse_early(operation)
        execution = Execution(
            operation=operation,
            call=call,
            ids=self._ids,
            idempotency_key=idempotency_key,
            may_hedge=may_hedge,
        )
        attempt = Attempt(execution, deadline=self._deadline(deadline), tokens=tokens)
        token = None
        if attempt.deadline is not current_deadline():
            token = enter_deadline(attempt.deadline)
        self.in_flight += 1
        try:
            return cast("T", await self._handler(attempt))
        except AttemptTimeoutError as error:
            left_s = _remaining_s(attempt.deadline)
            if left_s is None or left_s > _ROUNDING_S:
                raise
            # Not the attempt took too long, but the call as a whole.
            raise DeadlineExceededError(deadline_in_s=left_s) from error
        finally:
            self.in_flight -= 1
            if token is not None:
                leave_deadline(token)

    def statistics(self) -> PipelineStatistics:
        """
        Return what was done so far and how the strategies stand.
        """
        ended = (self._successes, self._failures, self._backpressures, self._ignored)
        standing: dict[str, Any] = {}
        for strategy in self.strategies:
            match strategy:
                case CircuitBreaker():
                    standing["circuit"] = strategy.snapshot()
                case AdaptiveLimiter():
                    standing |= _standing_of(strategy.bulkhead)
                case Bulkhead():
                    standing |= _standing_of(strategy)
                case RateLimiter():
                    standing["rate_available"] = strategy.available()
                    standing["rate_waiting"] = strategy.waiting
                case _:
                    pass
        return PipelineStatistics(
            name=self.name,
            calls=self._calls,
            in_flight=self.in_flight,
            attempts=sum(ended),
            successes=self._successes,
            failures=self._failures,
            backpressures=self._backpressures,
            ignored=self._ignored,
            **standing,
        )

    def _deadline(self, given: Deadline | None) -> Deadline | None:
        around = earlier(given, current_deadline())
        if self._total_timeout_s is None:
            return around
        own_s = self._clock.monotonic() + self._total_timeout_s
        if around is not None and around.at_s <= own_s:
            return around
        return Deadline(self._clock, own_s)

    def _compose(self) -> Handler:
        handler: Handler = self._make
        for strategy in reversed(self.strategies):
            handler = functools.partial(strategy.execute, handler)
        return handler

    async def _make(self, attempt: Attempt) -> Any:
        self._begin(attempt)
        timer = self._timer
        try:
            if timer is None or attempt.timeout_s != timer.timeout_s:
                result = await self._call(attempt)
            else:
                result = await self._call_timed(attempt, timer)
        except BaseException as error:
            self._end(attempt, error)
            raise
        self._end(attempt, None)
        return result

    async def _call_timed(self, attempt: Attempt, timer: AttemptTimer) -> Any:
        """
        Make a call that has the whole attempt timeout: the usual way, without a timer.
        """
        guarded = timer.guard(attempt.started_s)
        try:
            result = await attempt.execution.call(attempt)
        except asyncio.CancelledError as error:
            if timer.release(guarded):
                raise AttemptTimeoutError(timeout_s=timer.timeout_s) from error
            raise
        except BaseException:
            timer.release(guarded)
            raise
        timer.release(guarded)
        return result

    def _begin(self, attempt: Attempt) -> None:
        timeout_s = self._attempt_timeout_s
        attempt.started_s = self._clock.monotonic()
        if attempt.deadline is not None:
            left_s = attempt.deadline.at_s - attempt.started_s
            if left_s <= 0:
                self._bus.publish(
                    OperationRejected(
                        operation=attempt.operation,
                        strategy="deadline",
                        reason="deadline_exceeded",
                    )
                )
                raise DeadlineExceededError(deadline_in_s=left_s)
            timeout_s = left_s if timeout_s is None else min(timeout_s, left_s)
        attempt.timeout_s = timeout_s
        if attempt.on_start is not None:
            attempt.on_start(attempt)
        attempt.execution.attempts += 1
        if self._bus.is_heard:
            self._bus.publish(
                AttemptStarted(
                    operation=attempt.operation, attempt_number=attempt.number
                )
            )

    async def _call(self, attempt: Attempt) -> Any:
        """
        Make a call whose time is its own, as what is left until the deadline.
        """
        if attempt.timeout_s is None:
            return await attempt.execution.call(attempt)
        timeout = self._clock.timeout(attempt.timeout_s)
        try:
            async with timeout:
                return await attempt.execution.call(attempt)
        except TimeoutError as error:
            if timeout.expired():
                raise AttemptTimeoutError(timeout_s=attempt.timeout_s) from error
            raise

    def _end(self, attempt: Attempt, error: BaseException | None) -> None:
        classified = self._judge(error)
        attempt.classified = classified
        attempt.duration_s = self._clock.monotonic() - attempt.started_s
        self._count(classified.outcome)
        if not self._bus.is_heard:
            return
        self._bus.publish(
            AttemptEnded(
                operation=attempt.operation,
                attempt_number=attempt.number,
                outcome=classified.outcome.value,
                reason=classified.reason,
                duration_s=attempt.duration_s,
                status=(
                    attempt.status if classified.status is None else classified.status
                ),
                request_id=attempt.request_id,
            )
        )

    def _count(self, outcome: Outcome) -> None:
        # Compared one by one: a member of an enum hashes slowly.
        if outcome is _SUCCESS:
            self._successes += 1
        elif outcome is _FAILURE:
            self._failures += 1
        elif outcome is _BACKPRESSURE:
            self._backpressures += 1
        else:
            self._ignored += 1

    def _judge(self, error: BaseException | None) -> Classified:
        if error is not None and not isinstance(error, Exception):
            # Whatever the classifier thinks: who was cancelled has seen nothing.
            return CANCELLED
        try:
            return self._classify(error)
        except Exception:  # noqa: BLE001 - a broken classifier must not leak a permit
            return Classified(outcome=Outcome.FAILURE, reason="classifier_failed")


def _gate_of(strategies: Sequence[Strategy]) -> CircuitBreaker | None:
    """
    Return the breaker whose refusal nothing outside of it would make something of.
    """
    for strategy in strategies:
        if isinstance(strategy, CircuitBreaker):
            return strategy
        if isinstance(strategy, Retry) and not strategy.waits_for_circuit:
            continue
        if not isinstance(strategy, Hedging):
            return None
    return None


def _standing_of(bulkhead: Bulkhead) -> dict[str, int]:
    return {
        "concurrency_limit": bulkhead.permits_max,
        "concurrency_in_use": bulkhead.in_use,
        "concurrency_waiting": bulkhead.waiting,
    }


def _remaining_s(deadline: Deadline | None) -> float | None:
    return None if deadline is None else deadline.remaining_s()
