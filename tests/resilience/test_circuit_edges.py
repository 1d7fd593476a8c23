"""
The edges of a circuit, step by step on the machine itself.
"""

import random
from typing import Any

from harness.events import CircuitWouldHaveOpened, ProbeExpired, StaleOutcomeIgnored
from harness.resilience import (
    Circuit,
    CircuitBreakerOptions,
    CircuitEvent,
    CircuitPermit,
    CircuitRefusal,
    CircuitState,
    Outcome,
)


def make_circuit(**settings: Any) -> Circuit:
    """
    Return a circuit at second zero.
    """
    return Circuit(
        "upstream",
        options=CircuitBreakerOptions(**settings),
        now_s=0.0,
        draws=random.Random(0),  # noqa: S311 - no jitter is asked for
    )


def admitted(circuit: Circuit, now_s: float, *, starts: bool = True) -> CircuitPermit:
    """
    Return a permit of a call that begins, or waits for other permits.
    """
    permit = circuit.admit(now_s)
    assert isinstance(permit, CircuitPermit)
    if starts:
        permit.started_s = now_s
    return permit


def half_open(**settings: Any) -> Circuit:
    """
    Return a circuit that is half-open at second ten.
    """
    circuit = make_circuit(break_duration_s=10, **settings)
    circuit.go(CircuitEvent.OPENED_BY_HAND, 0.0)
    circuit.end_break(10.0)
    circuit.news.clear()
    return circuit


def stale(circuit: Circuit) -> int:
    """
    Return how many outcomes were told as stale.
    """
    return sum(isinstance(event, StaleOutcomeIgnored) for event in circuit.news)


def test_late_outcome_of_a_lost_probe_is_stale() -> None:
    """
    A probe that lost its slot decides nothing any more, within its half-open either.
    """
    circuit = half_open(probes_max=1, probe_lease_s=5, successes_to_close=1)
    lost = admitted(circuit, 10.0)
    admitted(circuit, 15.0)

    circuit.settle(lost, Outcome.SUCCESS, 16.0)

    assert circuit.state is CircuitState.HALF_OPEN
    assert (len(circuit.probes), circuit.successes) == (1, 0)
    assert stale(circuit) == 1


def test_every_lost_probe_is_found() -> None:
    """
    Probes that wait for other permits have no lease, and hide none that has.
    """
    circuit = half_open(probes_max=3, probe_lease_s=5)
    admitted(circuit, 10.0, starts=False)
    admitted(circuit, 10.0)
    admitted(circuit, 11.0)
    assert circuit.room(15.5) == 1

    admitted(circuit, 20.0)

    expired = [event for event in circuit.news if isinstance(event, ProbeExpired)]
    assert len(expired) == 2
    assert len(circuit.probes) == 2


def test_a_call_that_was_never_made_has_no_stale_outcome() -> None:
    """
    Only what was on the wire can come late; a refusal further in is no outcome.
    """
    circuit = make_circuit()
    waiting = admitted(circuit, 0.0, starts=False)
    cancelled, failed = admitted(circuit, 0.0), admitted(circuit, 0.0)
    circuit.go(CircuitEvent.RESET, 1.0)

    circuit.settle(waiting, Outcome.IGNORED, 2.0)
    assert stale(circuit) == 0
    circuit.settle(cancelled, Outcome.IGNORED, 2.0)
    circuit.settle(failed, Outcome.FAILURE, 2.0)

    assert stale(circuit) == 2


def test_who_waited_until_it_probes_is_sent_away_for_a_second() -> None:
    """
    A call from before is no probe; it may come back when these have answered.
    """
    circuit = make_circuit(break_duration_s=10)
    waiting = admitted(circuit, 0.0, starts=False)
    circuit.go(CircuitEvent.OPENED_BY_HAND, 0.0)
    assert circuit.recall(waiting, 4.0) == CircuitRefusal(
        state=CircuitState.OPEN, retry_after_s=6.0
    )
    circuit.end_break(10.0)

    refusal = circuit.recall(waiting, 10.0)

    assert refusal == CircuitRefusal(state=CircuitState.HALF_OPEN, retry_after_s=1.0)


def test_only_states_that_refuse_say_for_how_long() -> None:
    """
    Nobody has to wait for a circuit that lets calls through.
    """
    circuit = make_circuit(break_duration_s=10)

    assert circuit.refuses_for_s(0.0) == 0.0
    circuit.go(CircuitEvent.ISOLATED_BY_HAND, 0.0)
    assert circuit.refuses_for_s(5.0) == 10.0
    circuit.go(CircuitEvent.OPENED_BY_HAND, 5.0)
    assert circuit.refuses_for_s(8.0) == 7.0
    assert circuit.refuses_for_s(99.0) == 0.0


def test_a_call_of_unknown_length_is_not_slow() -> None:
    """
    Who does not measure is not judged by time.
    """
    circuit = make_circuit(
        slow_ratio=0.1, slow_call_s=0.5, slow_minimum_throughput=1, window_calls=5
    )

    circuit.settle(admitted(circuit, 0.0), Outcome.SUCCESS, 9.0)

    assert circuit.state is CircuitState.CLOSED
    circuit.settle(admitted(circuit, 9.0), Outcome.SUCCESS, 9.0, duration_s=0.5)
    assert circuit.state.value == "closed"
    circuit.settle(admitted(circuit, 9.0), Outcome.SUCCESS, 9.0, duration_s=0.6)
    assert circuit.state.value == "open"


def test_probes_are_judged_on_an_empty_window() -> None:
    """
    What opened the circuit is told while it is open, and forgotten when it probes.
    """
    circuit = make_circuit(
        failure_threshold=None,
        failure_ratio=0.5,
        minimum_throughput=2,
        window_calls=4,
        break_duration_s=10,
    )
    for _ in range(2):
        circuit.settle(admitted(circuit, 0.0), Outcome.FAILURE, 0.0)
    assert list(circuit.health.samples(1.0)) == [2, 2, 0]

    circuit.end_break(10.0)

    assert list(circuit.health.samples(10.0)) == [0, 0, 0]
    assert circuit.health.failures == 2


def test_an_observer_names_each_broken_rule() -> None:
    """
    Two rules that break at once are two facts.
    """
    circuit = make_circuit(
        failure_threshold=2, failure_ratio=0.5, minimum_throughput=2, window_calls=2
    )
    circuit.go(CircuitEvent.OBSERVED_BY_HAND, 0.0)
    for _ in range(3):
        circuit.settle(admitted(circuit, 0.0), Outcome.FAILURE, 0.0)

    told = [
        (event.reason, event.failures)
        for event in circuit.news
        if isinstance(event, CircuitWouldHaveOpened)
    ]

    assert told == [("consecutive_failures", 2), ("failure_ratio", 2)]
