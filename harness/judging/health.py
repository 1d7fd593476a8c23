"""
Whether the bench itself was well enough for a verdict.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from harness.errors import check_options
from harness.judging.entities import Record
from harness.judging.ruling import Finding, finding
from harness.judging.timeline import Timeline

_MICRO: Final = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthBudget:
    """
    How badly the bench may do before its verdicts mean nothing.
    """

    lag_s: float = 0.5
    """A call that was sent, or a reply that was given, later than this was late."""

    late_share_max: float = 0.02
    """So many of the calls, and of the mock's replies, may be late."""

    load_per_core_max: float = 2.5
    """With more processes than this wanting each core, nobody answers in time."""

    def __post_init__(self) -> None:
        check_options(
            self,
            lag_s=self.lag_s > 0,
            late_share_max=0 <= self.late_share_max <= 1,
            load_per_core_max=self.load_per_core_max > 0,
        )


def ailments(
    timeline: Timeline, budget: HealthBudget | None = None
) -> tuple[Finding, ...]:
    """
    Return what makes a run invalid: it says nothing about the service.
    """
    return tuple(_ailments(timeline, budget or HealthBudget()))


def overload(timeline: Timeline, budget: HealthBudget | None = None) -> Finding | None:
    """
    Return that the machine had too much to do, if it had.

    That makes no run invalid by itself: what held held all the same. It only explains
    calls that were slow, or failed for that.
    """
    load_max = (budget or HealthBudget()).load_per_core_max
    worst: Record = max(
        timeline.of("bench_sampled"), key=_load_per_core, default={"seq": 0}
    )
    if _load_per_core(worst) <= load_max:
        return None
    message = (
        f"the machine was overloaded, {_load_per_core(worst):g} processes wanted each "
        "core: calls that were late say nothing of the service"
    )
    return finding(message, [int(worst["seq"])])


def _load_per_core(record: Record) -> float:
    return float(record.get("load_per_core") or 0.0)


def _ailments(timeline: Timeline, budget: HealthBudget) -> Iterator[Finding]:
    yield from _lags(timeline, budget)
    for record in timeline.of("journal_dropped"):
        message = (
            f"the mock lost {record.get('dropped', 'some')} entries of its journal"
        )
        yield finding(message, [int(record["seq"])])
    for record in timeline.of("script_error")[:1]:
        message = f"the scenario's script failed: {record.get('message')}"
        yield finding(message, [int(record["seq"])])
    if not timeline.of("service_killed"):
        for record in timeline.of("service_exited")[:1]:
            message = f"the service ended by itself with {record.get('exit_code')}"
            yield finding(message, [int(record["seq"])])
    if timeline.of("run_started") and timeline.end_reason is None:
        yield finding("the event log ends before the run")


def _lags(timeline: Timeline, budget: HealthBudget) -> Iterator[Finding]:
    answered = [
        record
        for record in timeline.of("upstream_request_ended")
        if record.get("outcome") == "complete"
    ]
    for who, what, records, lag_us in (
        ("generator sent", "calls", timeline.of("call_started"), _lag_us),
        ("mock answered", "requests", answered, _overhead_us),
    ):
        late = [record for record in records if lag_us(record) > budget.lag_s * _MICRO]
        if len(late) > budget.late_share_max * len(records):
            worst_s = max(map(lag_us, late)) / _MICRO
            yield finding(
                f"the {who} {len(late)} of {len(records)} {what} more than "
                f"{budget.lag_s:g} s late, at worst {worst_s:.2f} s",
                [int(record["seq"]) for record in late],
            )


def _lag_us(record: Record) -> int:
    """
    Return how much later than intended a call was sent.
    """
    return int(record.get("lag_us") or 0)


def _overhead_us(record: Record) -> int:
    """
    Return how much longer than planned an answer took.
    """
    return int(record.get("actual_us") or 0) - int(record.get("planned_us") or 0)
