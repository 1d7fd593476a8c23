"""
Expectations judged over a timeline.
"""

from collections.abc import Mapping, Sequence
from typing import Any, assert_never

from harness.judging.breaker import BreakerEvidence
from harness.judging.circuits import find_circuit, follows
from harness.judging.entities import Record
from harness.judging.figures import Figures
from harness.judging.ruling import (
    Ruling,
    Status,
    finding,
    inconclusive,
    rule,
    skipped,
)
from harness.judging.timeline import Timeline
from harness.scenario import (
    SERVICE_KINDS,
    CircuitExpectation,
    CountExpectation,
    EventMatch,
    Expectation,
    LastsExpectation,
    MetricExpectation,
    NeverExpectation,
    Repeat,
    SometimesExpectation,
    Unit,
    WithinExpectation,
    format_value,
)

_MICRO = 1e6


def judge_expectation(  # noqa: PLR0911 - one way out per kind of expectation
    expectation: Expectation,
    timeline: Timeline,
    *,
    figures: Figures,
    breaker: BreakerEvidence,
) -> Ruling:
    """
    Return whether an expectation holds; one that was not exercised is inconclusive.

    Args:
        expectation: What should hold.
        timeline: The run.
        figures: Computes figures over the same run.
        breaker: What the mock saw of the circuits; it says whether one that never
            opened had cause to.
    """
    match expectation:
        case CircuitExpectation():
            return _judge_path(expectation, timeline, breaker)
        case MetricExpectation():
            return _judge_metric(expectation, timeline, figures)
        case SometimesExpectation():
            seen = _matching(
                timeline, expectation.sometimes, _span(expectation, figures)
            )
            if seen:
                return rule(str(expectation), judged=len(seen))
            return inconclusive(str(expectation), "it never happened")
        case NeverExpectation():
            return _judge_never(expectation, timeline, figures)
        case CountExpectation():
            return _judge_count(expectation, timeline, figures)
        case WithinExpectation():
            return _judge_within(expectation, timeline, figures)
        case LastsExpectation():
            return _judge_lasts(expectation, timeline, figures)
        case _:
            assert_never(expectation)


def _judge_path(
    expectation: CircuitExpectation, timeline: Timeline, breaker: BreakerEvidence
) -> Ruling:
    name = str(expectation)
    if not timeline.speaks:
        return inconclusive(name, "the service says nothing of its circuits")
    circuit = find_circuit(timeline, expectation.circuit)
    path = circuit.path
    events = [span.seq for span in circuit.spans]
    measured: dict[str, Any] = {
        "path": path,
        "times_s": [round(span.from_us / _MICRO, 6) for span in circuit.spans[1:]],
    }
    if follows(path, expectation.path):
        return Ruling(id=name, status=Status.PASSED, figures=measured)
    if len(path) == 1 and not breaker.was_exercised:
        return inconclusive(
            name,
            f"it stayed {path[0]}, and was given no cause to open that is beyond doubt",
            figures=measured,
        )
    if timeline.interruptions_us or timeline.end_reason != "finished":
        reason = "the service or the run was interrupted, and its circuits with it"
        return inconclusive(name, reason, figures=measured, events=events)
    at = _first_divergence(path, expectation.path)
    told = " › ".join(path)  # noqa: RUF001
    message = f"it went {told}"
    if at < len(circuit.spans):
        message += f"; the first step astray is to {path[at]}"
        events = [circuit.spans[at].seq, *events]
    else:
        message += ", and that is not all that was expected"
    return Ruling(
        id=name,
        status=Status.FAILED,
        figures=measured,
        findings=(finding(message, events),),
    )


def _first_divergence(path: Sequence[str], wanted: Sequence[str | Repeat]) -> int:
    """
    Return the index of the first state after which no continuation could follow.
    """
    for length in range(1, len(path) + 1):
        if not _could_continue(path[:length], wanted):
            return length - 1
    return len(path)


def _could_continue(states: Sequence[str], wanted: Sequence[str | Repeat]) -> bool:
    for cut in range(len(wanted) + 1):
        head = list(wanted[:cut])
        if follows(states, head):
            return True
        last = head[-1] if head else None
        if isinstance(last, Repeat):
            # A repetition may be broken off anywhere.
            for inside in range(1, len(last.repeat)):
                part: list[str | Repeat] = list(last.repeat[:inside])
                if follows(states, [*head[:-1], *part]) or follows(
                    states, [*head, *part]
                ):
                    return True
    return False


def _judge_metric(
    expectation: MetricExpectation, timeline: Timeline, figures: Figures
) -> Ruling:
    name, metric = str(expectation), expectation.figure
    is_latency = metric.percentile is not None
    if is_latency and timeline.mode == "virtual":
        return skipped(name, "latency percentiles mean nothing in virtual time")
    figure = figures.of(expectation)
    measured: dict[str, Any] = {"value": figure.value, "samples": figure.samples}
    if figure.value is None or figure.samples == 0:
        return inconclusive(name, figure.why, figures=measured)
    if figure.samples < metric.samples_min:
        reason = f"p{metric.percentile:g} needs {metric.samples_min} samples; there are {figure.samples}"
        return inconclusive(name, reason, figures=measured)
    if figure.value == float("inf"):
        measured["value"] = "infinite"
    is_circuit_time = metric.circuit is not None and metric.unit is Unit.SECONDS
    slack_s = 0.0
    if is_circuit_time:
        slack_s = (timeline.slack.at_most_us(figure.value) / _MICRO) - figure.value
    if expectation.holds(figure.value, slack=slack_s):
        return rule(name, judged=figure.samples, figures=measured)
    value = format_value(figure.value, metric.unit)
    message = f"{metric.name} was {value}, over {figure.samples} samples"
    return Ruling(
        id=name,
        status=Status.FAILED,
        figures=measured,
        findings=(finding(message, figure.events),),
    )


def _span(expectation: Any, figures: Figures) -> tuple[int, int]:
    return figures.window(expectation.from_s, expectation.to_s)


def _matching(
    timeline: Timeline, wanted: EventMatch, window: tuple[int, int]
) -> list[Record]:
    return [
        record
        for record in timeline.of(wanted.event)
        if window[0] <= int(record["time_us"]) < window[1]
        and all(_has(record, name, value) for name, value in wanted.where.items())
    ]


def _has(record: Mapping[str, Any], name: str, value: Any) -> bool:
    found = record.get(name)
    return found == value or (isinstance(found, list) and value in found)


def _is_silent(timeline: Timeline, wanted: EventMatch) -> bool:
    return wanted.event in SERVICE_KINDS and not timeline.speaks


_SILENT = "the service says nothing of itself"


def _judge_never(
    expectation: NeverExpectation, timeline: Timeline, figures: Figures
) -> Ruling:
    name = str(expectation)
    if _is_silent(timeline, expectation.never):
        return inconclusive(name, _SILENT)
    seen = _matching(timeline, expectation.never, _span(expectation, figures))
    broken = [finding("it happened", [int(record["seq"])]) for record in seen]
    return rule(name, judged=1, broken=broken)


def _judge_count(
    expectation: CountExpectation, timeline: Timeline, figures: Figures
) -> Ruling:
    name = str(expectation)
    if _is_silent(timeline, expectation.count):
        return inconclusive(name, _SILENT)
    seen = _matching(timeline, expectation.count, _span(expectation, figures))
    measured = {"value": len(seen)}
    if expectation.holds(len(seen)):
        return rule(name, judged=1, figures=measured)
    message = f"it happened {len(seen)} times"
    broken = [finding(message, [int(record["seq"]) for record in seen])]
    return rule(name, judged=1, broken=broken, figures=measured)


def _judge_within(
    expectation: WithinExpectation, timeline: Timeline, figures: Figures
) -> Ruling:
    name = str(expectation)
    if _is_silent(timeline, expectation.after) or _is_silent(
        timeline, expectation.then
    ):
        return inconclusive(name, _SILENT)
    causes = _matching(timeline, expectation.after, _span(expectation, figures))
    effects = _matching(timeline, expectation.then, (0, timeline.end_us + 1))
    limit_us = timeline.slack.at_most_us(expectation.within)
    broken, unknown = [], []
    for cause in causes:
        at_us, seq = int(cause["time_us"]), int(cause["seq"])
        if any(0 <= int(effect["time_us"]) - at_us <= limit_us for effect in effects):
            continue
        if at_us + limit_us > timeline.end_us:
            unknown.append(finding("the run ended too early to tell", [seq]))
        else:
            broken.append(finding(f"nothing followed in time after event {seq}", [seq]))
    if not causes:
        return inconclusive(name, f"never: {expectation.after}")
    return rule(name, judged=len(causes), broken=broken, unknown=unknown)


def _judge_lasts(
    expectation: LastsExpectation, timeline: Timeline, figures: Figures
) -> Ruling:
    name, condition = str(expectation), expectation.lasts
    if not timeline.speaks:
        return inconclusive(name, _SILENT)
    window = _span(expectation, figures)
    spans = [
        span
        for span in find_circuit(timeline, condition.circuit).of(condition.state)
        if window[0] <= span.from_us < window[1] and span.to_us is not None
    ]
    if not spans:
        return inconclusive(name, f"never, from beginning to end: {condition}")
    broken = []
    for span in spans:
        lasted_us = (span.to_us or 0) - span.from_us
        slack_us = timeline.slack.at_most_us(lasted_us / _MICRO) - lasted_us
        if not expectation.holds(lasted_us / _MICRO, slack=slack_us / _MICRO):
            message = f"it lasted {format_value(lasted_us / _MICRO, Unit.SECONDS)}"
            broken.append(finding(message, [span.seq]))
    return rule(name, judged=len(spans), broken=broken)
