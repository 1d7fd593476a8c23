"""
Circuits do what their states say; judged where the service tells of them.
"""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any, Final

from harness.judging.causality import admitted_after_us
from harness.judging.circuits import circuits_of, covers_model
from harness.judging.entities import Record, is_by_hand
from harness.judging.ruling import Finding, Ruling, finding, rule, skipped
from harness.judging.timeline import Timeline
from harness.scenario import Promise

_SETTLES_S: Final = 1.0
"""So long after the end of its call a probe may take to be settled."""

_SILENT: Final = "the service says nothing of its circuits"
_NEVER_CHANGED: Final = "no circuit ever changed"
_LEGAL: Final = frozenset(
    {
        ("closed", "open"),
        ("open", "half_open"),
        ("half_open", "closed"),
        ("half_open", "open"),
    }
)


def transitions_are_legal(timeline: Timeline, promise: Promise) -> Ruling:
    """
    12: only legal transitions, each from where the last one led.
    """
    del promise
    broken: list[Finding] = []
    last: dict[str, Record] = {}
    changes = timeline.of("circuit_changed")
    for record in changes:
        name = str(record["circuit"])
        before, from_, to = last.get(name), str(record["from"]), str(record["to"])
        seq = int(record["seq"])
        if (from_, to) not in _LEGAL and not is_by_hand(record):
            broken.append(finding(f"{name} went from {from_} to {to}", [seq]))
        if before is not None and before["to"] != from_:
            was_restarted = timeline.is_interrupted(
                int(before["time_us"]), int(record["time_us"])
            )
            if not was_restarted:
                message = f"{name} left {from_}, and was in {before['to']}"
                broken.append(finding(message, [seq, int(before["seq"])]))
        last[name] = record
    return rule(
        "12 transitions are legal",
        judged=len(changes),
        broken=broken,
        nothing=_NEVER_CHANGED if timeline.speaks else _SILENT,
    )


def nothing_starts_while_open(timeline: Timeline, promise: Promise) -> Ruling:
    """
    13: no attempt that was admitted while a circuit is open reaches the model API.
    """
    del promise
    broken: list[Finding] = []
    spells = list(_open_spells(timeline))
    for name, seq, from_us, to_us in spells:
        for attempt in timeline.attempts:
            if not from_us < attempt.received_us < to_us:
                continue
            admitted_us = admitted_after_us(attempt)
            if admitted_us is None or admitted_us < from_us:
                continue
            if covers_model(name, attempt.model):
                message = f"attempt {attempt.request_id} was made while {name} was open"
                broken.append(finding(message, [attempt.seq, seq]))
    return rule(
        "13 nothing starts while open",
        judged=len(spells),
        broken=broken,
        nothing="no circuit ever opened" if timeline.speaks else _SILENT,
    )


def open_lasts(timeline: Timeline, promise: Promise) -> Ruling:
    """
    15: open lasts as long as promised, and no longer once there is traffic.
    """
    name_ = "15 open lasts as promised"
    if promise.breaker is None:
        return skipped(name_, "no circuit breaker is promised")
    least_us = timeline.slack.at_least_us(promise.breaker.break_duration)
    broken: list[Finding] = []
    judged = 0
    for name, circuit in circuits_of(timeline).items():
        for span, following in zip(circuit.spans, circuit.spans[1:], strict=False):
            if span.state != "open" or following.state != "half_open":
                continue
            judged += 1
            lasted_us = following.from_us - span.from_us
            was_disturbed = timeline.is_disturbed(span.from_us, following.from_us)
            if lasted_us < least_us and not was_disturbed:
                message = (
                    f"{name} was open for {lasted_us / 1e6:.3f} s; "
                    f"{promise.breaker.break_duration:g} s are promised"
                )
                broken.append(finding(message, [following.seq, span.seq]))
    broken += _refused_too_long(timeline, promise.breaker.break_duration)
    return rule(
        name_,
        judged=judged,
        broken=broken,
        nothing="no circuit was open from beginning to end",
    )


def _refused_too_long(timeline: Timeline, break_s: float) -> Iterator[Finding]:
    """
    Yield the first refusal of each break that came after its end.
    """
    said_s = {
        int(record["seq"]): float(record.get("break_duration_s") or 0.0)
        for record in timeline.of("circuit_changed")
    }
    refusals: dict[str, list[Record]] = defaultdict(list)
    for record in timeline.of("operation_rejected"):
        # One that waited in a queue may be told of a break that is over.
        if record.get("circuit") and record.get("retry_after_s"):
            refusals[str(record["circuit"])].append(record)
    for name, seq, from_us, to_us in _open_spells(timeline):
        # A peer's Retry-After may lengthen a break; the service says so at its start.
        lasts_s = max(break_s, said_s.get(seq or 0, 0.0))
        end_us = from_us + timeline.slack.at_most_us(lasts_s)
        late = next(
            (each for each in refusals[name] if end_us < int(each["time_us"]) < to_us),
            None,
        )
        if late is not None:
            after_s = (int(late["time_us"]) - from_us) / 1e6
            message = (
                f"{name} still refused {after_s:.3f} s after it had opened for "
                f"{lasts_s:g} s"
            )
            yield finding(message, [int(late["seq"]), seq])


def probes_within_bounds(timeline: Timeline, promise: Promise) -> Ruling:
    """
    16: at most as many probes at once as promised, and every probe ends.
    """
    name_ = "16 probes within bounds"
    if promise.breaker is None:
        return skipped(name_, "no circuit breaker is promised")
    broken: list[Finding] = list(_leaked_probes(timeline))
    under_way: dict[tuple[str, int], list[int]] = {}
    started = 0
    for record in timeline.records:
        kind = record.get("kind")
        if kind not in {"probe_started", "probe_ended", "probe_expired"}:
            continue
        key = (str(record["circuit"]), int(record.get("generation") or 0))
        probes = under_way.setdefault(key, [])
        if kind != "probe_started":
            del probes[:1]
            continue
        started += 1
        probes.append(int(record["seq"]))
        if len(probes) > promise.breaker.probes_max:
            message = (
                f"{key[0]} has {len(probes)} probes at once; "
                f"{promise.breaker.probes_max} are promised"
            )
            broken.append(finding(message, [probes[-1], *probes]))
    return rule(
        name_,
        judged=started,
        broken=broken,
        nothing="nothing was probed" if timeline.speaks else _SILENT,
    )


def _leaked_probes(timeline: Timeline) -> Iterator[Finding]:
    """
    Yield the probes that hold their slot although their call is over.
    """
    ends_us = {
        call.trace_id: call.ended_us
        for call in timeline.calls
        # Of a caller that left nobody knows whether the service goes on.
        if call.outcome != "unknown" and (call.ending or {}).get("status") is not None
    }
    ends_us |= {
        record.get("trace_id"): int(record["time_us"])
        for kind in ("chat_failed", "chat_answered")
        for record in timeline.of(kind)
    }
    freed: dict[tuple[str, int, Any], int] = {}
    moved_us: dict[str, list[int]] = defaultdict(list)
    expired_us: dict[str, list[int]] = defaultdict(list)
    for record in timeline.of("probe_ended"):
        freed[_probe_of(record)] = int(record["seq"])
    for record in timeline.of("circuit_changed"):
        moved_us[str(record["circuit"])].append(int(record["time_us"]))
    for record in timeline.of("probe_expired"):
        expired_us[str(record["circuit"])].append(int(record["time_us"]))
    for record in timeline.of("probe_started"):
        name, start_us = str(record["circuit"]), int(record["time_us"])
        call_end_us = ends_us.get(record.get("trace_id"))
        if call_end_us is None or freed.get(_probe_of(record), 0) > record["seq"]:
            continue
        by_us = call_end_us + timeline.slack.at_most_us(_SETTLES_S)
        moved_by_us = call_end_us + timeline.slack.fixed_us
        was_moved = any(
            start_us <= time_us <= moved_by_us
            for time_us in (*moved_us[name], *expired_us[name])
        )
        if (
            not was_moved
            and by_us < timeline.end_us
            and not timeline.is_interrupted(start_us, by_us)
        ):
            message = (
                f"a probe of {name} has no end although its call ended at "
                f"{call_end_us / 1e6:.3f} s: its slot has leaked"
            )
            yield finding(message, [int(record["seq"])])


def _probe_of(record: Record) -> tuple[str, int, Any]:
    return (
        str(record["circuit"]),
        int(record.get("generation") or 0),
        record.get("trace_id"),
    )


def _open_spells(timeline: Timeline) -> Iterator[tuple[str, int | None, int, int]]:
    for name, circuit in circuits_of(timeline).items():
        for span in circuit.of("open"):
            to_us = timeline.end_us if span.to_us is None else span.to_us
            if not timeline.is_interrupted(span.from_us, to_us):
                yield name, span.seq, span.from_us, to_us
