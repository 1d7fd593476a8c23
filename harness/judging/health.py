"""
Whether the bench itself was well enough for a verdict.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from harness.errors import check_options
from harness.judging.ruling import Finding, finding
from harness.judging.timeline import Timeline

_MICRO: Final = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthBudget:
    """
    How badly the bench may do before its verdicts mean nothing.
    """

    lag_s: float = 0.5
    """An arrival that was sent later than this was late."""

    late_share_max: float = 0.02
    """So many of the arrivals may be late."""

    def __post_init__(self) -> None:
        check_options(
            self,
            lag_s=self.lag_s > 0,
            late_share_max=0 <= self.late_share_max <= 1,
        )


def ailments(
    timeline: Timeline, budget: HealthBudget | None = None
) -> tuple[Finding, ...]:
    """
    Return what makes a run invalid: it says nothing about the service.
    """
    return tuple(_ailments(timeline, budget or HealthBudget()))


def _ailments(timeline: Timeline, budget: HealthBudget) -> Iterator[Finding]:
    started = timeline.of("call_started")
    late = [
        record
        for record in started
        if int(record.get("lag_us") or 0) > budget.lag_s * _MICRO
    ]
    if len(late) > budget.late_share_max * len(started):
        worst_us = max(int(record["lag_us"]) for record in late)
        yield finding(
            f"the generator sent {len(late)} of {len(started)} calls more than "
            f"{budget.lag_s:g} s late, at worst {worst_us / _MICRO:.2f} s",
            [int(record["seq"]) for record in late],
        )
    for record in timeline.of("journal_dropped"):
        message = (
            f"the mock lost {record.get('dropped', 'some')} entries of its journal"
        )
        yield finding(message, [int(record["seq"])])
    for record in timeline.of("script_error"):
        message = f"the scenario's script failed: {record.get('message')}"
        yield finding(message, [int(record["seq"])])
        break
    if not timeline.of("service_killed"):
        for record in timeline.of("service_exited"):
            message = f"the service ended by itself with {record.get('exit_code')}"
            yield finding(message, [int(record["seq"])])
            break
    if timeline.of("run_started") and timeline.end_reason is None:
        yield finding("the event log ends before the run")
