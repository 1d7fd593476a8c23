"""
What the dashboard computes from an event log.
"""

from typing import Any

import pytest

from harness.dashboard.text import chart, circuit_strip, circuits_text, clock_text
from harness.report import EVENTS_MAX, HISTORY_S_MAX, RunState

Records = list[dict[str, Any]]


def state_of(records: Records) -> RunState:
    """
    Return the state after all records.
    """
    state = RunState()
    for record in records:
        state.apply(record)
    return state


def test_calls_are_counted_by_outcome(records: Records) -> None:
    """
    Each call counts once, under what it came to, and none stays in flight.
    """
    state = state_of(records)

    assert state.totals["answered"] == 80
    assert state.totals["refused"] == 40
    assert state.in_flight == 0
    assert state.rate_per_s("call_offered") == pytest.approx(4.0)


def test_latency_is_that_of_the_last_seconds(records: Records) -> None:
    """
    The quantiles shown are over what was due lately, not over the whole run.
    """
    state = state_of(records)

    assert state.latency_s(0.5) == pytest.approx(0.0906)
    assert state.latency_s(0.99) == pytest.approx(0.0915)


def test_a_strip_shows_each_state_with_its_letter(records: Records) -> None:
    """
    A column shows the state most worth seeing of its stretch; the future is dotted.
    """
    strip = circuit_strip(state_of(records), "upstream/gpt-4o", width=40, duration_s=40)

    assert strip.plain == "C" * 11 + "OOOOO" + "H" + "OOOO" + "H" + "C" * 8 + "·" * 10


def test_a_short_half_open_moment_is_never_hidden(records: Records) -> None:
    """
    However coarse the columns, a probe is seen.
    """
    strip = circuit_strip(state_of(records), "upstream/gpt-4o", width=8, duration_s=40)

    assert strip.plain == "CCOHHC··"


def test_memory_is_bounded_however_long_a_run_is(records: Records) -> None:
    """
    Listed events and seconds of history have a limit.
    """
    change = next(each for each in records if each["kind"] == "circuit_changed")
    state = RunState()
    for second in range(HISTORY_S_MAX + 100):
        state.apply(change | {"time_us": second * 1_000_000})

    assert len(state.events) == EVENTS_MAX
    assert state.events_listed == HISTORY_S_MAX + 100
    assert len(state.seconds) == HISTORY_S_MAX


def test_injected_faults_are_listed_until_they_are_removed() -> None:
    """
    A fault from the control API is shown by name as long as it is there.
    """
    state = RunState()
    base = {"time_us": 1_000_000, "host": "mock", "fault_id": "f1"}
    state.apply({**base, "kind": "fault_added", "fault": "status", "source": "control"})
    listed = dict(state.faults)
    state.apply({**base, "kind": "fault_removed"})

    assert listed == {"f1": "status"}
    assert state.faults == {}


def test_without_transitions_the_circuits_pane_says_so() -> None:
    """
    A pane is never blank.
    """
    assert "all closed" in circuits_text(RunState(), width=60, duration_s=60).plain


@pytest.mark.parametrize(
    ("values", "rows", "expected"),
    [
        ([], 1, ["    "]),
        ([0, 0], 1, ["    "]),
        ([1, 2], 1, ["  ▄█"]),
        ([1, 2, 3, 4, 8], 1, ["▂▃▄█"]),
        ([1, 8], 2, ["   █", "  ▂█"]),
        ([0.001, 8], 1, ["  ▁█"]),
    ],
)
def test_charts_scale_to_the_highest_value(
    values: list[float], rows: int, expected: list[str]
) -> None:
    """
    The latest value stands at the right; a value above zero is never invisible.
    """
    assert chart(values, width=4, rows=rows) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"), [(-3, "00:00"), (75.9, "01:15"), (3661, "1:01:01")]
)
def test_clock_text(seconds: float, expected: str) -> None:
    """
    Scenario time is minutes and seconds, with hours where there are any.
    """
    assert clock_text(seconds) == expected
