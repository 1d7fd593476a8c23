"""
The circuit against a naive model, over sequences that hypothesis makes up.
"""

import random
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
)

from harness.events import CircuitChanged
from harness.resilience import (
    Circuit,
    CircuitBreakerOptions,
    CircuitEvent,
    CircuitPermit,
    CircuitState,
    Outcome,
)

LEASE_S = 7.0
FIRST = CircuitBreakerOptions(
    failure_threshold=3,
    break_duration_s=10.0,
    probes_max=2,
    successes_to_close=2,
    probe_lease_s=LEASE_S,
)


class Model:
    """
    What a circuit with the consecutive rule has to do, said as plainly as possible.
    """

    def __init__(self) -> None:
        self.rules = FIRST
        self.state = "closed"
        self.failures = 0
        self.until_s = 0.0
        self.successes = 0
        self.era = 0
        self.probes: dict[int, float] = {}

    def enter(self, state: str, now_s: float) -> None:
        """
        Begin a new era.
        """
        self.state, self.era = state, self.era + 1
        self.successes, self.probes = 0, {}
        if state == "open":
            self.until_s = now_s + self.rules.break_duration_s
        elif state != "half_open":
            self.failures = 0

    def admit(self, key: int, now_s: float) -> bool:
        """
        Return whether a call gets in.
        """
        if self.state == "open" and now_s >= self.until_s:
            self.enter("half_open", now_s)
        if self.state == "half_open":
            self.probes = {
                probe: start_s
                for probe, start_s in self.probes.items()
                if now_s < start_s + LEASE_S
            }
            if len(self.probes) >= self.rules.probes_max:
                return False
            self.probes[key] = now_s
            return True
        return self.state in {"closed", "disabled", "observing"}

    def settle(self, key: int, era: int, outcome: Outcome, now_s: float) -> None:
        """
        Take in an outcome.
        """
        if era != self.era:
            return
        if self.state == "half_open" and self.probes.pop(key, None) is None:
            return
        if outcome in {Outcome.IGNORED, Outcome.BACKPRESSURE}:
            return
        if self.state == "disabled":
            return
        failed = outcome is Outcome.FAILURE
        self.failures = self.failures + 1 if failed else 0
        if self.state == "half_open":
            self.successes += not failed
            if failed:
                self.enter("open", now_s)
            elif self.successes >= self.rules.successes_to_close:
                self.enter("closed", now_s)
        elif self.state == "closed" and failed and self.failures >= self.threshold:
            self.enter("open", now_s)

    @property
    def threshold(self) -> int:
        """
        So many failures in a row open it.
        """
        return self.rules.failure_threshold or 0


BY_HAND = {
    CircuitEvent.OPENED_BY_HAND: "open",
    CircuitEvent.CLOSED_BY_HAND: "closed",
    CircuitEvent.ISOLATED_BY_HAND: "isolated",
    CircuitEvent.DISABLED_BY_HAND: "disabled",
    CircuitEvent.OBSERVED_BY_HAND: "observing",
}


class CircuitMachine(RuleBasedStateMachine):
    """
    Admits, settles late or twice, waits and interferes by hand, in any order.
    """

    permits: Bundle[Any] = Bundle("permits")

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self.model = Model()
        self.keys = 0
        self.circuit = Circuit(
            "upstream",
            options=FIRST,
            now_s=0.0,
            draws=random.Random(0),  # noqa: S311 - no jitter is asked for
        )

    @rule(target=permits)
    def admit(self) -> Any:
        """
        Ask for admission; both agree on who gets in.
        """
        self.keys += 1
        expected = self.model.admit(self.keys, self.now_s)
        answer = self.circuit.admit(self.now_s)

        assert isinstance(answer, CircuitPermit) == expected
        if not isinstance(answer, CircuitPermit):
            assert answer.retry_after_s >= 0
            return multiple()
        answer.started_s = self.now_s
        return (self.keys, self.model.era, answer)

    @rule(permit=consumes(permits), outcome=st.sampled_from(Outcome))
    def settle(self, permit: Any, outcome: Outcome) -> None:
        """
        End a call, however late.
        """
        key, era, held = permit
        self.model.settle(key, era, outcome, self.now_s)
        self.circuit.settle(held, outcome, self.now_s)
        self.circuit.settle(held, Outcome.FAILURE, self.now_s)

    @rule(delay_s=st.sampled_from([0.5, 2.0, 6.5, 9.5, 10.0, 600.0]))
    def wait(self, delay_s: float) -> None:
        """
        Let time pass.
        """
        self.now_s += delay_s

    @rule(event=st.sampled_from(sorted(BY_HAND)))
    def interfere(self, event: CircuitEvent) -> None:
        """
        Change the state by hand.
        """
        if self.model.state != BY_HAND[event]:
            self.model.enter(BY_HAND[event], self.now_s)
        self.circuit.go(event, self.now_s)

    @rule(
        threshold=st.integers(1, 5),
        break_s=st.sampled_from([1.0, 10.0, 30.0]),
        probes_max=st.integers(1, 3),
        successes=st.integers(1, 3),
    )
    def change(
        self, threshold: int, break_s: float, probes_max: int, successes: int
    ) -> None:
        """
        Change the rules while it works.
        """
        rules = CircuitBreakerOptions(
            failure_threshold=threshold,
            break_duration_s=break_s,
            probes_max=probes_max,
            successes_to_close=successes,
            probe_lease_s=LEASE_S,
        )
        self.model.rules = rules
        self.circuit.change(rules, self.now_s)

    @rule()
    def reset(self) -> None:
        """
        Forget everything.
        """
        self.model.enter("closed", self.now_s)
        self.circuit.go(CircuitEvent.RESET, self.now_s)

    @invariant()
    def agree(self) -> None:
        """
        Both are in the same state with the same figures.
        """
        assert self.circuit.state.value == self.model.state
        assert self.circuit.successes == self.model.successes
        assert self.circuit.health.failures == self.model.failures
        assert len(self.circuit.probes) == len(self.model.probes)

    @invariant()
    def news_chains(self) -> None:
        """
        Each change that is told begins where the one before ended.
        """
        changes = [e for e in self.circuit.news if isinstance(e, CircuitChanged)]
        state: str = CircuitState.CLOSED
        for change in changes:
            assert change.from_state == state != change.to_state
            state = change.to_state
        assert state == self.circuit.state


TestCircuitMachine = CircuitMachine.TestCase
TestCircuitMachine.settings = settings(
    max_examples=150, stateful_step_count=60, deadline=None
)
