"""
The breaker's promise, judged from the mock's side alone.
"""

from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest

from harness.judging import Timeline, breaker_evidence
from harness.scenario import Promise


def _outage(log: Any, *, calls: int, from_s: float = 1.0, gap_s: float = 0.1) -> None:
    for index in range(calls):
        log.failing_chat(f"failing-{from_s}-{index}", from_s + index * gap_s)


def test_a_service_without_breaker_is_caught(log: Any, promise: Promise) -> None:
    """
    What is certainly new, and comes after so many failures, is named with its event.
    """
    _outage(log, calls=12)
    log.run(end_s=10.0)

    evidence = breaker_evidence(Timeline(log.records()), promise)

    first = evidence.forbidden[0]
    by_seq = {record["seq"]: record for record in log.records()}
    assert by_seq[first.events[0]]["kind"] == "upstream_request_received"
    assert all(
        by_seq[seq]["kind"] == "upstream_request_ended" for seq in first.events[1:]
    )
    # Three failures were all noticed when the second attempts came.
    assert by_seq[first.events[0]]["time_us"] > 1_100_000
    assert f"event {first.events[0]}" in first.message


def test_what_was_in_flight_is_excepted(log: Any, promise: Promise) -> None:
    """
    An attempt of a call from before the opening may arrive while the circuit is open.
    """
    for index in range(3):
        name = f"call-{index}"
        log.call(name, 1.0, end_s=1.1, outcome="failed", status=502)
        log.attempt(name, 1.01, end_s=1.02, status=503)
    # It was queued inside the service for a second; nobody can tell since when.
    log.call("queued", 0.9, end_s=2.5, outcome="failed", status=502)
    log.attempt("queued", 2.0, end_s=2.1, status=503)
    log.call("refused", 2.2, end_s=2.21, outcome="refused", status=503)
    log.run(end_s=10.0)

    evidence = breaker_evidence(Timeline(log.records()), promise)

    assert evidence.forbidden == ()
    assert evidence.windows > 0


def test_a_kept_break_is_seen(log: Any, promise: Promise) -> None:
    """
    A pause as long as promised, after so many failures and under calls, exercises it.
    """
    for index in range(3):
        name = f"call-{index}"
        log.call(name, 1.0, end_s=1.1, outcome="failed", status=502)
        log.attempt(name, 1.01, end_s=1.02, status=503)
    for index in range(10):
        at_s = 1.3 + index * 0.15
        log.call(
            f"late-{index}", at_s, end_s=at_s + 0.01, outcome="refused", status=503
        )
    log.call("probe", 3.1, end_s=3.3)
    log.attempt("probe", 3.11, end_s=3.2)
    log.run(end_s=10.0)

    evidence = breaker_evidence(Timeline(log.records()), promise)

    assert evidence.was_exercised
    assert evidence.forbidden == ()
    assert len(evidence.refusals_us) == 10
    assert evidence.probes == 1


def test_a_late_success_hides_no_break(log: Any, promise: Promise) -> None:
    """
    An attempt that was under way when the circuit opened may still succeed.
    """
    log.call("slow", 0.9, end_s=1.5)
    log.attempt("slow", 1.0, end_s=1.4)
    for index in range(3):
        name = f"call-{index}"
        log.call(name, 1.0, end_s=1.1, outcome="failed", status=502)
        log.attempt(name, 1.01, end_s=1.02, status=503)
    log.call("refused", 2.0, end_s=2.01, outcome="refused", status=503)
    log.call("probe", 3.1, end_s=3.3)
    log.attempt("probe", 3.11, end_s=3.2)
    log.run(end_s=10.0)

    evidence = breaker_evidence(Timeline(log.records()), promise)

    assert evidence.breaks == 1
    assert evidence.was_exercised


def test_a_break_that_is_too_short_is_caught(log: Any, promise: Promise) -> None:
    """
    A probe that comes before the break is over is forbidden.
    """
    for index in range(3):
        name = f"call-{index}"
        log.call(name, 1.0, end_s=1.1, outcome="failed", status=502)
        log.attempt(name, 1.01, end_s=1.02, status=503)
    log.call("early", 2.0, end_s=2.3)
    early = log.attempt("early", 2.01, end_s=2.2)
    log.run(end_s=10.0)

    evidence = breaker_evidence(Timeline(log.records()), promise)

    assert [each.events[0] for each in evidence.forbidden] == [early["seq"]]


def test_a_failed_probe_opens_it_again(log: Any, promise: Promise) -> None:
    """
    After a probe that failed nothing new may come for another break.
    """
    for index in range(3):
        name = f"call-{index}"
        log.call(name, 1.0, end_s=1.1, outcome="failed", status=502)
        log.attempt(name, 1.01, end_s=1.02, status=503)
    log.call("probe", 3.2, end_s=3.3, outcome="failed", status=502)
    log.attempt("probe", 3.21, end_s=3.22, status=503)
    log.call("again", 3.5, end_s=3.7)
    again = log.attempt("again", 3.51, end_s=3.6)
    log.run(end_s=10.0)

    evidence = breaker_evidence(Timeline(log.records()), promise)

    assert [each.events[0] for each in evidence.forbidden] == [again["seq"]]


def test_too_many_probes_at_once_are_caught(log: Any, promise: Promise) -> None:
    """
    The fourth probe that is under way with three others is one too many.
    """
    for index in range(3):
        name = f"call-{index}"
        log.call(name, 1.0, end_s=1.1, outcome="failed", status=502)
        log.attempt(name, 1.01, end_s=1.02, status=503)
    probes = []
    for index in range(4):
        name = f"probe-{index}"
        log.call(name, 3.2, end_s=3.9)
        probes.append(log.attempt(name, 3.21 + index * 0.01, end_s=3.8))
    log.run(end_s=10.0)

    evidence = breaker_evidence(Timeline(log.records()), promise)

    assert evidence.forbidden == ()
    assert [each.events[0] for each in evidence.crowded] == [probes[3]["seq"]]


def test_a_success_in_between_excuses(log: Any, promise: Promise) -> None:
    """
    Failures among successes prove nothing: the run may have been broken each time.
    """
    for index in range(12):
        at_s = 1.0 + index * 0.1
        log.failing_chat(f"bad-{index}", at_s)
        log.call(f"good-{index}", at_s, end_s=at_s + 0.1)
        log.attempt(f"good-{index}", at_s + 0.01, end_s=at_s + 0.05)
    log.run(end_s=10.0)

    evidence = breaker_evidence(Timeline(log.records()), promise)

    assert evidence.forbidden == ()
    assert not evidence.was_exercised


@pytest.mark.parametrize("status", [400, 401, 404, 422, 429, 501, 529])
def test_what_says_nothing_of_health_opens_nothing(
    status: int, log: Any, promise: Promise
) -> None:
    """
    Client errors and rate limits are no failures.
    """
    for index in range(12):
        name, at_s = f"call-{index}", 1.0 + index * 0.1
        log.call(name, at_s, end_s=at_s + 0.1, outcome="failed", status=502)
        log.attempt(name, at_s + 0.01, end_s=at_s + 0.02, status=status)
    log.run(end_s=10.0)

    evidence = breaker_evidence(Timeline(log.records()), promise)

    assert evidence.forbidden == ()
    assert not evidence.was_exercised


def test_each_model_has_its_own_circuit(log: Any, promise: Promise) -> None:
    """
    Failures of one model forbid nothing to another.
    """
    for index in range(12):
        name, at_s = f"call-{index}", 1.0 + index * 0.1
        log.call(name, at_s, end_s=at_s + 0.1, outcome="failed", status=502)
        model = f"model-{index % 6}"
        log.attempt(name, at_s + 0.01, end_s=at_s + 0.02, status=503, model=model)
    log.run(end_s=10.0)

    assert breaker_evidence(Timeline(log.records()), promise).forbidden == ()


def test_a_restart_forgets_the_circuit(log: Any, promise: Promise) -> None:
    """
    A service that was killed may ask again at once.
    """
    _outage(log, calls=4)
    log.add(1.5, "caller", "service_killed")
    log.add(1.8, "caller", "service_restarted")
    log.call("fresh", 1.9, end_s=2.0)
    log.attempt("fresh", 1.91, end_s=1.95)
    log.run(end_s=10.0)

    assert breaker_evidence(Timeline(log.records()), promise).forbidden == ()


def test_a_circuit_closed_by_hand_may_be_used(log: Any, promise: Promise) -> None:
    """
    Somebody who closes an open circuit allows what its rules forbid.
    """
    _outage(log, calls=1, from_s=1.0, gap_s=0.0)
    _outage(log, calls=2, from_s=1.01, gap_s=0.0)
    log.circuit(1.3, "open", "closed", reason="closed_by_hand")
    log.call("fresh", 1.9, end_s=2.0)
    log.attempt("fresh", 1.91, end_s=1.95)
    log.run(end_s=10.0)

    assert breaker_evidence(Timeline(log.records()), promise).forbidden == ()


def test_attempts_that_cannot_be_joined_prove_nothing(
    log: Any, promise: Promise
) -> None:
    """
    Where nobody can tell whose attempts they are, nothing is forbidden.
    """
    for index in range(30):
        at_s = 1.0 + index * 0.05
        log.call(f"call-{index}", at_s, end_s=at_s + 0.1, outcome="failed", status=502)
        log.attempt(None, at_s + 0.01, end_s=at_s + 0.02, status=503)
    log.run(end_s=10.0)

    assert breaker_evidence(Timeline(log.records()), promise).forbidden == ()


@dataclass
class ModelBreaker:
    """
    A breaker in a few lines; each option is a way to get it wrong.
    """

    threshold: int = 3
    break_s: float = 2.0
    probes_max: int = 3
    is_on: bool = True
    state: str = "closed"
    generation: int = 0
    opened_s: float = 0.0
    failures: int = 0
    successes: int = 0
    probes: set[str] = field(default_factory=set)

    def admits(self, name: str, now_s: float) -> bool:
        """
        Say whether a call may go on.
        """
        if not self.is_on:
            return True
        if self.state == "open" and now_s >= self.opened_s + self.break_s:
            self._go("half_open")
        if self.state == "half_open" and len(self.probes) < self.probes_max:
            self.probes.add(name)
            return True
        return self.state == "closed"

    def settle(self, name: str, generation: int, now_s: float, *, good: bool) -> None:
        """
        Take an outcome in.
        """
        if generation != self.generation:
            return
        self.probes.discard(name)
        self.failures = 0 if good else self.failures + 1
        self.successes += good
        if not good and (self.state == "half_open" or self.failures >= self.threshold):
            self.opened_s = now_s
            self._go("open")
        elif self.state == "half_open" and self.successes >= 3:
            self._go("closed")

    def _go(self, state: str) -> None:
        self.state = state
        self.generation += 1
        self.failures = self.successes = 0
        self.probes.clear()


def _drive(
    log: Any, breaker: ModelBreaker, chance: Random, *, answer_s: float = 0.2
) -> None:
    """
    Write what a service with that breaker does in an outage, on a busy machine.

    It is slow to send what it admitted and slow to notice what came back.
    """
    noticed: list[tuple[float, str, int, bool]] = []
    for index in range(500):
        now_s = 1.0 + index * 0.05
        noticed.sort()
        while noticed and noticed[0][0] <= now_s:
            at_s, settled, generation, good = noticed.pop(0)
            breaker.settle(settled, generation, at_s, good=good)
        name = f"call-{index}"
        if not breaker.admits(name, now_s):
            end_s = now_s + chance.uniform(0, 0.05)
            log.call(name, now_s, end_s=end_s, outcome="refused", status=503)
            continue
        received_s = now_s + chance.uniform(0, 0.3)
        good = not 5.0 <= received_s < 15.0
        ended_s = received_s + (
            chance.uniform(answer_s / 2, answer_s) if good else 0.02
        )
        seen_s = ended_s + chance.uniform(0, 0.3)
        noticed.append((seen_s, name, breaker.generation, good))
        log.attempt(name, received_s, end_s=ended_s, status=200 if good else 503)
        end_s = seen_s + chance.uniform(0, 0.3)
        outcome, status = ("answered", 200) if good else ("failed", 502)
        log.call(name, now_s, end_s=end_s, outcome=outcome, status=status)
    log.run(end_s=40.0)


@pytest.mark.parametrize("mode", ["live", "virtual"])
@pytest.mark.parametrize("seed", range(20))
def test_a_correct_breaker_is_never_blamed(
    seed: int, mode: str, log: Any, promise: Promise
) -> None:
    """
    A breaker that works, however slow the machine, forbids itself nothing.
    """
    _drive(log, ModelBreaker(), Random(seed))  # noqa: S311 - a seeded model

    evidence = breaker_evidence(Timeline(log.records(), mode=mode), promise)

    assert evidence.forbidden == ()
    assert evidence.crowded == ()
    assert evidence.was_exercised


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param({"is_on": False}, id="none"),
        pytest.param({"threshold": 60}, id="opens-late"),
        pytest.param({"break_s": 0.5}, id="break-too-short"),
        pytest.param({"probes_max": 30}, id="unlimited-probes"),
    ],
)
@pytest.mark.parametrize("seed", range(3))
def test_a_broken_breaker_is_found_out(
    seed: int, broken: dict[str, Any], log: Any, promise: Promise
) -> None:
    """
    On the same busy machine each planted bug is seen from the outside.
    """
    # Probes that are answered at once cannot be seen to overlap.
    answer_s = 1.0 if "probes_max" in broken else 0.2
    chance = Random(seed)  # noqa: S311 - a seeded model
    _drive(log, ModelBreaker(**broken), chance, answer_s=answer_s)

    evidence = breaker_evidence(Timeline(log.records()), promise)

    assert evidence.forbidden or evidence.crowded
