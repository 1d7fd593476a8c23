"""
The circuits of a service that speaks: their states over time.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from harness.judging.entities import Record
from harness.judging.timeline import Timeline
from harness.scenario import Repeat

_FIRST_STATE: Final = "closed"
_WORST_FIRST: Final = (
    "isolated",
    "open",
    "half_open",
    "disabled",
    "observing",
    "closed",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StateSpan:
    """
    A stretch of time in one state.
    """

    state: str
    from_us: int
    to_us: int | None
    """None while it lasts at the end of the log."""

    seq: int | None = None
    """The record that began it; None for the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Circuit:
    """
    A circuit's states, one after the other.
    """

    name: str
    spans: tuple[StateSpan, ...]

    @property
    def path(self) -> list[str]:
        """
        The states in their order.
        """
        return [span.state for span in self.spans]

    def of(self, state: str) -> list[StateSpan]:
        """
        Return the stretches in a state.
        """
        return [span for span in self.spans if span.state == state]


def circuits_of(timeline: Timeline) -> Mapping[str, Circuit]:
    """
    Return every circuit that changed, by name.

    The circuits of a service that was killed are gone; those of the next are closed.
    """
    changes: dict[str, list[Record]] = defaultdict(list)
    records = [*timeline.of("circuit_changed"), *timeline.of("service_killed")]
    for record in sorted(records, key=lambda each: int(each["seq"])):
        if record["kind"] == "circuit_changed":
            changes[str(record["circuit"])].append(record)
            continue
        for known in changes.values():
            if known[-1]["to"] != _FIRST_STATE:
                known.append({**record, "from": known[-1]["to"], "to": _FIRST_STATE})
    return {name: _circuit(name, records) for name, records in changes.items()}


def find_circuit(timeline: Timeline, name: str) -> Circuit:
    """
    Return a circuit, or the aggregate of those whose names begin with ``NAME/``.

    An aggregate is in the worst state of its members: isolated before open before
    half-open before closed. A circuit that never changed is closed.
    """
    circuits = circuits_of(timeline)
    if name in circuits:
        return circuits[name]
    members = [
        circuit for each, circuit in circuits.items() if each.startswith(f"{name}/")
    ]
    if not members:
        start_us = min((int(each["time_us"]) for each in timeline.records), default=0)
        span = StateSpan(state=_FIRST_STATE, from_us=start_us, to_us=None)
        return Circuit(name=name, spans=(span,))
    if len(members) == 1:
        return Circuit(name=name, spans=members[0].spans)
    return _aggregate(name, members)


def members_of(timeline: Timeline, name: str) -> list[Circuit]:
    """
    Return the circuit of that name, or the members of that aggregate.
    """
    circuits = circuits_of(timeline)
    if name in circuits:
        return [circuits[name]]
    return [each for key, each in circuits.items() if key.startswith(f"{name}/")]


def covers_model(circuit: str, model: str) -> bool:
    """
    Say whether an attempt for a model goes through a circuit.
    """
    _, slash, member = circuit.partition("/")
    return not slash or member == model


def follows(states: Sequence[str], path: Sequence[str | Repeat]) -> bool:
    """
    Say whether states are exactly what a path says; a repetition comes at least once.
    """
    reached = {0}
    for step in path:
        if isinstance(step, str):
            reached = {
                at + 1 for at in reached if at < len(states) and states[at] == step
            }
            continue
        after: set[int] = set()
        frontier = reached
        while frontier:
            frontier = {
                at + len(step.repeat)
                for at in frontier
                if list(states[at : at + len(step.repeat)]) == list(step.repeat)
            } - after
            after |= frontier
        reached = after
    return len(states) in reached


def _circuit(name: str, records: Sequence[Record]) -> Circuit:
    spans = [
        StateSpan(
            state=str(records[0].get("from") or _FIRST_STATE),
            from_us=min(0, int(records[0]["time_us"])),
            to_us=int(records[0]["time_us"]),
        )
    ]
    for index, record in enumerate(records):
        is_last = index + 1 == len(records)
        spans.append(
            StateSpan(
                state=str(record["to"]),
                from_us=int(record["time_us"]),
                to_us=None if is_last else int(records[index + 1]["time_us"]),
                seq=int(record["seq"]),
            )
        )
    return Circuit(name=name, spans=tuple(spans))


def _aggregate(name: str, members: Sequence[Circuit]) -> Circuit:
    changes = sorted(
        (span.from_us, number, index, span)
        for number, circuit in enumerate(members)
        for index, span in enumerate(circuit.spans)
    )
    states = dict.fromkeys(range(len(members)), _FIRST_STATE)
    spans: list[StateSpan] = []
    for at_us, number, _, span in changes:
        states[number] = span.state
        worst = min(states.values(), key=_WORST_FIRST.index)
        if spans and spans[-1].state == worst:
            continue
        if spans:
            last = spans[-1]
            spans[-1] = StateSpan(
                state=last.state, from_us=last.from_us, to_us=at_us, seq=last.seq
            )
        spans.append(StateSpan(state=worst, from_us=at_us, to_us=None, seq=span.seq))
    return Circuit(name=name, spans=tuple(spans))
