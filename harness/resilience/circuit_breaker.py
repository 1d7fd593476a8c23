"""
Stops calling a peer that fails, and finds out gently when it is well again.

The decisions are those of :class:`harness.resilience.circuit.Circuit`; here they get
a clock, a bus and calls. A breaker belongs to one event loop and takes no lock:
nothing in it awaits. Its news is told after each step is done, so that a listener may
call the breaker again.
"""

import asyncio
import contextlib
import functools
import random
from collections.abc import Iterator
from typing import Any, Final

from harness.bus import EventBus
from harness.clock import Clock
from harness.errors import CircuitOpenError
from harness.events import CircuitChanged, Event, OperationRejected
from harness.resilience.attempt import Attempt, Handler
from harness.resilience.circuit import Circuit, CircuitPermit, CircuitRefusal
from harness.resilience.circuit_state import (
    CircuitEvent,
    CircuitSnapshot,
    CircuitState,
)
from harness.resilience.options import CircuitBreakerOptions
from harness.resilience.outcome import Outcome
from harness.resilience.strategy import StrategyKind

# A member of an enum is looked up slowly, and so is its value.
_CLOSED: Final = CircuitState.CLOSED
_OPEN: Final = CircuitState.OPEN
_OPEN_NAME: Final = CircuitState.OPEN.value
_ISOLATED_NAME: Final = CircuitState.ISOLATED.value


class CircuitBreaker:
    """
    The circuit of one destination.

    Args:
        name: The destination, as it stands in events.
        draws: Where the jitter of the break comes from.
    """

    kind = StrategyKind.CIRCUIT_BREAKER

    def __init__(
        self,
        name: str,
        *,
        options: CircuitBreakerOptions,
        clock: Clock,
        bus: EventBus,
        draws: random.Random,
    ) -> None:
        self.name = name
        self._clock = clock
        self._bus = bus
        self._circuit = Circuit(
            name, options=options, now_s=clock.monotonic(), draws=draws
        )
        self._since_s = clock.wall()
        self._timer: asyncio.TimerHandle | None = None
        self._is_telling = False

    @property
    def state(self) -> CircuitState:
        """
        The state; an open circuit stays open until a call asks for admission.
        """
        return self._circuit.state

    def admit(self, *, queued: bool = False) -> CircuitPermit:
        """
        Let a call through, or refuse it.

        Args:
            queued: Whether the call has to wait for other permits first. The lease
                of a probe then runs from :meth:`start`.

        Raises:
            CircuitOpenError: The circuit does not let this call through; a fresh
                error each time.
        """
        circuit = self._circuit
        # A closed circuit does not ask for the time.
        is_closed = circuit.state is _CLOSED
        now_s = 0.0 if is_closed else self._clock.monotonic()
        answer = circuit.admit(now_s)
        if circuit.news:
            self._tell()
        if isinstance(answer, CircuitRefusal):
            raise self._error(answer)
        if not queued:
            self.start(answer)
        return answer

    def room(self) -> int | None:
        """
        Return how many calls would be let through at this moment, None for any number.
        """
        return self._circuit.room(self._clock.monotonic())

    def refuses_for_s(self) -> float:
        """
        Return for how long nothing is let through from here on; 0 unless it is open.
        """
        circuit = self._circuit
        if circuit.state is not _OPEN:
            return 0.0
        return circuit.refuses_for_s(self._clock.monotonic())

    def refuse_early(self, operation: str) -> None:
        """
        Refuse a call that would be refused anyway, before anything is done for it.

        Raises:
            CircuitOpenError: The circuit lets nothing through at this moment.
        """
        circuit = self._circuit
        # Compared one by one: this path is hot, and a member of an enum hashes slowly.
        if circuit.state is _CLOSED:
            return
        refuses_for_s = circuit.refuse_early(self._clock.monotonic())
        if refuses_for_s is None:
            return
        is_open = circuit.state is _OPEN
        raise self._told(
            operation,
            CircuitOpenError(
                circuit=self.name,
                state=_OPEN_NAME if is_open else _ISOLATED_NAME,
                retry_after_s=refuses_for_s,
            ),
        )

    def start(self, permit: CircuitPermit) -> None:
        """
        Say that an admitted call begins: the lease of a probe runs from here.
        """
        if permit.started_s is None:
            permit.started_s = self._clock.monotonic()

    def settle(
        self,
        permit: CircuitPermit,
        outcome: Outcome,
        *,
        duration_s: float = 0.0,
        retry_after_s: float | None = None,
    ) -> None:
        """
        Take in how a call ended.

        Args:
            permit: What the call was admitted with; a second time changes nothing.
            outcome: What the call said about the peer.
            duration_s: How long it took.
            retry_after_s: What a failing answer asked for; a break is at least that
                long, within its limit.
        """
        self._circuit.settle(
            permit,
            outcome,
            self._clock.monotonic(),
            duration_s=duration_s,
            retry_after_s=retry_after_s,
        )
        if self._circuit.news:
            self._tell()

    @contextlib.contextmanager
    def permit(self) -> Iterator[CircuitPermit]:
        """
        Hold a permit while inside; it is settled as ignored if nobody else did.

        Raises:
            CircuitOpenError: The circuit does not let this call through.
        """
        permit = self.admit()
        try:
            yield permit
        finally:
            self.settle(permit, Outcome.IGNORED)

    async def execute(self, inner: Handler, attempt: Attempt) -> Any:
        """
        Make an attempt if the circuit lets it through, and learn from how it ends.
        """
        try:
            permit = self.admit(queued=True)
        except CircuitOpenError as error:
            self._told(attempt.operation, error)
            raise
        attempt.on_start = functools.partial(self._start_queued, permit)
        try:
            return await inner(attempt)
        finally:
            self._settle_attempt(permit, attempt)

    def open(self) -> None:
        """
        Open for one break, as if a rule had asked for it.
        """
        self._go(CircuitEvent.OPENED_BY_HAND)

    def half_open(self) -> None:
        """
        End the break and let probes through.

        Raises:
            TransitionError: The circuit is not open.
        """
        self._go(CircuitEvent.HALF_OPENED_BY_HAND)

    def close(self) -> None:
        """
        Close, whatever the state is.
        """
        self._go(CircuitEvent.CLOSED_BY_HAND)

    def isolate(self) -> None:
        """
        Refuse everything until somebody says otherwise.
        """
        self._go(CircuitEvent.ISOLATED_BY_HAND)

    def disable(self) -> None:
        """
        Let everything through and look at nothing.
        """
        self._go(CircuitEvent.DISABLED_BY_HAND)

    def observe(self) -> None:
        """
        Let everything through and say when the circuit would have opened.
        """
        self._go(CircuitEvent.OBSERVED_BY_HAND)

    def reset(self) -> None:
        """
        Close and forget everything; outcomes of calls under way no longer count.
        """
        self._go(CircuitEvent.RESET)

    def change(self, options: CircuitBreakerOptions) -> None:
        """
        Go on by other rules while calls are under way; nothing that was counted is lost.

        The rules are judged at the next outcome, and a break that has begun keeps its
        end.
        """
        self._circuit.change(options, self._clock.monotonic())
        self._set_timer()

    def snapshot(self) -> CircuitSnapshot:
        """
        Return the circuit as it stands.
        """
        circuit = self._circuit
        now_s = self._clock.monotonic()
        samples, failed, slow = circuit.health.samples(now_s)
        return CircuitSnapshot(
            name=self.name,
            state=circuit.state,
            since_s=self._since_s,
            retry_after_s=self.refuses_for_s(),
            failures=circuit.health.failures,
            probes=len(circuit.probes),
            successes=circuit.successes,
            rejections=circuit.rejections,
            generation=circuit.generation,
            samples=samples,
            failed_samples=failed,
            slow_samples=slow,
        )

    def _start_queued(self, permit: CircuitPermit, attempt: Attempt) -> None:
        refusal = self._circuit.recall(permit, attempt.started_s)
        if refusal is None:
            permit.started_s = attempt.started_s
            return
        raise self._told(attempt.operation, self._error(refusal))

    def _error(self, refusal: CircuitRefusal) -> CircuitOpenError:
        return CircuitOpenError(
            circuit=self.name,
            state=refusal.state.value,
            retry_after_s=refusal.retry_after_s,
        )

    def _told(self, operation: str, error: CircuitOpenError) -> CircuitOpenError:
        """
        Tell of a refusal and return it.

        Whoever raises it keeps no name for it: a frame that holds the error which its
        traceback holds stays until somebody looks for garbage.
        """
        if self._bus.is_heard:
            self._bus.publish(
                OperationRejected(
                    operation=operation,
                    strategy=self.kind.value,
                    reason=error.reason,
                    retry_after_s=error.retry_after_s,
                    circuit=self.name,
                )
            )
        return error

    def _settle_attempt(self, permit: CircuitPermit, attempt: Attempt) -> None:
        classified = attempt.classified
        if classified is None:
            # Refused further in, or cancelled while it waited there.
            self.settle(permit, Outcome.IGNORED)
            return
        self.settle(
            permit,
            classified.outcome,
            duration_s=attempt.duration_s,
            retry_after_s=classified.retry_after_s,
        )
        if self._circuit.state is _OPEN:
            attempt.blocked_s = self._circuit.refuses_for_s(self._clock.monotonic())

    def _go(self, event: CircuitEvent) -> None:
        self._circuit.go(event, self._clock.monotonic())
        self._tell()

    def _tell(self) -> None:
        news = self._circuit.news
        if self._is_telling or not news:
            return
        self._is_telling = True
        try:
            while news:
                event = news.popleft()
                self._note(event)
                self._bus.publish(event)
        finally:
            self._is_telling = False

    def _note(self, event: Event) -> None:
        if not isinstance(event, CircuitChanged):
            return
        self._since_s = self._clock.wall()
        self._set_timer()

    def _set_timer(self) -> None:
        circuit = self._circuit
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if circuit.options.auto_half_open and circuit.state is CircuitState.OPEN:
            self._timer = self._clock.call_at(circuit.open_until_s, self._end_break)

    def _end_break(self) -> None:
        self._circuit.end_break(self._clock.monotonic())
        self._tell()
