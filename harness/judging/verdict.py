"""
What a run came to: passed, failed, inconclusive or invalid.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from harness.judging.breaker import breaker_evidence
from harness.judging.checks import judge_promise
from harness.judging.entities import Record
from harness.judging.expectations import judge_expectation
from harness.judging.faults import judge_faults
from harness.judging.figures import Figures, outcome_counts
from harness.judging.health import HealthBudget, ailments, overload
from harness.judging.invariants import judge_invariants
from harness.judging.ruling import Finding, Ruling, Status
from harness.judging.timeline import Timeline
from harness.scenario import (
    Expectation,
    MetricExpectation,
    Promise,
    Scenario,
    planned_faults,
)


class Verdict(StrEnum):
    """
    The four ways in which a run can come out.
    """

    PASSED = "passed"
    FAILED = "failed"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"


@dataclass(frozen=True, slots=True, kw_only=True)
class Judgement:
    """
    A verdict and what it rests on.
    """

    verdict: Verdict
    reason: str | None = None
    """Why the run is invalid, or was broken off."""

    checks: tuple[Ruling, ...] = ()
    expectations: tuple[Ruling, ...] = ()
    invariants: tuple[Ruling, ...] = ()
    calls: Mapping[str, int] = field(default_factory=dict)
    """How many calls ended in which way."""

    ailments: tuple[Finding, ...] = ()
    """What was wrong with the bench."""

    @property
    def counts(self) -> dict[str, int]:
        """
        How many entries have which status, in the order of the statuses.
        """
        entries = (*self.checks, *self.expectations, *self.invariants)
        counted = Counter(entry.status for entry in entries)
        return {status.value: counted[status] for status in Status}

    def to_json(self) -> dict[str, Any]:
        """
        Return it as it stands in ``summary.json``.
        """
        values: dict[str, Any] = {
            "verdict": self.verdict.value,
            "counts": self.counts,
            "calls": dict(self.calls),
            "checks": [ruling.to_json() for ruling in self.checks],
            "expectations": [ruling.to_json() for ruling in self.expectations],
            "invariants": [ruling.to_json() for ruling in self.invariants],
        }
        if self.reason is not None:
            values["reason"] = self.reason
        if self.ailments:
            values["ailments"] = [each.to_json() for each in self.ailments]
        return values


def judge(
    scenario: Scenario,
    records: Iterable[Record],
    *,
    promise: Promise | None = None,
    is_live: bool | None = None,
    failure: str | None = None,
    is_interrupted: bool = False,
    budget: HealthBudget | None = None,
) -> Judgement:
    """
    Return the verdict of a scenario over an event log; pure.

    Args:
        scenario: What was planned and expected.
        records: The event log, in its order.
        promise: What the service promises; by default what the reference service does
            with the scenario's settings.
        is_live: Whether time was real; by default what the log says.
        failure: Why the bench could not run it to its end, if so.
        is_interrupted: Whether somebody broke the run off.
        budget: How badly the bench may do.
    """
    timeline = Timeline.from_records(records)
    if is_live is not None:
        timeline = timeline.in_mode("live" if is_live else "virtual")
    promised = promise or scenario.promised()
    figures = Figures(timeline, promise=promised, warmup_s=scenario.warmup_s)
    breaker = breaker_evidence(timeline, promised)
    expectations = [
        judge_expectation(each, timeline, figures=figures, breaker=breaker)
        for each in scenario.expect
    ]
    expectations += judge_faults(timeline, planned_faults(scenario))
    checks = judge_promise(timeline, promised, breaker, named=scenario.promise.named)
    invariants = judge_invariants(timeline, promised)
    wrong = ailments(timeline, budget)
    too_busy = overload(timeline, budget)
    rulings = (*expectations, *checks, *invariants)
    if too_busy and _is_slowness(rulings, scenario.expect):
        wrong = (*wrong, too_busy)
    reason = failure
    if reason is None and wrong:
        reason = wrong[0].message
    is_invalid = reason is not None
    if is_interrupted and reason is None:
        reason = "the run was interrupted"
    return Judgement(
        verdict=verdict_of(
            rulings,
            is_invalid=is_invalid,
            is_interrupted=is_interrupted,
        ),
        reason=reason,
        checks=checks,
        expectations=tuple(expectations),
        invariants=invariants,
        calls=outcome_counts(timeline),
        ailments=wrong,
    )


def _is_slowness(
    rulings: Sequence[Ruling], expectations: Sequence[Expectation]
) -> bool:
    """
    Say whether all that failed is what becomes of calls on a slow machine.

    Args:
        rulings: All of them, those over the scenario's expectations first.
        expectations: Of the scenario, in the same order.
    """
    may_be_slow = [
        isinstance(each, MetricExpectation) and each.metric.startswith("chat.")
        for each in expectations
    ]
    failed = [each.status is Status.FAILED for each in rulings]
    padded = [*may_be_slow, *[False] * (len(failed) - len(may_be_slow))]
    return any(failed) and all(
        is_slow for is_slow, is_broken in zip(padded, failed, strict=True) if is_broken
    )


def verdict_of(
    rulings: Sequence[Ruling], *, is_invalid: bool = False, is_interrupted: bool = False
) -> Verdict:
    """
    Return the verdict over single rulings.

    A run that says nothing about the service is invalid whatever was seen; a failure
    outranks what could not be decided; where nothing was decided, nothing has passed.
    """
    statuses = {ruling.status for ruling in rulings}
    if is_invalid:
        return Verdict.INVALID
    if Status.FAILED in statuses:
        return Verdict.FAILED
    if is_interrupted or Status.INCONCLUSIVE in statuses:
        return Verdict.INCONCLUSIVE
    return Verdict.PASSED if Status.PASSED in statuses else Verdict.INCONCLUSIVE
