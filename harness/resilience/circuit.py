"""
A circuit without clock, bus and waiting: what it decides, as a function of the time.

A permit remembers the generation in which it was granted. An outcome of another
generation changes nothing, so that a late answer neither closes nor opens a circuit
that has moved on.
"""

import collections
import random
from dataclasses import dataclass
from typing import Final

from harness.errors import TransitionError
from harness.events import (
    CircuitChanged,
    CircuitWouldHaveOpened,
    Event,
    ProbeEnded,
    ProbeExpired,
    ProbeStarted,
    StaleOutcomeIgnored,
)
from harness.resilience.circuit_health import CircuitHealth, TripRule
from harness.resilience.circuit_state import TRANSITIONS, CircuitEvent, CircuitState
from harness.resilience.options import CircuitBreakerOptions
from harness.resilience.outcome import Outcome

PROBE_RETRY_AFTER_S: Final = 1.0
"""What a call is told that found all probe slots taken."""

BREAK_MAX_FACTOR: Final = 10.0
"""A break grows to so many times the first one, if nothing else is said."""

# A member of an enum is looked up slowly, and these are asked for at every call.
_CLOSED: Final = CircuitState.CLOSED
_OPEN: Final = CircuitState.OPEN
_DISABLED: Final = CircuitState.DISABLED
_IGNORED: Final = Outcome.IGNORED
_FAILURE: Final = Outcome.FAILURE
_BACKPRESSURE: Final = Outcome.BACKPRESSURE

_ROUNDING_S: Final = 1e-6
_ADMITS_FREELY: Final = frozenset(
    {CircuitState.CLOSED, CircuitState.DISABLED, CircuitState.OBSERVING}
)


class CircuitPermit:
    """
    The right to make one call, to be settled once.
    """

    __slots__ = ("generation", "has_expired", "is_over", "is_probe", "started_s")

    def __init__(self, *, generation: int, is_probe: bool) -> None:
        self.generation = generation
        self.is_probe = is_probe
        self.is_over = False
        self.has_expired = False
        self.started_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitRefusal:
    """
    A call that was not let through.
    """

    state: CircuitState
    retry_after_s: float


class Circuit:
    """
    The state machine of one circuit.

    Attributes:
        news: What happened and was not told yet, oldest first.
    """

    def __init__(
        self,
        name: str,
        *,
        options: CircuitBreakerOptions,
        now_s: float,
        draws: random.Random,
    ) -> None:
        self.name = name
        self.options = options
        self.state = CircuitState.CLOSED
        self.generation = 1
        self.health = CircuitHealth(options=options, now_s=now_s)
        self.open_until_s = now_s
        self.probes: dict[CircuitPermit, None] = {}
        self.successes = 0
        self.rejections = 0
        self.news: collections.deque[Event] = collections.deque()
        self._draws = draws
        self._backpressure_run = 0
        self._next_break_s = options.break_duration_s
        self._observed: set[TripRule] = set()

    def admit(self, now_s: float) -> CircuitPermit | CircuitRefusal:
        """
        Let a call through, or refuse it.
        """
        if self.state is _CLOSED or self.state in _ADMITS_FREELY:
            return CircuitPermit(generation=self.generation, is_probe=False)
        self.end_break(now_s)
        if self.state is not CircuitState.HALF_OPEN:
            return self._refuse(self.refuses_for_s(now_s))
        self._expire_probes(now_s)
        if len(self.probes) >= self.options.probes_max:
            return self._refuse(PROBE_RETRY_AFTER_S)
        permit = CircuitPermit(generation=self.generation, is_probe=True)
        self.probes[permit] = None
        self.news.append(
            ProbeStarted(
                circuit=self.name, generation=self.generation, probes=len(self.probes)
            )
        )
        return permit

    def room(self, now_s: float) -> int | None:
        """
        Return how many calls would be let through, None for any number; changes nothing.
        """
        if self.state in _ADMITS_FREELY:
            return None
        if self.state is CircuitState.HALF_OPEN:
            lost = sum(self._is_lost(permit, now_s) for permit in self.probes)
            return max(self.options.probes_max - len(self.probes) + lost, 0)
        if self.state is CircuitState.OPEN and self._break_is_over(now_s):
            return self.options.probes_max
        return 0

    def refuse_early(self, now_s: float) -> float | None:
        """
        Refuse a call if nothing is let through, and return for how long that is so.

        Returns:
            None if the call has to ask for admission.
        """
        if self.state is _OPEN:
            left_s = self.open_until_s - now_s
            if left_s <= _ROUNDING_S:
                return None
            self.rejections += 1
            return left_s
        if self.state is not CircuitState.ISOLATED:
            return None
        self.rejections += 1
        return self.refuses_for_s(now_s)

    def recall(self, permit: CircuitPermit, now_s: float) -> CircuitRefusal | None:
        """
        Refuse a call that was let through, if the circuit has moved on meanwhile.

        A call may queue for other permits after it was admitted. It must not reach a
        peer that was found to be down since then.
        """
        if permit.generation == self.generation or self.state in _ADMITS_FREELY:
            return None
        if self.state is CircuitState.HALF_OPEN:
            return self._refuse(PROBE_RETRY_AFTER_S)
        return self._refuse(self.refuses_for_s(now_s))

    def settle(
        self,
        permit: CircuitPermit,
        outcome: Outcome,
        now_s: float,
        *,
        duration_s: float = 0.0,
        retry_after_s: float | None = None,
    ) -> None:
        """
        Take in how a call ended; a second time changes nothing.
        """
        if permit.is_over:
            return
        permit.is_over = True
        if permit.has_expired or permit.generation != self.generation:
            if outcome is _IGNORED and permit.started_s is None:
                # The call was never made: there is no outcome to speak of.
                return
            self.news.append(
                StaleOutcomeIgnored(
                    circuit=self.name,
                    generation=permit.generation,
                    outcome=outcome.value,
                )
            )
            return
        failed = self._weigh(outcome)
        slow = self._is_slow(duration_s)
        if permit.is_probe:
            self._end_probe(permit, outcome, failed=failed, slow=slow)
            if failed is not None:
                self._decide(now_s, failed=failed or slow, asked_s=retry_after_s)
        elif failed is not None and self.state is not _DISABLED:
            self._learn(now_s, failed=failed, slow=slow, asked_s=retry_after_s)

    def change(self, options: CircuitBreakerOptions, now_s: float) -> None:
        """
        Go on by other rules, with the state and what was counted as they are.

        The rules are judged at the next outcome; a break that has begun keeps its end,
        because callers were told of it. The next one is the first of its length again.
        """
        self.options = options
        self.health.change(options, now_s)
        self._next_break_s = options.break_duration_s

    def end_break(self, now_s: float) -> None:
        """
        Become half-open if the break is over.
        """
        if self.state is CircuitState.OPEN and self._break_is_over(now_s):
            self.go(CircuitEvent.BREAK_ELAPSED, now_s)

    def refuses_for_s(self, now_s: float) -> float:
        """
        Return how long calls are refused for certain.
        """
        match self.state:
            case CircuitState.OPEN:
                return max(self.open_until_s - now_s, 0.0)
            case CircuitState.ISOLATED:
                # Nobody knows; a break is as good a guess as any.
                return self.options.break_duration_s
            case _:
                return 0.0

    def go(
        self,
        event: CircuitEvent,
        now_s: float,
        *,
        reason: str = "",
        asked_s: float | None = None,
    ) -> None:
        """
        Take a step of the table; staying in a state is no step, unless it is a reset.

        Args:
            event: What happened.
            now_s: When it happened.
            reason: The cause, if the event alone does not say it.
            asked_s: The ``Retry-After`` of the answer that was the cause.

        Raises:
            TransitionError: The table does not have this step.
        """
        target = TRANSITIONS.get((self.state, event))
        if target is None:
            raise TransitionError(
                circuit=self.name, state=self.state.value, event=event.value
            )
        source = self.state
        if target is source and event is not CircuitEvent.RESET:
            return
        failures = self.health.failures
        self._enter(target, now_s, asked_s)
        if target is source:
            return
        is_open = target is CircuitState.OPEN
        self.news.append(
            CircuitChanged(
                circuit=self.name,
                from_state=source.value,
                to_state=target.value,
                reason=reason or event.value,
                generation=self.generation,
                failures=failures,
                break_duration_s=self.open_until_s - now_s if is_open else None,
            )
        )

    def _enter(self, state: CircuitState, now_s: float, asked_s: float | None) -> None:
        self.state = state
        self.generation += 1
        self.probes.clear()
        self.successes = 0
        self.rejections = 0
        self._backpressure_run = 0
        self._observed.clear()
        if state is CircuitState.OPEN:
            # The samples stay: they say why it opened.
            self.open_until_s = now_s + self._begin_break(asked_s)
        elif state is CircuitState.HALF_OPEN:
            self.health.forget_samples(now_s)
        else:
            self.health.forget(now_s)
        if state is CircuitState.CLOSED:
            self._next_break_s = self.options.break_duration_s

    def _begin_break(self, asked_s: float | None) -> float:
        options = self.options
        break_s = self._next_break_s
        self._next_break_s = min(break_s * options.break_factor, self._break_max_s())
        if options.break_jitter:
            break_s *= 1 + options.break_jitter * self._draws.random()
        if asked_s is not None and options.honours_retry_after:
            break_s = max(break_s, min(asked_s, self._break_max_s()))
        return break_s

    def _break_is_over(self, now_s: float) -> bool:
        return now_s >= self.open_until_s - _ROUNDING_S

    def _break_max_s(self) -> float:
        options = self.options
        if options.break_max_s is None:
            return options.break_duration_s * BREAK_MAX_FACTOR
        return options.break_max_s

    def _refuse(self, retry_after_s: float) -> CircuitRefusal:
        self.rejections += 1
        return CircuitRefusal(state=self.state, retry_after_s=retry_after_s)

    def _expire_probes(self, now_s: float) -> None:
        lease_s = self.options.probe_lease_s
        for permit in list(self.probes):
            if not self._is_lost(permit, now_s):
                continue
            permit.has_expired = True
            del self.probes[permit]
            self.news.append(
                ProbeExpired(
                    circuit=self.name, generation=self.generation, lease_s=lease_s
                )
            )

    def _is_lost(self, permit: CircuitPermit, now_s: float) -> bool:
        """
        Return whether a probe has gone without an outcome for its whole lease.
        """
        if permit.started_s is None:
            return False
        return now_s - permit.started_s >= self.options.probe_lease_s - _ROUNDING_S

    def _weigh(self, outcome: Outcome) -> bool | None:
        """
        Return whether an outcome counts as failed, None if it does not count.
        """
        if outcome is _IGNORED:
            return None
        if outcome is not _BACKPRESSURE:
            self._backpressure_run = 0
            return outcome is _FAILURE
        threshold = self.options.backpressure_threshold
        self._backpressure_run += 1
        if threshold is None or self._backpressure_run < threshold:
            return None
        self._backpressure_run = 0
        return True

    def _is_slow(self, duration_s: float) -> bool:
        options = self.options
        return options.slow_ratio is not None and duration_s > options.slow_call_s

    def _end_probe(
        self,
        permit: CircuitPermit,
        outcome: Outcome,
        *,
        failed: bool | None,
        slow: bool,
    ) -> None:
        del self.probes[permit]
        if failed is False and not slow:
            self.successes += 1
        self.news.append(
            ProbeEnded(
                circuit=self.name,
                generation=self.generation,
                outcome=outcome.value,
                successes=self.successes,
            )
        )

    def _decide(self, now_s: float, *, failed: bool, asked_s: float | None) -> None:
        self.health.count(failed=failed)
        if failed:
            self.go(CircuitEvent.PROBE_FAILED, now_s, asked_s=asked_s)
        elif self.successes >= self.options.successes_to_close:
            self.go(CircuitEvent.PROBES_SUCCEEDED, now_s)

    def _learn(
        self, now_s: float, *, failed: bool, slow: bool, asked_s: float | None
    ) -> None:
        broken = self.health.record(now_s, failed=failed, slow=slow)
        if not broken:
            return
        if self.state is CircuitState.CLOSED:
            self.go(
                CircuitEvent.TRIPPED, now_s, reason=broken[0].value, asked_s=asked_s
            )
            return
        for rule in broken:
            if rule not in self._observed:
                self._observed.add(rule)
                self.news.append(
                    CircuitWouldHaveOpened(
                        circuit=self.name,
                        reason=rule.value,
                        generation=self.generation,
                        failures=self.health.failures,
                    )
                )
