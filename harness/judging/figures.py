"""
The figures that expectations bound, computed from a timeline.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.judging.causality import admitted_after_us
from harness.judging.circuits import (
    StateSpan,
    covers_model,
    find_circuit,
    members_of,
)
from harness.judging.entities import Attempt, Call, Delivery
from harness.judging.timeline import Timeline
from harness.judging.webhooks import Fates, fates_of
from harness.scenario import CircuitCondition, MetricExpectation, Promise

_MICRO: Final = 1e6
_EVIDENCE: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """
    A figure, and what it rests on.
    """

    value: float | None
    """None: it cannot be told."""

    samples: int
    """0: there was nothing to measure."""

    why: str = ""
    """Why there is no value or no sample."""

    events: tuple[int, ...] = ()
    """Records that show it, the most telling first."""


class Figures:
    """
    Computes figures over one timeline.

    Args:
        timeline: The run.
        promise: What the service promises; it says how long a message may take.
        warmup_s: Until when nothing counts.
    """

    def __init__(
        self, timeline: Timeline, *, promise: Promise, warmup_s: float = 0.0
    ) -> None:
        self._timeline = timeline
        self._promise = promise
        self._warmup_us = round(warmup_s * _MICRO)
        self._fates: Fates | None = None

    @property
    def fates(self) -> Fates:
        """
        What became of every webhook.
        """
        if self._fates is None:
            self._fates = fates_of(self._timeline, self._promise)
        return self._fates

    def of(self, expectation: MetricExpectation) -> Figure:
        """
        Return the figure that an expectation bounds.
        """
        window = self.window(expectation.from_s, expectation.to_s)
        metric = expectation.figure
        if metric.circuit is not None:
            return self._circuit_figure(metric.circuit, metric.family, window)
        if expectation.while_ is not None:
            return self._while(metric.family, expectation.while_, window)
        if metric.percentile is not None:
            field = "latency_us" if ".latency." in metric.family else "service_us"
            return self._percentile(field, metric.percentile, window)
        if metric.family == "chat.goodput":
            return self._goodput(expectation, window)
        return self._plain(metric.family, window)

    def window(self, from_s: float | None, to_s: float | None) -> tuple[int, int]:
        """
        Return a window of scenario time, the warm-up left out unless it is asked for.
        """
        from_us = self._warmup_us if from_s is None else round(from_s * _MICRO)
        to_us = self._timeline.end_us + 1 if to_s is None else round(to_s * _MICRO)
        return from_us, to_us

    def _plain(self, family: str, window: tuple[int, int]) -> Figure:
        group, _, name = family.partition(".")
        table: dict[str, Callable[[str, tuple[int, int]], Figure]] = {
            "load": self._load,
            "chat": self._chat,
            "upstream": self._upstream,
            "tools": self._tools,
            "webhooks": self._webhooks,
        }
        return table[group](name, window)

    def _calls(self, window: tuple[int, int]) -> list[Call]:
        from_us, to_us = window
        return [
            call for call in self._timeline.calls if from_us <= call.intended_us < to_us
        ]

    def _load(self, name: str, window: tuple[int, int]) -> Figure:
        calls = self._calls(window)
        match name:
            case "offered":
                return _count(len(calls), 1)
            case "done":
                done = sum(call.ending is not None for call in calls)
                return _count(done, len(calls))
            case "dropped":
                dropped = [call for call in calls if call.dropped_seq is not None]
                events = [call.dropped_seq for call in dropped]
                return _count(len(dropped), len(calls), events=events)
            case _:
                lags_us = [
                    int(record.get("lag_us") or 0)
                    for record in self._timeline.of("call_started")
                    if window[0] <= int(record["time_us"]) < window[1]
                ]
                worst_s = max(lags_us, default=0) / _MICRO
                return Figure(
                    value=worst_s, samples=len(lags_us), why="no call started"
                )

    def _chat(self, name: str, window: tuple[int, int]) -> Figure:
        calls = self._calls(window)
        if name == "success_ratio":
            failed = [call for call in calls if call.outcome != "answered"]
            ratio = 1 - len(failed) / len(calls) if calls else None
            return Figure(
                value=ratio,
                samples=len(calls),
                why="no call was due in the window",
                events=_call_events(failed),
            )
        matching = [call for call in calls if call.outcome == name]
        return _count(len(matching), len(calls), events=_call_events(matching))

    def _percentile(
        self, field: str, percentile: float, window: tuple[int, int]
    ) -> Figure:
        values: list[tuple[float, int | None]] = []
        for call in self._calls(window):
            outcome, ending = call.outcome, call.ending
            if outcome is None:
                continue
            if ending is None or outcome == "unknown" or field not in ending:
                values.append((math.inf, call.dropped_seq or call.ended_seq))
            else:
                values.append((int(ending[field]) / _MICRO, call.ended_seq))
        if not values:
            return Figure(value=None, samples=0, why="no call ended in the window")
        values.sort(key=lambda each: each[0])
        rank = max(0, math.ceil(percentile / 100 * len(values)) - 1)
        slowest = [seq for _, seq in reversed(values[rank:])]
        return Figure(
            value=values[rank][0],
            samples=len(values),
            events=_known(slowest),
        )

    def _goodput(
        self, expectation: MetricExpectation, window: tuple[int, int]
    ) -> Figure:
        limits = expectation.limits
        calls = self._calls(window)
        bad = []
        for call in calls:
            ending = call.ending or {}
            is_good = call.outcome == "answered"
            if limits is not None and limits.latency is not None:
                latency_us = int(ending.get("latency_us") or 0)
                is_good = is_good and latency_us <= limits.latency * _MICRO
            if limits is not None and limits.service_time is not None:
                service_us = int(ending.get("service_us") or 0)
                is_good = is_good and service_us <= limits.service_time * _MICRO
            if not is_good:
                bad.append(call)
        ratio = 1 - len(bad) / len(calls) if calls else None
        return Figure(
            value=ratio,
            samples=len(calls),
            why="no call was due in the window",
            events=_call_events(bad),
        )

    def _attempts(self, window: tuple[int, int]) -> list[Attempt]:
        from_us, to_us = window
        return [
            attempt
            for attempt in self._timeline.attempts
            if from_us <= attempt.received_us < to_us
        ]

    def _upstream(self, name: str, window: tuple[int, int]) -> Figure:
        attempts = self._attempts(window)
        if name == "attempts":
            return _count(len(attempts), 1, events=[each.seq for each in attempts])
        operations: dict[Any, list[Attempt]] = defaultdict(list)
        for attempt in attempts:
            if not attempt.is_ambiguous:
                operations[attempt.operation].append(attempt)
        if not operations:
            return Figure(value=None, samples=0, why="nothing reached the model API")
        most = max(operations.values(), key=len)
        events = _known([attempt.seq for attempt in most])
        value = float(len(most))
        if name == "amplification":
            value = sum(map(len, operations.values())) / len(operations)
        return Figure(value=value, samples=len(operations), events=events)

    def _tools(self, name: str, window: tuple[int, int]) -> Figure:
        from_us, to_us = window
        executions = [
            each
            for each in self._timeline.executions
            if from_us <= each.time_us < to_us
        ]
        if name == "executions":
            return _count(len(executions), 1, events=[each.seq for each in executions])
        seen: Counter[str] = Counter()
        repeated = []
        for execution in executions:
            if execution.tool_call_id is None:
                continue
            seen[execution.tool_call_id] += 1
            if seen[execution.tool_call_id] > 1:
                repeated.append(execution.seq)
        return _count(
            len(repeated), sum(seen.values()), events=repeated, why="no tool was run"
        )

    def _webhooks(self, name: str, window: tuple[int, int]) -> Figure:
        fates = self.fates
        received = {
            message_id: [
                each for each in deliveries if window[0] <= each.time_us < window[1]
            ]
            for message_id, deliveries in fates.received.items()
        }
        match name:
            case "attempts":
                attempts = [each for many in received.values() for each in many]
                return _count(len(attempts), 1, events=[each.seq for each in attempts])
            case "duplicates":
                return _count_repeated(received)
            case "delivered":
                return _count(len(fates.delivered), 1)
            case "enqueued":
                count = len(fates.enqueued or fates.received)
                return _count(count, 1)
            case "lost":
                events = [seq for each in fates.lost for seq in each.events[:1]]
                return _count(
                    len(fates.lost), fates.owed, events=events, why=_NO_WEBHOOK
                )
            case _:
                return self._dead(fates)

    def _dead(self, fates: Fates) -> Figure:
        if not self._timeline.speaks:
            why = "only the service knows what it gave up, and it says nothing"
            return Figure(value=None, samples=0, why=why)
        events = [
            int(record["seq"])
            for record in self._timeline.of("webhook_dead")
            if str(record["message_id"]) in fates.dead
        ]
        return _count(len(fates.dead), fates.owed, events=events, why=_NO_WEBHOOK)

    def _while(
        self, family: str, condition: CircuitCondition, window: tuple[int, int]
    ) -> Figure:
        if not self._timeline.speaks:
            return Figure(value=None, samples=0, why=_SILENT)
        name = condition.circuit
        circuits = members_of(self._timeline, name) or [
            find_circuit(self._timeline, name)
        ]
        spans = [
            (circuit.name, *_overlap(span, window, self._timeline.end_us))
            for circuit in circuits
            for span in circuit.of(condition.state)
        ]
        spans = [
            (name, from_us, to_us) for name, from_us, to_us in spans if from_us < to_us
        ]
        if not spans:
            return Figure(value=None, samples=0, why=f"never: {condition}")
        counted = []
        for circuit, from_us, to_us in spans:
            if family == "upstream.attempts":
                counted += [
                    attempt.seq
                    for attempt in self._timeline.attempts
                    if from_us < attempt.received_us < to_us
                    and covers_model(circuit, attempt.model)
                    # What was admitted before the state began is excepted.
                    and (admitted_after_us(attempt) or -1) >= from_us
                ]
            else:
                counted += _call_events(
                    [
                        call
                        for call in self._timeline.calls
                        if call.outcome == family.partition(".")[2]
                        and from_us <= (call.started_us or -1)
                        and (call.ended_us or to_us) < to_us
                    ],
                    most=None,
                )
        return _count(len(counted), len(spans), events=sorted(counted))

    def _circuit_figure(
        self, name: str, family: str, window: tuple[int, int]
    ) -> Figure:
        if not self._timeline.speaks:
            return Figure(value=None, samples=0, why=_SILENT)
        circuit = find_circuit(self._timeline, name)
        opened = [
            span for span in circuit.of("open") if window[0] <= span.from_us < window[1]
        ]
        events = _known([span.seq for span in opened])
        match family.rpartition(".")[2]:
            case "opens":
                return Figure(value=len(opened), samples=1, events=events)
            case "open_time":
                total_us = sum(
                    (span.to_us or self._timeline.end_us) - span.from_us
                    for span in opened
                )
                return Figure(
                    value=total_us / _MICRO,
                    samples=len(opened),
                    why="it never opened",
                    events=events,
                )
            case "probes" | "probes_at_once" as figure:
                return self._probes(name, figure, window)
            case figure:
                return self._time_to(figure, opened, circuit.of("closed"))

    def _probes(self, name: str, figure: str, window: tuple[int, int]) -> Figure:
        probes = [
            record
            for record in self._timeline.of("probe_started")
            if _is_member(name, str(record.get("circuit")))
            and window[0] <= int(record["time_us"]) < window[1]
        ]
        events = _known([int(record["seq"]) for record in probes])
        if figure == "probes":
            return Figure(value=len(probes), samples=1, events=events)
        most = max((int(record.get("probes") or 1) for record in probes), default=0)
        return Figure(
            value=most, samples=len(probes), why="nothing was probed", events=events
        )

    def _time_to(
        self, figure: str, opened: Sequence[StateSpan], closed: Sequence[StateSpan]
    ) -> Figure:
        hits_us = [
            int(record["time_us"])
            for record in self._timeline.of("fault_applied")
            if record.get("surface") == "upstream"
        ]
        if not hits_us:
            return Figure(value=None, samples=0, why="no fault hit the model API")
        if figure == "time_to_open":
            since_us, spans = min(hits_us), opened[:1]
        else:
            since_us = max(hits_us)
            spans = [span for span in closed if span.from_us >= since_us][-1:]
        if not spans:
            word = "opened" if figure == "time_to_open" else "closed again"
            return Figure(value=None, samples=0, why=f"it never {word}")
        value = (spans[0].from_us - since_us) / _MICRO
        return Figure(value=value, samples=1, events=_known([spans[0].seq]))


_NO_WEBHOOK: Final = "no webhook was owed"
_SILENT: Final = "the service says nothing of its circuits"


def _is_member(name: str, circuit: str) -> bool:
    return circuit == name or circuit.startswith(f"{name}/")


def _overlap(span: StateSpan, window: tuple[int, int], end_us: int) -> tuple[int, int]:
    to_us = end_us if span.to_us is None else span.to_us
    return max(span.from_us, window[0]), min(to_us, window[1])


def _call_events(
    calls: Sequence[Call], *, most: int | None = _EVIDENCE
) -> tuple[int, ...]:
    return tuple(
        call.ended_seq or call.dropped_seq or call.offered_seq for call in calls[:most]
    )


def _known(events: Sequence[int | None]) -> tuple[int, ...]:
    return tuple(event for event in events if event is not None)[:_EVIDENCE]


def _count(
    value: int,
    samples: int,
    *,
    events: Sequence[int | None] = (),
    why: str = "no call was due in the window",
) -> Figure:
    return Figure(value=value, samples=samples, why=why, events=_known(events))


def _count_repeated(received: Mapping[str, Sequence[Delivery]]) -> Figure:
    """
    Count the deliveries that came after an acknowledged one.
    """
    repeated = []
    for deliveries in received.values():
        is_acknowledged = False
        for delivery in deliveries:
            if is_acknowledged:
                repeated.append(delivery.seq)
            is_acknowledged = is_acknowledged or delivery.is_acknowledged
    return _count(len(repeated), len(received), events=repeated, why=_NO_WEBHOOK)


def outcome_counts(timeline: Timeline) -> Mapping[str, int]:
    """
    Return how many calls ended in which way.
    """
    return Counter(call.outcome or "open" for call in timeline.calls)
