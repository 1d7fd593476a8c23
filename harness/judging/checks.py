"""
The promise of a service, judged from the mock's side.

A part that the scenario names must be seen at work: if it was not, the check is
inconclusive. A part that is promised because settings or a profile say so is judged
where it can be, and skipped where nothing tested it.
"""

from collections.abc import Collection
from statistics import median
from typing import Final

from harness.judging.breaker import BreakerEvidence
from harness.judging.ruling import Ruling, inconclusive, rule, skipped
from harness.judging.timeline import Timeline
from harness.scenario import Promise

_REFUSALS_MIN: Final = 5
_AT_ONCE_S: Final = 0.25


def judge_promise(
    timeline: Timeline,
    promise: Promise,
    breaker: BreakerEvidence,
    *,
    named: Collection[str] = (),
) -> tuple[Ruling, ...]:
    """
    Return the checks of the parts whose rules are not invariants.

    Args:
        timeline: The run.
        promise: What the service promises.
        breaker: What the mock saw of the circuits.
        named: The parts that the scenario is about.
    """
    return (
        _opens(promise, breaker, is_named="breaker" in named),
        _probes_gently(promise, breaker),
        _fails_fast(timeline, promise, breaker),
    )


def _opens(promise: Promise, breaker: BreakerEvidence, *, is_named: bool) -> Ruling:
    """
    After the promised failures nothing new reaches the upstream for the break duration.
    """
    id_ = "breaker.opens"
    if promise.breaker is None:
        return skipped(id_, "no circuit breaker is promised")
    figures = {"windows": breaker.windows, "breaks": breaker.breaks}
    if breaker.forbidden or breaker.was_exercised:
        return rule(
            id_,
            judged=breaker.windows + breaker.breaks,
            broken=breaker.forbidden,
            figures=figures,
        )
    reason = (
        f"{promise.breaker.failure_threshold} failures in a row, with calls coming "
        "after them, were never seen"
    )
    return inconclusive(id_, reason) if is_named else skipped(id_, reason)


def _probes_gently(promise: Promise, breaker: BreakerEvidence) -> Ruling:
    """
    At most the promised probes at a time until the circuit closes.
    """
    id_ = "breaker.probes_gently"
    if promise.breaker is None:
        return skipped(id_, "no circuit breaker is promised")
    if breaker.forbidden:
        return skipped(id_, "what came while the circuit was open is no probe")
    return rule(
        id_,
        judged=breaker.probes,
        broken=breaker.crowded,
        nothing="no attempt was certainly a probe",
    )


def _fails_fast(
    timeline: Timeline, promise: Promise, breaker: BreakerEvidence
) -> Ruling:
    """
    A call that comes while the circuit is open is answered at once.
    """
    id_ = "breaker.fails_fast"
    if promise.breaker is None:
        return skipped(id_, "no circuit breaker is promised")
    if len(breaker.refusals_us) < _REFUSALS_MIN:
        return skipped(id_, "too few calls were refused while the circuit was open")
    typical_s = median(breaker.refusals_us) / 1e6
    break_s = promise.breaker.break_duration
    figures = {"refused": len(breaker.refusals_us), "median_s": typical_s}
    at_once_s = max(_AT_ONCE_S, break_s / 4)
    if typical_s <= timeline.slack.at_most_us(at_once_s) / 1e6:
        return rule(id_, judged=len(breaker.refusals_us), figures=figures)
    reason = f"a refused call typically took {typical_s:.2f} s"
    return inconclusive(id_, reason, figures=figures)
