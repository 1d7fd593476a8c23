"""
What another circuit breaker would have done with a recorded run.
"""

from collections.abc import Iterator
from typing import Any

import pytest

from harness.bench import RunOptions, read_records
from harness.judging import what_if, what_if_lines
from harness.resilience import CircuitBreakerOptions
from harness.scenario import load, shorten
from harness.simulation import run_scenario

Record = dict[str, Any]


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """
    The event log of an outage, recorded with a threshold of 5 and breaks of 1 s.
    """
    run_dir = tmp_path_factory.mktemp("run")
    scenario = shorten(load("upstream-outage"), 0.2)
    run_scenario(scenario, RunOptions(run_dir=run_dir, seed=4), writes_report=False)
    return list(read_records(run_dir / "events.jsonl"))


def log(*attempts: tuple[float, str]) -> Iterator[Record]:
    """
    Make a log of calls of 10 ms: when each began, and how its attempt ended.
    """
    for number, (at_s, outcome) in enumerate(attempts):
        base = {"host": "service", "trace_id": f"t{number}", "operation": "chat"}
        at_us = round(at_s * 1e6)
        if outcome == "refused":
            yield {
                **base,
                "kind": "operation_rejected",
                "circuit": "upstream",
                "time_us": at_us,
            }
            continue
        yield {**base, "kind": "attempt_started", "attempt_number": 1, "time_us": at_us}
        yield {
            **base,
            "kind": "attempt_ended",
            "attempt_number": 1,
            "outcome": outcome,
            "time_us": at_us + 10_000,
        }


def test_the_same_settings_do_the_same(records: list[Record]) -> None:
    """
    With the settings of the recording every transition is found again, to its cause.
    """
    [found] = what_if(
        records, CircuitBreakerOptions(failure_threshold=5, break_duration_s=1.0)
    )

    # The log's times are whole microseconds, and an answer is noticed a moment later.
    assert [(s.from_state, s.to_state, s.reason) for s in found.other.transitions] == [
        (s.from_state, s.to_state, s.reason) for s in found.recorded.transitions
    ]
    assert found.other.opened > 1
    assert found.other.calls_refused == found.recorded.calls_refused > 0
    assert (found.calls_saved, found.calls_lost, found.calls_guessed) == (0, 0, 0)


def test_a_breaker_that_never_opens_refuses_nobody(records: list[Record]) -> None:
    """
    Without rules nothing is refused, and everything that fails is let through.
    """
    [found] = what_if(records, CircuitBreakerOptions(failure_threshold=None))

    assert found.other.calls_refused == found.other.opened == 0
    assert found.other.failures_let_through > found.recorded.failures_let_through
    assert found.calls_guessed == found.recorded.calls_refused


def test_refused_calls_take_the_nearest_outcome() -> None:
    """
    A call that was refused succeeds if the attempt nearest in time did.
    """
    [found] = what_if(
        log(
            (0.0, "failure"),
            (1.0, "refused"),
            (3.0, "refused"),
            (4.0, "success"),
        ),
        CircuitBreakerOptions(failure_threshold=5),
    )

    assert found.calls_guessed == 2
    assert found.calls_saved == 1
    assert found.other.failures_let_through == 2


def test_a_touchier_breaker_loses_calls() -> None:
    """
    Calls that went well and would be refused are counted as lost.
    """
    [found] = what_if(
        log((0.0, "failure"), (1.0, "success"), (2.0, "success"), (40.0, "success")),
        CircuitBreakerOptions(failure_threshold=1),
    )

    assert found.calls_lost == found.other.calls_refused == 2
    assert [step.to_state for step in found.other.transitions] == ["open", "half_open"]
    assert found.recorded.transitions == ()


def test_a_refused_call_asks_for_nothing_more() -> None:
    """
    What a call did after the attempt that is refused is no longer asked for.
    """
    first, *rest = list(log((0.0, "failure"), (1.0, "success"), (2.0, "success")))
    for record in rest:
        record["trace_id"] = "same"

    [found] = what_if([first, *rest], CircuitBreakerOptions(failure_threshold=1))

    assert found.other.calls_refused == 1


def test_nothing_is_said_of_a_service_that_says_nothing(records: list[Record]) -> None:
    """
    Without events of the service there is nothing to do again.
    """
    silent = [record for record in records if record["host"] != "service"]

    assert what_if(silent, CircuitBreakerOptions()) == ()


def test_lines_name_figures_and_transitions(records: list[Record]) -> None:
    """
    What people read has both circuits' figures and when the other changed.
    """
    lines = list(what_if_lines(what_if(records, CircuitBreakerOptions())))

    assert lines[0].startswith("circuit upstream/gpt-4o")
    assert any("calls refused" in line for line in lines)
    assert any("closed -> open (consecutive_failures)" in line for line in lines)
