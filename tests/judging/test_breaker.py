"""
The breaker's promise, judged from the mock's side alone.
"""

from typing import Any

import pytest

from harness.judging import Timeline, breaker_evidence
from harness.scenario import Promise

D = 2.0


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
        log.call(f"late-{index}", at_s, end_s=at_s + 0.01, outcome="refused", status=503)
    log.call("probe", 3.1, end_s=3.3)
    log.attempt("probe", 3.11, end_s=3.2)
    log.run(end_s=10.0)

    evidence = breaker_evidence(Timeline(log.records()), promise)

    assert evidence.was_exercised
    assert evidence.forbidden == ()
    assert len(evidence.refusals_us) == 10
    assert evidence.probes == 1


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


@pytest.mark.parametrize("jitter", range(20))
def test_a_correct_breaker_is_never_blamed(
    jitter: int, log: Any, promise: Promise
) -> None:
    """
    A breaker that works, however slow the machine, forbids itself nothing.
    """
    from random import Random  # noqa: PLC0415 - the model of a service needs its own chance

    random = Random(jitter)  # noqa: S311 - a seeded model
    _drive_model_service(log, random)
    log.run(end_s=40.0)

    evidence = breaker_evidence(Timeline(log.records()), promise)

    assert evidence.forbidden == ()
    assert evidence.crowded == ()
    assert evidence.was_exercised


def _drive_model_service(log: Any, random: Any) -> None:
    """
    Write what a correct service does: outcomes are noticed late, admission is early.
    """
    state, failures, successes, opened_s, generation = "closed", 0, 0, 0.0, 0
    probes: set[str] = set()
    noticed: list[tuple[float, str, int, bool]] = []
    for index in range(500):
        now_s = 1.0 + index * 0.05
        noticed.sort()
        while noticed and noticed[0][0] <= now_s:
            at_s, name, its_generation, is_good = noticed.pop(0)
            if its_generation != generation:
                continue
            probes.discard(name)
            if state == "half_open":
                successes = successes + 1 if is_good else 0
                if not is_good:
                    state, opened_s, generation = "open", at_s, generation + 1
                elif successes >= 3:
                    state, failures, generation = "closed", 0, generation + 1
            elif state == "closed":
                failures = 0 if is_good else failures + 1
                if failures >= 3:
                    state, opened_s, generation = "open", at_s, generation + 1
        if state == "open" and now_s >= opened_s + D:
            state, successes, generation = "half_open", 0, generation + 1
            probes.clear()
        name = f"call-{index}"
        is_refused = state == "open" or (state == "half_open" and len(probes) >= 3)
        if is_refused:
            end_s = now_s + random.uniform(0, 0.05)
            log.call(name, now_s, end_s=end_s, outcome="refused", status=503)
            continue
        if state == "half_open":
            probes.add(name)
        received_s = now_s + random.uniform(0, 0.3)
        is_good = not 5.0 <= received_s < 15.0
        ended_s = received_s + random.uniform(0.01, 0.2 if is_good else 0.03)
        seen_s = ended_s + random.uniform(0, 0.3)
        end_s = seen_s + random.uniform(0, 0.3)
        noticed.append((seen_s, name, generation, is_good))
        log.attempt(name, received_s, end_s=ended_s, status=200 if is_good else 503)
        outcome, status = ("answered", 200) if is_good else ("failed", 502)
        log.call(name, now_s, end_s=end_s, outcome=outcome, status=status)
