"""
What changed between two runs.
"""

import copy
from typing import Any

import pytest

from harness.report import diff_lines, diff_runs

Run = tuple[dict[str, Any], list[dict[str, Any]]]


def a_run(**changes: Any) -> Run:
    """
    Return the summary and the event log of a small run.
    """
    summary: dict[str, Any] = {
        "verdict": "passed",
        "scenario": "s",
        "seed": 1,
        "mode": "virtual",
        "calls": {"answered": 2},
        "hashes": {"scenario": "a"},
        "versions": {"toolcall-harness": "0.1.0"},
        "environment": {"cores": 2},
        "expectations": [],
        "checks": [],
        "invariants": [
            {"id": "6 Retry-After is kept", "status": "passed", "findings": []}
        ],
    }
    records = [
        {"seq": 1, "kind": "upstream_request_received"},
        {"seq": 2, "kind": "call_ended", "latency_us": 20_000},
    ]
    return summary | changes, records


def test_a_run_does_not_differ_from_itself() -> None:
    """
    Of a run and its exact repetition there is nothing to tell but that.
    """
    diff = diff_runs(a_run(), copy.deepcopy(a_run()))

    assert not diff.is_worse
    assert diff_lines(diff) == ["the event logs are the same"]


def test_what_holds_no_longer_is_worse() -> None:
    """
    An entry that passed and fails is told with its finding, and makes the diff worse.
    """
    findings = [{"message": "it came after 0.1 s", "events": [1]}]
    broken = {
        "id": "6 Retry-After is kept",
        "status": "failed",
        "findings": findings,
    }

    diff = diff_runs(a_run(), a_run(verdict="failed", invariants=[broken]))

    assert diff.is_worse
    assert diff_lines(diff)[:3] == [
        "verdict: passed -> failed",
        "! invariants: 6 Retry-After is kept: passed -> failed",
        "    it came after 0.1 s",
    ]


def test_what_holds_again_is_not_worse() -> None:
    """
    An entry that failed and passes is told and does not make the diff worse.
    """
    broken = {"id": "6 Retry-After is kept", "status": "failed", "findings": []}

    diff = diff_runs(a_run(verdict="failed", invariants=[broken]), a_run())

    assert not diff.is_worse
    assert [entry.after for entry in diff.entries] == ["passed"]


@pytest.mark.parametrize("is_longer", [True, False])
def test_runs_of_one_seed_part_at_a_record(*, is_longer: bool) -> None:
    """
    Where two runs of one seed in virtual time part, both records are shown.
    """
    summary, records = a_run()
    extra = {"seq": 3, "kind": "tool_executed"}
    other = [*records, extra] if is_longer else [*records[:1], extra]

    diff = diff_runs((summary, records), (summary, other))

    assert diff.parting is not None
    assert diff.parting.line == (3 if is_longer else 2)
    assert diff.parting.after == extra
    assert ("the log has ended" in "\n".join(diff_lines(diff))) is is_longer


def test_runs_of_other_seeds_are_compared_by_figures() -> None:
    """
    Logs that cannot be the same are not compared record by record.
    """
    summary, records = a_run(seed=2, calls={"answered": 1, "failed": 1})

    diff = diff_runs(a_run(), (summary, [*records, records[0]]))

    assert diff.parting is None
    told = {change.what: (change.before, change.after) for change in diff.figures}
    assert told == {
        "calls answered": (2, 1),
        "calls failed": (0, 1),
        "upstream attempts": (1, 2),
    }
    assert [change.what for change in diff.setup] == ["seed"]


def test_percentiles_are_of_real_time_and_enough_calls() -> None:
    """
    A percentile is compared where time was real and calls were many.
    """
    calls: list[dict[str, Any]] = [
        {"seq": seq, "kind": "call_ended", "latency_us": seq * 1_000}
        for seq in range(1, 301)
    ]
    slower = [each | {"latency_us": each["latency_us"] * 2} for each in calls]

    live = diff_runs((a_run(mode="live")[0], calls), (a_run(mode="live")[0], slower))
    virtual = diff_runs((a_run()[0], calls), (a_run()[0], slower))

    told = {change.what: (change.before, change.after) for change in live.figures}
    assert told == {
        "latency p50": ("150 ms", "300 ms"),
        "latency p95": ("285 ms", "570 ms"),
    }
    assert virtual.figures == ()
