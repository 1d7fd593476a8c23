"""
The figures of circuits, and figures while a circuit is in a state.
"""

from collections.abc import Sequence
from typing import Final

from harness.judging.causality import admitted_after_us
from harness.judging.circuits import (
    StateSpan,
    covers_model,
    find_circuit,
    members_of,
)
from harness.judging.figure import Figure, call_events, counted, known, unknown
from harness.judging.timeline import Timeline
from harness.scenario import CircuitCondition

_MICRO: Final = 1e6
_SILENT: Final = "the service says nothing of its circuits"


class CircuitFigures:
    """
    Computes the figures of circuits over one timeline.
    """

    def __init__(self, timeline: Timeline) -> None:
        self._timeline = timeline

    def within(
        self, family: str, condition: CircuitCondition, window: tuple[int, int]
    ) -> Figure:
        """
        Return a figure over the time in which a circuit is in a state.
        """
        if not self._timeline.speaks:
            return unknown(_SILENT)
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
            return unknown(f"never: {condition}")
        events: list[int] = []
        for circuit, from_us, to_us in spans:
            events += self._events_within(family, circuit, from_us, to_us)
        return counted(len(events), len(spans), events=sorted(events))

    def _events_within(
        self, family: str, circuit: str, from_us: int, to_us: int
    ) -> list[int]:
        if family == "upstream.attempts":
            return [
                attempt.seq
                for attempt in self._timeline.attempts
                if from_us < attempt.received_us < to_us
                and covers_model(circuit, attempt.model)
                # What was admitted before the state began is excepted.
                and (admitted_us := admitted_after_us(attempt)) is not None
                and admitted_us >= from_us
            ]
        outcome = family.partition(".")[2]
        return call_events(
            [
                call
                for call in self._timeline.calls
                if call.outcome == outcome
                and call.started_us is not None
                and call.ended_us is not None
                and from_us <= call.started_us
                and call.ended_us < to_us
            ]
        )

    def of(self, name: str, family: str, window: tuple[int, int]) -> Figure:
        """
        Return a figure of a circuit itself.
        """
        if not self._timeline.speaks:
            return unknown(_SILENT)
        circuit = find_circuit(self._timeline, name)
        opened = [
            span for span in circuit.of("open") if window[0] <= span.from_us < window[1]
        ]
        events = known([span.seq for span in opened])
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
        events = known([int(record["seq"]) for record in probes])
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
            return unknown("no fault hit the model API")
        if figure == "time_to_open":
            since_us, spans = min(hits_us), opened[:1]
        else:
            since_us = max(hits_us)
            spans = [span for span in closed if span.from_us >= since_us][-1:]
        if not spans:
            word = "opened" if figure == "time_to_open" else "closed again"
            return unknown(f"it never {word}")
        value = (spans[0].from_us - since_us) / _MICRO
        return Figure(value=value, samples=1, events=known([spans[0].seq]))


def _is_member(name: str, circuit: str) -> bool:
    return circuit == name or circuit.startswith(f"{name}/")


def _overlap(span: StateSpan, window: tuple[int, int], end_us: int) -> tuple[int, int]:
    to_us = end_us if span.to_us is None else span.to_us
    return max(span.from_us, window[0]), min(to_us, window[1])
