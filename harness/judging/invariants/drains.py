"""
Once faults stop, everything comes to rest.
"""

from collections.abc import Iterator
from typing import Final

from harness.judging.circuits import circuits_of, covers_model
from harness.judging.entities import Attempt, Call
from harness.judging.ruling import Finding, Ruling, finding, rule
from harness.judging.timeline import Timeline
from harness.scenario import Promise

_DEFAULT_TIMEOUT_S: Final = 30.0
_LOOKS_EVERY_S: Final = 2.0
"""Callers ask for the state of an accepted chat at least so often."""

_CLOSES_S: Final = 5.0
"""So long a connection may be held whose attempt is over."""

_REFUSALS_MIN: Final = 5


def all_drains(timeline: Timeline, promise: Promise) -> Ruling:
    """
    25: once faults stop, calls and exchanges end, circuits close, and nothing is held.
    """
    quiet_us = _faults_end_us(timeline)
    broken = [
        *_calls_that_stay(timeline, promise, quiet_us),
        *_exchanges_that_stay(timeline, promise),
        *_circuits_that_stay(timeline, promise, quiet_us),
        *_holdings_that_stay(timeline),
    ]
    is_over = timeline.end_reason == "finished"
    return rule(
        "25 all drains once faults stop",
        judged=len(timeline.calls) if is_over else 0,
        broken=broken if is_over else [],
        figures={"faults_end_s": round(quiet_us / 1e6, 3)},
        nothing="nothing was offered in a run that finished",
    )


def _faults_end_us(timeline: Timeline) -> int:
    """
    Return when the last fault hit, the service's own crashes among them.
    """
    hits = [int(record["time_us"]) for record in timeline.of("fault_applied")]
    return max([0, *hits, *timeline.interruptions_us])


def _calls_that_stay(
    timeline: Timeline, promise: Promise, quiet_us: int
) -> Iterator[Finding]:
    total_s = promise.upstream.total_timeout if promise.upstream else None
    if total_s is None:
        return
    within_us = timeline.slack.at_most_us(total_s + _LOOKS_EVERY_S)
    for call in timeline.calls:
        if call.started_us is None or call.ended_us is None:
            continue
        due_us = max(call.started_us, quiet_us) + within_us
        if call.ended_us > due_us:
            message = (
                f"{call.call_id} ended {(call.ended_us - due_us) / 1e6:.3f} s later "
                "than its total timeout allows once faults had stopped"
            )
            yield finding(message, [call.ended_seq, call.offered_seq])


def _exchanges_that_stay(timeline: Timeline, promise: Promise) -> Iterator[Finding]:
    """
    Yield the requests whose connection was held long after their attempt was over.
    """
    timeout_s = promise.upstream.attempt_timeout if promise.upstream else None
    for attempt in timeline.attempts:
        over_us = _over_us(attempt, timeout_s)
        if over_us is None:
            continue
        due_us = over_us + timeline.slack.at_most_us(_CLOSES_S)
        held_us = timeline.end_us if attempt.ended_us is None else attempt.ended_us
        if held_us > due_us and not timeline.is_interrupted(
            attempt.received_us, held_us
        ):
            message = (
                f"the connection of attempt {attempt.request_id} was held for "
                f"{(held_us - over_us) / 1e6:.3f} s after its call had ended"
            )
            yield finding(message, [attempt.ended_seq, attempt.seq])


def _over_us(attempt: Attempt, timeout_s: float | None) -> int | None:
    """
    Return when nobody can want an attempt's answer any more; None if not known.
    """
    call: Call | None = attempt.call
    if call is None or call.ended_us is None or timeout_s is None:
        return None
    if call.outcome == "unknown" or (call.ending or {}).get("status") is None:
        # The caller went away, the service may be at it still.
        return None
    planned_us = int((attempt.ended or {}).get("planned_us") or 0)
    if attempt.outcome not in {None, "abandoned", "hung"}:
        # The mock wrote to its end, however slowly.
        return None
    return max(
        call.ended_us,
        attempt.received_us + planned_us,
        attempt.received_us + round(timeout_s * 1e6),
    )


def _circuits_that_stay(
    timeline: Timeline, promise: Promise, quiet_us: int
) -> Iterator[Finding]:
    """
    Yield the circuits that refuse everything although nothing is wrong any more.
    """
    if promise.breaker is None:
        return
    timeout_s = promise.upstream.attempt_timeout if promise.upstream else None
    for name, circuit in circuits_of(timeline).items():
        last = circuit.spans[-1]
        if last.state not in {"open", "half_open"}:
            continue
        said_s = (
            float(each.get("break_duration_s") or 0.0)
            for each in timeline.of("circuit_changed")
        )
        break_s = max(promise.breaker.break_duration, *said_s)
        wait_s = break_s + (timeout_s or _DEFAULT_TIMEOUT_S)
        from_us = max(quiet_us, last.from_us) + timeline.slack.at_most_us(wait_s)
        has_probed = any(
            attempt.received_us >= last.from_us
            and (attempt.ended_us is None or attempt.ended_us > from_us)
            for attempt in timeline.attempts
            if covers_model(name, attempt.model)
        )
        refused = [
            record
            for record in timeline.of("operation_rejected")
            if record.get("circuit") == name and int(record["time_us"]) > from_us
        ]
        if len(refused) >= _REFUSALS_MIN and not has_probed:
            message = (
                f"{name} is {last.state} for good: nothing reached the model API since "
                f"{from_us / 1e6:.3f} s, and {len(refused)} calls were refused"
            )
            yield finding(message, [int(refused[0]["seq"]), last.seq])


def _holdings_that_stay(timeline: Timeline) -> Iterator[Finding]:
    """
    Yield what the service holds at rest that it did not hold before it was asked.
    """
    measured = {str(each["phase"]): each for each in timeline.of("service_measured")}
    before, after = measured.get("start"), measured.get("end")
    if before is None or after is None:
        return
    for what in ("tasks", "connections"):
        had, has = int(before[what]), int(after[what])
        if has > had:
            named = ", ".join(after["more_tasks"]) if what == "tasks" else ""
            message = (
                f"the service holds {has} {what} at rest, and began with {had}"
                + (f": {named}" if named else "")
            )
            yield finding(message, [int(after["seq"]), int(before["seq"])])
