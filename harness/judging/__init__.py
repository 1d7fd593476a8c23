"""
One timeline of a run, and what is judged over it: expectations, invariants, promise.

Everything here is pure: records in, rulings out.
"""

from harness.judging.breaker import BreakerEvidence, breaker_evidence
from harness.judging.causality import Health, Span, admitted_after_us, spans_of
from harness.judging.checks import judge_promise
from harness.judging.circuits import (
    Circuit,
    StateSpan,
    circuits_of,
    find_circuit,
    follows,
)
from harness.judging.entities import Attempt, Call, Delivery, Execution, Record
from harness.judging.expectations import judge_expectation
from harness.judging.faults import judge_faults
from harness.judging.figure import Figure
from harness.judging.figures import Figures, outcome_counts
from harness.judging.health import HealthBudget, ailments
from harness.judging.invariants import INVARIANTS, Invariant, judge_invariants
from harness.judging.ruling import (
    Finding,
    Ruling,
    Status,
    finding,
    inconclusive,
    rule,
    skipped,
)
from harness.judging.slack import Slack
from harness.judging.timeline import Timeline
from harness.judging.verdict import Judgement, Verdict, judge, verdict_of
from harness.judging.webhooks import Fates, fates_of
from harness.judging.what_if import (
    CircuitFigures,
    Transition,
    WhatIf,
    what_if,
    what_if_lines,
)

__all__ = [
    "INVARIANTS",
    "Attempt",
    "BreakerEvidence",
    "Call",
    "Circuit",
    "CircuitFigures",
    "Delivery",
    "Execution",
    "Fates",
    "Figure",
    "Figures",
    "Finding",
    "Health",
    "HealthBudget",
    "Invariant",
    "Judgement",
    "Record",
    "Ruling",
    "Slack",
    "Span",
    "StateSpan",
    "Status",
    "Timeline",
    "Transition",
    "Verdict",
    "WhatIf",
    "admitted_after_us",
    "ailments",
    "breaker_evidence",
    "circuits_of",
    "fates_of",
    "find_circuit",
    "finding",
    "follows",
    "inconclusive",
    "judge",
    "judge_expectation",
    "judge_faults",
    "judge_invariants",
    "judge_promise",
    "outcome_counts",
    "rule",
    "skipped",
    "spans_of",
    "verdict_of",
    "what_if",
    "what_if_lines",
]
