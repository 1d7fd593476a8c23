"""
One verdict over many rulings.
"""

from typing import Any

import pytest

from harness.judging import (
    Ruling,
    Status,
    Timeline,
    Verdict,
    ailments,
    judge,
    verdict_of,
)
from harness.scenario import Promise, Scenario

P, F, I, S = Status.PASSED, Status.FAILED, Status.INCONCLUSIVE, Status.SKIPPED  # noqa: E741 - initials in a table


@pytest.mark.parametrize(
    ("statuses", "options", "verdict"),
    [
        ([P, S], {}, Verdict.PASSED),
        ([P, I], {}, Verdict.INCONCLUSIVE),
        ([P, I, F], {}, Verdict.FAILED),
        ([S, S], {}, Verdict.INCONCLUSIVE),
        ([], {}, Verdict.INCONCLUSIVE),
        ([P, F], {"is_invalid": True}, Verdict.INVALID),
        ([P], {"is_interrupted": True}, Verdict.INCONCLUSIVE),
        ([F], {"is_interrupted": True}, Verdict.FAILED),
    ],
)
def test_precedence(
    statuses: list[Status], options: dict[str, bool], verdict: Verdict
) -> None:
    """
    Invalid outranks failed, failed inconclusive; where nothing passed nothing has.
    """
    rulings = [
        Ruling(id=str(index), status=each) for index, each in enumerate(statuses)
    ]

    assert verdict_of(rulings, **options) is verdict


def _scenario(**changes: Any) -> Scenario:
    values = {
        "scenario": "s",
        "title": "t",
        "upstream": {"faults": [{"fault": "status", "status": 503, "from": "1s"}]},
        "service": {"breaker": {"failure_threshold": 3, "break_duration": "2s"}},
        "promise": {"breaker": {"failure_threshold": 3, "break_duration": "2s"}},
        "workload": [{"arrivals": "10/s", "for": "3s", "send": {"message": "hi"}}],
        "expect": [{"metric": "chat.failed", "at_least": 1}],
    }
    return Scenario.model_validate(values | changes)


def _outage(log: Any) -> None:
    log.add(1.0, "mock", "fault_applied", fault="status", surface="upstream")
    for index in range(12):
        log.failing_chat(f"bad-{index}", 1.0 + index * 0.1)
    log.run(end_s=10.0)


def test_a_broken_promise_fails_and_names_the_attempt(log: Any) -> None:
    """
    With the breaker off and the promise kept, the first forbidden attempt is named.
    """
    _outage(log)
    scenario = _scenario(service={"breaker": {"enabled": False}})

    summary = judge(scenario, log.records()).to_json()

    check = next(each for each in summary["checks"] if each["id"] == "breaker.opens")
    first = check["findings"][0]["events"][0]
    assert summary["verdict"] == "failed"
    assert log.records()[first - 1]["kind"] == "upstream_request_received"


@pytest.mark.parametrize(
    ("load", "expect", "verdict"),
    [
        (4.0, {"metric": "chat.success_ratio", "at_least": 0.9}, Verdict.INVALID),
        (1.0, {"metric": "chat.success_ratio", "at_least": 0.9}, Verdict.FAILED),
        (4.0, {"metric": "upstream.attempts", "at_most": 1}, Verdict.FAILED),
        (4.0, {"metric": "chat.failed", "at_least": 1}, Verdict.PASSED),
    ],
)
def test_an_overloaded_machine_is_no_fault_of_the_service(
    load: float, expect: dict[str, Any], verdict: Verdict, log: Any
) -> None:
    """
    Calls that were not quick enough say nothing there; everything else does.
    """
    _outage(log)
    log.add(9.9, "caller", "bench_sampled", load_per_core=load)
    scenario = _scenario(
        service={"breaker": {"enabled": False}}, promise={}, expect=[expect]
    )

    judgement = judge(scenario, log.records())

    assert judgement.verdict is verdict
    if verdict is Verdict.INVALID:
        assert "overloaded, 4 processes" in str(judgement.reason)


def test_without_the_promise_nothing_is_forbidden(log: Any) -> None:
    """
    A breaker that is off and not promised is not judged.
    """
    _outage(log)
    scenario = _scenario(service={"breaker": {"enabled": False}}, promise={})

    judgement = judge(scenario, log.records())

    assert judgement.verdict is Verdict.PASSED
    assert {each.status for each in judgement.checks} == {Status.SKIPPED}


def test_a_promise_without_cause_is_inconclusive(log: Any) -> None:
    """
    A named promise that nothing tested has not been kept.
    """
    log.call("good", 1.0, end_s=1.2)
    log.attempt("good", 1.05, end_s=1.1)
    log.run(end_s=10.0)
    scenario = _scenario(upstream={}, expect=[])

    judgement = judge(scenario, log.records())

    assert judgement.verdict is Verdict.INCONCLUSIVE
    assert judgement.checks[0].status is Status.INCONCLUSIVE


def test_a_fault_that_never_hit_is_inconclusive(log: Any) -> None:
    """
    A run in which the planned fault hit nothing has tested nothing.
    """
    log.call("good", 1.0, end_s=1.2)
    log.attempt("good", 1.05, end_s=1.1)
    log.run(end_s=10.0)
    scenario = _scenario(promise={}, expect=[])

    judgement = judge(scenario, log.records())

    entry = judgement.expectations[0]
    assert entry.status is Status.INCONCLUSIVE
    assert entry.id == "upstream.faults[0] (status) hits"
    assert judgement.verdict is Verdict.INCONCLUSIVE


def test_the_shape_of_a_summary(log: Any) -> None:
    """
    Entries of all three groups look alike, and counts cover them all.
    """
    _outage(log)

    summary = judge(_scenario(), log.records()).to_json()

    entries = summary["checks"] + summary["expectations"] + summary["invariants"]
    assert all(
        set(entry) == {"id", "status", "figures", "findings"} for entry in entries
    )
    assert sum(summary["counts"].values()) == len(entries)
    assert list(summary["counts"]) == ["passed", "failed", "inconclusive", "skipped"]


@pytest.mark.parametrize(
    ("kind", "fields"),
    [
        ("journal_dropped", {"dropped": 3}),
        ("script_error", {"message": "'tool' is undefined", "request_id": "r"}),
        ("service_exited", {"exit_code": 1}),
    ],
)
def test_a_sick_bench_makes_a_run_invalid(
    kind: str, fields: dict[str, Any], log: Any
) -> None:
    """
    A run that says nothing about the service is invalid, whatever it shows.
    """
    _outage(log)
    log.add(5.0, "mock", kind, **fields)

    judgement = judge(_scenario(), log.records())

    assert judgement.verdict is Verdict.INVALID
    assert judgement.reason


def test_a_late_generator_makes_a_run_invalid(log: Any) -> None:
    """
    Calls that were sent much later than due say more of the bench than of the service.
    """
    for index in range(10):
        log.call(f"c{index}", 1.0, end_s=2.0)
    for record in log.records():
        if record["kind"] == "call_started":
            record["lag_us"] = 900_000
    log.run(end_s=5.0)

    (ailment,) = ailments(Timeline(log.records()))

    assert "10 of 10 calls" in ailment.message


def test_a_late_mock_makes_a_run_invalid(log: Any) -> None:
    """
    Answers that came much later than planned say more of the mock than of the service.
    """
    for index in range(10):
        log.call(f"c{index}", 1.0, end_s=3.0)
        log.attempt(f"c{index}", 1.1, end_s=2.5, planned_us=40_000, actual_us=1_400_000)
    log.run(end_s=5.0)

    (ailment,) = ailments(Timeline(log.records()))

    assert "mock answered 10 of 10 requests" in ailment.message


def test_a_profile_is_no_scenario(log: Any) -> None:
    """
    What only a profile promises need not be tested by every scenario.
    """
    log.call("good", 1.0, end_s=1.2)
    log.attempt("good", 1.05, end_s=1.1)
    log.run(end_s=10.0)
    scenario = _scenario(
        upstream={}, promise={}, expect=[{"metric": "chat.answered", "is": 1}]
    )
    profile = Promise.model_validate({"breaker": {"break_duration": "1s"}})

    judgement = judge(scenario, log.records(), promise=profile)

    assert judgement.verdict is Verdict.PASSED


def test_a_failure_of_the_bench_is_the_reason(log: Any) -> None:
    """
    What kept the bench from running it stands in the summary.
    """
    summary = judge(_scenario(), [], failure="the mock did not start").to_json()

    assert summary["verdict"] == "invalid"
    assert summary["reason"] == "the mock did not start"
    assert log.records() == []


def test_judging_is_pure(log: Any) -> None:
    """
    The same log gives the same judgement, and stays as it is.
    """
    _outage(log)
    before = [dict(record) for record in log.records()]

    first = judge(_scenario(), log.records()).to_json()
    second = judge(_scenario(), log.records()).to_json()

    assert first == second
    assert log.records() == before
