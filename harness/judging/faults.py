"""
Whether the faults that a scenario plans were seen to hit.
"""

from collections.abc import Sequence

from harness.judging.ruling import Ruling, inconclusive, rule
from harness.judging.timeline import Timeline
from harness.scenario import PlannedFault, format_path


def judge_faults(
    timeline: Timeline, planned: Sequence[PlannedFault]
) -> tuple[Ruling, ...]:
    """
    Return, for every planned fault, whether it hit; a test without it tested nothing.
    """
    return tuple(_judge(timeline, fault) for fault in planned)


def _judge(timeline: Timeline, fault: PlannedFault) -> Ruling:
    name = f"{format_path(fault.path)} ({fault.fault}) hits"
    slack_us = timeline.slack.fixed_us
    to_s = float("inf") if fault.to_s is None else fault.to_s
    hits = [
        record
        for record in timeline.of("fault_applied")
        if record.get("fault") == fault.fault
        and record.get("surface") == fault.target
        and fault.from_s * 1e6 - slack_us
        <= int(record["time_us"])
        <= to_s * 1e6 + slack_us
    ]
    if not hits:
        return inconclusive(name, "the fault never hit")
    return rule(name, judged=len(hits), figures={"hits": len(hits)})
