"""
Makes another attempt when that may help, and says why when it does not.

Whether to retry is a function of values; doing it is a loop around that. What one
call needs to remember is kept with that call, never with the strategy.
"""

import random
from dataclasses import dataclass
from typing import Any, Final

from harness.bus import EventBus
from harness.clock import Clock
from harness.errors import CircuitOpenError, DeadlineExceededError
from harness.events import RetryGaveUp, RetryScheduled
from harness.resilience.attempt import Attempt, Handler
from harness.resilience.backoff import delay_s
from harness.resilience.budget import Budget
from harness.resilience.circuit_state import CircuitState
from harness.resilience.options import RetryOptions
from harness.resilience.outcome import Classified, Outcome
from harness.resilience.strategy import StrategyKind

_ASKED_JITTER_MAX_S = 1.0

# A member of an enum is looked up slowly, and this one is asked for at every attempt.
_SUCCESS: Final = Outcome.SUCCESS


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryIn:
    """
    Another attempt follows.
    """

    delay_s: float
    reason: str
    asked_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GiveUp:
    """
    No other attempt follows.
    """

    reason: str


def next_step(
    classified: Classified,
    *,
    options: RetryOptions,
    attempt_number: int,
    committed: bool,
    backoff_s: float,
    blocked_s: float | None,
    remaining_s: float | None,
    draws: random.Random,
) -> RetryIn | GiveUp:
    """
    Say what follows an attempt that failed; the budget is not asked here.

    Args:
        classified: What the attempt told.
        options: The rules.
        attempt_number: Of the attempt that failed.
        committed: Whether output of the call reached the caller.
        backoff_s: The delay that the backoff proposes.
        blocked_s: How long the circuit refuses calls, None if it does not.
        remaining_s: What is left until the deadline, None if there is none.
        draws: Where the jitter of a wait that was asked for comes from.
    """
    reason = _why_not(
        classified,
        options=options,
        attempt_number=attempt_number,
        committed=committed,
    )
    if reason is not None:
        return GiveUp(reason=reason)
    asked_s = classified.retry_after_s
    # The unclamped wait is compared: a shorter one would come back too early.
    wait_s = backoff_s if asked_s is None else max(backoff_s, asked_s)
    if blocked_s is not None:
        if wait_s < blocked_s and not options.waits_for_circuit:
            return GiveUp(reason="circuit_open")
        wait_s = max(wait_s, blocked_s)
    if remaining_s is not None and wait_s >= remaining_s:
        return GiveUp(reason="deadline")
    if asked_s is not None:
        jitter_s = min(options.retry_after_jitter_share * asked_s, _ASKED_JITTER_MAX_S)
        if remaining_s is not None:
            # What fits without the jitter has to fit with it.
            jitter_s = min(jitter_s, (remaining_s - wait_s) / 2)
        wait_s += draws.uniform(0, jitter_s)
    return RetryIn(delay_s=wait_s, reason=classified.reason, asked_s=asked_s)


def _why_not(
    classified: Classified,
    *,
    options: RetryOptions,
    attempt_number: int,
    committed: bool,
) -> str | None:
    asked_s = classified.retry_after_s
    if committed:
        return "committed"
    if not classified.retryable:
        return "permanent"
    if attempt_number >= options.attempts_max:
        return "attempts_max"
    if asked_s is not None and asked_s > options.retry_after_max_s:
        return "retry_after_max"
    return None


@dataclass(slots=True)
class _Progress:
    """
    What one call remembers between its attempts.
    """

    retries: int = 0
    previous_s: float | None = None
    has_waited_for_circuit: bool = False
    last_error: Exception | None = None


class Retry:
    """
    The retries of one destination.

    Args:
        budget: Shared with whoever else makes further attempts; None for no limit.
        draws: Where the jitter comes from.
    """

    kind = StrategyKind.RETRY

    def __init__(
        self,
        *,
        options: RetryOptions,
        budget: Budget | None,
        clock: Clock,
        bus: EventBus,
        draws: random.Random,
    ) -> None:
        self._options = options
        self._budget = budget
        self._clock = clock
        self._bus = bus
        self._draws = draws

    @property
    def waits_for_circuit(self) -> bool:
        """
        Whether a call that an open circuit refused may wait for it.
        """
        return self._options.waits_for_circuit

    async def execute(self, inner: Handler, attempt: Attempt) -> Any:
        """
        Make attempts until one succeeds or another one would make no sense.

        The error of the last attempt leaves. A refusal after a failed attempt names
        that attempt's error as its cause.
        """
        progress = _Progress()
        budget = self._budget
        if budget is not None:
            budget.begin()
        current = attempt
        try:
            while True:
                try:
                    return await inner(current)
                except Exception as error:
                    wait_s = self._plan(current, error, progress)
                    was_made = current.classified is not None
                    if wait_s is None:
                        if was_made or progress.last_error is None:
                            raise
                        raise error from progress.last_error
                    if was_made:
                        progress.last_error = error
                finally:
                    self._record(current.classified)
                    attempt.classified = current.classified
                await self._clock.sleep(wait_s)
                current = current.another()
        finally:
            # It holds this frame, which holds it: apart they are freed at once.
            progress.last_error = None
            if budget is not None:
                budget.end(retries=progress.retries)

    def _plan(
        self, attempt: Attempt, error: Exception, progress: _Progress
    ) -> float | None:
        """
        Return the delay before the next attempt; None if there is none to be.
        """
        step = self._step(attempt, error, progress)
        number = attempt.execution.attempts
        if isinstance(step, RetryIn):
            self._bus.publish(
                RetryScheduled(
                    operation=attempt.operation,
                    attempt_number=number,
                    delay_s=step.delay_s,
                    reason=step.reason,
                    asked_s=step.asked_s,
                )
            )
            return step.delay_s
        if number:
            self._bus.publish(
                RetryGaveUp(
                    operation=attempt.operation,
                    attempt_number=number,
                    reason=step.reason,
                )
            )
        return None

    def _step(
        self, attempt: Attempt, error: Exception, progress: _Progress
    ) -> RetryIn | GiveUp:
        if attempt.classified is None:
            return self._after_rejection(attempt, error, progress)
        backoff_s = delay_s(
            self._options.backoff,
            attempt.number,
            draws=self._draws,
            previous_s=progress.previous_s,
        )
        progress.previous_s = backoff_s
        step = next_step(
            attempt.classified,
            options=self._options,
            attempt_number=attempt.number,
            committed=attempt.committed,
            backoff_s=backoff_s,
            blocked_s=attempt.blocked_s,
            remaining_s=_remaining_s(attempt),
            draws=self._draws,
        )
        if isinstance(step, GiveUp) or self._budget is None:
            return step
        if not self._budget.withdraw():
            return GiveUp(reason="budget")
        progress.retries += 1
        return step

    def _after_rejection(
        self, attempt: Attempt, error: Exception, progress: _Progress
    ) -> RetryIn | GiveUp:
        if isinstance(error, DeadlineExceededError):
            return GiveUp(reason="deadline")
        if (
            not self._options.waits_for_circuit
            or progress.has_waited_for_circuit
            or not isinstance(error, CircuitOpenError)
            or error.state != CircuitState.OPEN
            or error.retry_after_s is None
        ):
            return GiveUp(reason="rejected")
        remaining_s = _remaining_s(attempt)
        if remaining_s is not None and error.retry_after_s >= remaining_s:
            return GiveUp(reason="deadline")
        progress.has_waited_for_circuit = True
        return RetryIn(delay_s=error.retry_after_s, reason=error.reason)

    def _record(self, classified: Classified | None) -> None:
        if self._budget is None or classified is None:
            return
        succeeded = classified.outcome is _SUCCESS
        if succeeded or classified.retryable:
            self._budget.record(succeeded=succeeded)


def _remaining_s(attempt: Attempt) -> float | None:
    return None if attempt.deadline is None else attempt.deadline.remaining_s()
