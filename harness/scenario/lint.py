"""
What is allowed in a scenario and still a mistake.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from harness.scenario.expectation import (
    CircuitExpectation,
    Expectation,
    MetricExpectation,
)
from harness.scenario.faults import PlannedFault, planned_faults
from harness.scenario.model import Scenario
from harness.scenario.shorten import expected_samples
from harness.units import format_duration

Path_ = tuple[str | int, ...]

_OBSERVERS: Final = {
    "upstream": ("chat.", "upstream.", "circuit", "load.", "tools."),
    "tools": ("chat.", "tools.", "webhooks.", "upstream."),
    "webhook_endpoint": ("webhooks.", "chat."),
    "webhook_emitter": ("chat.", "tools.", "webhooks."),
}
"""The metrics in which a fault of each surface can show."""

_ACCEPTED_WORK: Final = ("chat.", "webhooks.", "load.")
_OUTAGE: Final = frozenset(
    {"status", "server_overloaded", "black_hole", "reset_before_headers", "refuse"}
)
_OUTAGE_RATE: Final = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class LintFinding:
    """
    Something that is probably not meant.
    """

    path: Path_
    """Where, as in a document's places."""

    severity: Literal["error", "warning"]
    """An error cannot come out well whatever the service does."""

    message: str


def lint(scenario: Scenario) -> tuple[LintFinding, ...]:
    """
    Return what is probably wrong with a valid scenario, in the order of the file.
    """
    return (
        *_lint_faults(scenario),
        *_lint_expectations(scenario),
    )


def _lint_faults(scenario: Scenario) -> Iterator[LintFinding]:
    subjects = [_subject(expectation) for expectation in scenario.expect]
    for fault in planned_faults(scenario):
        if fault.from_s >= scenario.duration_s:
            yield LintFinding(
                path=fault.path,
                severity="error",
                message=f"{fault.fault} begins at {format_duration(fault.from_s)}, "
                f"after the last arrival at {format_duration(scenario.duration_s)}",
            )
        seen = _OBSERVERS[fault.target]
        if not any(subject.startswith(seen) for subject in subjects):
            yield LintFinding(
                path=fault.path,
                severity="warning",
                message=f"no expectation observes {fault.fault}",
            )
        if _is_outage(fault) and not any(
            subject.startswith(_ACCEPTED_WORK) for subject in subjects
        ):
            yield LintFinding(
                path=fault.path,
                severity="warning",
                message="an outage, and no expectation says what becomes of the calls",
            )


def _is_outage(fault: PlannedFault) -> bool:
    return (
        fault.target == "upstream"
        and fault.fault in _OUTAGE
        and fault.injection_rate >= _OUTAGE_RATE
    )


def _lint_expectations(scenario: Scenario) -> Iterator[LintFinding]:
    if not scenario.expect:
        yield LintFinding(
            path=("scenario",),
            severity="warning",
            message="nothing is expected besides the invariants",
        )
    for index, expectation in enumerate(scenario.expect):
        path: Path_ = ("expect", index)
        yield from _lint_window(scenario, expectation, path)
        if isinstance(expectation, MetricExpectation):
            yield from _lint_samples(scenario, expectation, path)


def _lint_window(
    scenario: Scenario, expectation: Expectation, path: Path_
) -> Iterator[LintFinding]:
    from_s = getattr(expectation, "from_s", None)
    if from_s is not None and from_s >= scenario.duration_s:
        yield LintFinding(
            path=(*path, "from"),
            severity="error",
            message=f"begins at {format_duration(from_s)}, after the last arrival "
            f"at {format_duration(scenario.duration_s)}",
        )


def _lint_samples(
    scenario: Scenario, expectation: MetricExpectation, path: Path_
) -> Iterator[LintFinding]:
    metric = expectation.figure
    if metric.percentile is None:
        return
    samples = expected_samples(
        scenario.phases, from_s=expectation.from_s or 0.0, to_s=expectation.to_s
    )
    if samples < metric.samples_min:
        yield LintFinding(
            path=(*path, "metric"),
            severity="error",
            message=f"p{metric.percentile:g} needs {metric.samples_min} samples, "
            f"and about {samples:.0f} arrivals fall in its window",
        )


def _subject(expectation: Expectation) -> str:
    """
    Return what an expectation speaks of, as the beginning of a metric's name.
    """
    if isinstance(expectation, MetricExpectation):
        return expectation.metric
    if isinstance(expectation, CircuitExpectation):
        return "circuit"
    events: Any = [
        getattr(expectation, name, None)
        for name in ("sometimes", "never", "count", "after", "lasts")
    ]
    for event in events:
        kind = getattr(event, "event", None)
        if kind is not None:
            return _SUBJECTS.get(str(kind).split("_", 1)[0], "chat.")
    return "circuit"


_SUBJECTS: Final = {
    "upstream": "upstream.",
    "attempt": "upstream.",
    "retry": "upstream.",
    "circuit": "circuit",
    "probe": "circuit",
    "tool": "tools.",
    "pending": "tools.",
    "webhook": "webhooks.",
    "call": "chat.",
}
