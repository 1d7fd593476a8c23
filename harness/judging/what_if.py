"""
What another circuit breaker would have done with a recorded run.

The demand is taken as it was recorded: when attempts were asked for, and how those that
were made ended. An attempt that the recorded circuit refused has no outcome; it is
taken to be that of the attempt nearest to it in time. A call that the other circuit
refuses is over: what it did afterwards is no longer asked for.
"""

import heapq
import itertools
import random
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from harness.events import CircuitChanged
from harness.judging.entities import Record
from harness.resilience import (
    Circuit,
    CircuitBreakerOptions,
    CircuitPermit,
    CircuitState,
    Outcome,
)

_MICRO: Final = 1e6
_NOBODY: Final = "upstream"
"""The circuit of a log that names none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """
    A circuit that changed its state.
    """

    at_s: float
    from_state: str
    to_state: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitFigures:
    """
    What a circuit did to the calls of a run.
    """

    transitions: Sequence[Transition]
    calls_refused: int
    """Calls that were refused at least once."""

    failures_let_through: int
    """Attempts that were made and failed."""

    open_s: float
    """How long it refused everything, in all."""

    @property
    def opened(self) -> int:
        """
        How often it opened.
        """
        return sum(each.to_state == CircuitState.OPEN for each in self.transitions)


@dataclass(frozen=True, slots=True, kw_only=True)
class WhatIf:
    """
    A recorded circuit beside one with other settings.
    """

    circuit: str
    recorded: CircuitFigures
    other: CircuitFigures
    calls_saved: int
    """Calls that were refused, and that the other would have let through to succeed."""

    calls_lost: int
    """Calls that succeeded, and that the other would have refused."""

    calls_guessed: int
    """Of those saved or let through in vain, so many had no outcome on record."""


@dataclass(slots=True, kw_only=True)
class _Demand:
    """
    An attempt that was asked for.
    """

    at_s: float
    trace_id: str
    outcome: Outcome | None
    """None if it was refused."""

    duration_s: float = 0.0


@dataclass(slots=True)
class _Recorded:
    demands: list[_Demand] = field(default_factory=list)
    transitions: list[Transition] = field(default_factory=list)


def what_if(
    records: Iterable[Record], options: CircuitBreakerOptions, *, seed: int = 0
) -> tuple[WhatIf, ...]:
    """
    Return, for each circuit of a recorded run, what another one would have done.

    Args:
        records: The event log, in its order; the service's own events must be in it.
        options: The other circuit.
        seed: Decides the jitter of its breaks.
    """
    ordered = list(records)
    end_s = max((int(each["time_us"]) for each in ordered), default=0) / _MICRO
    found = _read(ordered)
    return tuple(
        _compare(name, found[name], options, end_s=end_s, seed=seed)
        for name in sorted(found)
        if found[name].demands
    )


# Reading ----------------------------------------------------------------------------


def _read(records: Sequence[Record]) -> Mapping[str, _Recorded]:
    names = _Names(records)
    found: dict[str, _Recorded] = defaultdict(_Recorded)
    begun: dict[tuple[Any, ...], float] = {}
    for record in records:
        if record.get("host") != "service":
            continue
        at_s = int(record["time_us"]) / _MICRO
        key = (record.get("trace_id"), record.get("operation"))
        match record["kind"]:
            case "attempt_started":
                begun[*key, record["attempt_number"]] = at_s
            case "attempt_ended":
                start_s = begun.pop((*key, record["attempt_number"]), at_s)
                demand = _Demand(
                    at_s=start_s,
                    trace_id=str(record.get("trace_id")),
                    outcome=Outcome(record["outcome"]),
                    duration_s=at_s - start_s,
                )
                found[names.of(record)].demands.append(demand)
            case "operation_rejected" if record.get("circuit"):
                found[record["circuit"]].demands.append(
                    _Demand(
                        at_s=at_s, trace_id=str(record.get("trace_id")), outcome=None
                    )
                )
            case "circuit_changed":
                found[record["circuit"]].transitions.append(
                    Transition(
                        at_s=at_s,
                        from_state=record["from"],
                        to_state=record["to"],
                        reason=record["reason"],
                    )
                )
    for recorded in found.values():
        recorded.demands.sort(key=lambda demand: demand.at_s)
    return found


class _Names:
    """
    Which circuit an attempt belongs to: that of the model that its call asked.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self._of_trace: dict[Any, str] = {}
        known: dict[str, None] = {}
        for record in records:
            name = record.get("circuit")
            if record["kind"] == "upstream_request_received" and record.get("model"):
                name = f"upstream/{record['model']}"
            if name:
                known[name] = None
                self._of_trace.setdefault(record.get("trace_id"), name)
        self._otherwise = next(iter(known), _NOBODY)

    def of(self, record: Record) -> str:
        """
        Return the circuit of an attempt.
        """
        return self._of_trace.get(record.get("trace_id"), self._otherwise)


# Doing it again -----------------------------------------------------------------------


def _compare(
    name: str,
    recorded: _Recorded,
    options: CircuitBreakerOptions,
    *,
    end_s: float,
    seed: int,
) -> WhatIf:
    rerun = _Rerun(name, recorded.demands, options, seed=seed)
    rerun.carry_out()
    refused = {each.trace_id for each in recorded.demands if each.outcome is None}
    answered = {
        each.trace_id
        for each in recorded.demands
        if each.outcome is Outcome.SUCCESS and each.trace_id not in refused
    }
    return WhatIf(
        circuit=name,
        recorded=CircuitFigures(
            transitions=tuple(recorded.transitions),
            calls_refused=len(refused),
            failures_let_through=sum(
                each.outcome is Outcome.FAILURE for each in recorded.demands
            ),
            open_s=_open_s(recorded.transitions, end_s),
        ),
        other=CircuitFigures(
            transitions=tuple(rerun.transitions),
            calls_refused=len(rerun.refused),
            failures_let_through=rerun.failures,
            open_s=_open_s(rerun.transitions, end_s),
        ),
        calls_saved=len((refused & rerun.succeeded) - rerun.refused),
        calls_lost=len(answered & rerun.refused),
        calls_guessed=len(rerun.guessed),
    )


class _Rerun:
    """
    The demand of a run, put to a fresh circuit.
    """

    def __init__(
        self,
        name: str,
        demands: Sequence[_Demand],
        options: CircuitBreakerOptions,
        *,
        seed: int,
    ) -> None:
        start_s = demands[0].at_s
        self.transitions: list[Transition] = []
        self.refused: set[str] = set()
        self.succeeded: set[str] = set()
        self.guessed: set[str] = set()
        self.failures = 0
        self._demands = demands
        self._known = [each for each in demands if each.outcome is not None]
        self._known_s = [each.at_s for each in self._known]
        self._circuit = Circuit(
            name,
            options=options,
            now_s=start_s,
            draws=random.Random(seed),  # noqa: S311 - a jitter that can be repeated
        )
        self._under_way: list[tuple[float, int, CircuitPermit, _Demand]] = []
        self._numbers = itertools.count()

    def carry_out(self) -> None:
        """
        Ask for everything in its order.
        """
        for demand in self._demands:
            self._settle_until(demand.at_s)
            if demand.trace_id in self.refused:
                continue
            answer = self._circuit.admit(demand.at_s)
            self._take_news(demand.at_s)
            if isinstance(answer, CircuitPermit):
                answer.started_s = demand.at_s
                made = self._outcome_of(demand)
                ended_s = demand.at_s + made.duration_s
                entry = (ended_s, next(self._numbers), answer, made)
                heapq.heappush(self._under_way, entry)
            else:
                self.refused.add(demand.trace_id)
        self._settle_until(float("inf"))

    def _outcome_of(self, demand: _Demand) -> _Demand:
        if demand.outcome is not None or not self._known:
            return demand
        self.guessed.add(demand.trace_id)
        index = bisect_left(self._known_s, demand.at_s)
        nearest = min(
            self._known[max(index - 1, 0) : index + 1],
            key=lambda known: abs(known.at_s - demand.at_s),
        )
        return _Demand(
            at_s=demand.at_s,
            trace_id=demand.trace_id,
            outcome=nearest.outcome,
            duration_s=nearest.duration_s,
        )

    def _settle_until(self, now_s: float) -> None:
        while self._under_way and self._under_way[0][0] <= now_s:
            ended_s, _, permit, made = heapq.heappop(self._under_way)
            outcome = made.outcome or Outcome.IGNORED
            self._circuit.settle(permit, outcome, ended_s, duration_s=made.duration_s)
            self.failures += outcome is Outcome.FAILURE
            if outcome is Outcome.SUCCESS:
                self.succeeded.add(made.trace_id)
            self._take_news(ended_s)

    def _take_news(self, now_s: float) -> None:
        while self._circuit.news:
            event = self._circuit.news.popleft()
            if isinstance(event, CircuitChanged):
                self.transitions.append(
                    Transition(
                        at_s=now_s,
                        from_state=event.from_state,
                        to_state=event.to_state,
                        reason=event.reason,
                    )
                )


def _open_s(transitions: Sequence[Transition], end_s: float) -> float:
    ends_s = [each.at_s for each in transitions[1:]] + [end_s]
    return sum(
        until_s - each.at_s
        for each, until_s in zip(transitions, ends_s, strict=False)
        if each.to_state == CircuitState.OPEN
    )


def what_if_lines(found: Sequence[WhatIf]) -> Iterator[str]:
    """
    Yield what people read: a small table per circuit, and the other's transitions.
    """
    for each in found:
        yield f"circuit {each.circuit}{'as recorded':>20}{'what if':>12}"
        for label, one, other in (
            ("times opened", each.recorded.opened, each.other.opened),
            ("seconds open", f"{each.recorded.open_s:.1f}", f"{each.other.open_s:.1f}"),
            ("calls refused", each.recorded.calls_refused, each.other.calls_refused),
            (
                "failures let through",
                each.recorded.failures_let_through,
                each.other.failures_let_through,
            ),
        ):
            width = len(each.circuit) + 26
            yield f"  {label:<{width - 22}}{one:>16}{other:>12}"
        yield (
            f"  calls saved {each.calls_saved}, lost {each.calls_lost}; "
            f"{each.calls_guessed} had no outcome on record, that of the nearest is taken"
        )
        for step in each.other.transitions:
            yield (
                f"  {step.at_s:9.2f} s  {step.from_state} -> {step.to_state} "
                f"({step.reason})"
            )
