"""
Circuits move for cause, and what belongs to an older generation is no cause.

The outcomes that a service tells of are followed one by one, in the order in which it
tells of them: what moves a circuit stands right after the outcome that moved it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from harness.judging.circuits import covers_model
from harness.judging.entities import Record, is_by_hand
from harness.judging.ruling import Finding, Ruling, finding, rule, skipped
from harness.judging.timeline import Timeline
from harness.scenario import BreakerPromise, Promise

_NOT_PROMISED: Final = "no circuit breaker is promised"
_SILENT: Final = "the service says nothing of its attempts"
_OTHER_RULES: Final = frozenset({"failure_ratio", "slow_ratio"})
_ENDS_OF_SERVICE: Final = frozenset({"service_killed", "service_exited"})
_KINDS_READ: Final = _ENDS_OF_SERVICE | {
    "attempt_started",
    "attempt_ended",
    "stale_outcome_ignored",
    "probe_ended",
    "circuit_changed",
}


def circuits_open_for_cause(timeline: Timeline, promise: Promise) -> Ruling:
    """
    14: a circuit opens after so many failures in a row, and always then.
    """
    name = "14 circuits open for cause"
    if promise.breaker is None:
        return skipped(name, _NOT_PROMISED)
    if not timeline.of("attempt_ended"):
        return skipped(name, _SILENT)
    replay = _Replay(timeline, promise.breaker)
    return rule(
        name,
        judged=replay.outcomes,
        broken=replay.without_cause,
        figures={"transitions": replay.transitions},
        nothing="no attempt went through a circuit",
    )


def stale_outcomes_change_nothing(timeline: Timeline, promise: Promise) -> Ruling:
    """
    17: the outcome of an attempt from an older generation moves no circuit.
    """
    name = "17 stale outcomes change nothing"
    if promise.breaker is None:
        return skipped(name, _NOT_PROMISED)
    if not timeline.of("attempt_ended"):
        return skipped(name, _SILENT)
    replay = _Replay(timeline, promise.breaker)
    return rule(
        name,
        judged=replay.stale,
        broken=replay.moved_by_stale,
        nothing="no outcome of an older generation came in",
    )


@dataclass(slots=True, kw_only=True)
class _Outcome:
    """
    How an attempt ended that a circuit had let through.
    """

    record: Record
    is_stale: bool
    """Whether the circuit has certainly moved on since it was let through."""

    @property
    def kind(self) -> str:
        return str(self.record.get("outcome"))

    @property
    def seq(self) -> int:
        return int(self.record["seq"])


@dataclass(slots=True)
class _Circuit:
    """
    What is known of a circuit while the log is read.
    """

    state: str = "closed"
    moves: int = 0
    run: list[_Outcome] = field(default_factory=list)
    """Failures in a row, stale ones among them."""

    successes: int = 0
    """Of probes, since it is half-open."""

    latest: _Outcome | None = None
    """The outcome that may yet turn out to move it, or to have been stale."""

    is_known: bool = True
    """Whether all outcomes since the last success could be told to belong here."""

    @property
    def counted(self) -> list[int]:
        """
        The failures in a row that count.
        """
        return [each.seq for each in self.run if not each.is_stale]


class _Replay:
    """
    Reads what a service says of its circuits, once.
    """

    def __init__(self, timeline: Timeline, promise: BreakerPromise) -> None:
        self.outcomes = 0
        self.transitions = 0
        self.stale = 0
        self.without_cause: list[Finding] = []
        self.moved_by_stale: list[Finding] = []
        self._promise = promise
        self._models = _models_of(timeline)
        self._names = _names_of(timeline)
        self._is_known = True
        self._circuits: dict[str, _Circuit] = {}
        self._started: dict[str, tuple[str, int]] = {}
        for record in timeline.records:
            if record.get("kind") in _KINDS_READ:
                self._read(record)

    def _read(self, record: Record) -> None:
        match record.get("kind"):
            case "attempt_started":
                name = self._name_of(record)
                moves = self._circuit(name).moves if name else 0
                self._started[str(record.get("trace_id"))] = (name or "", moves)
            case "attempt_ended":
                self._end(record)
            case "stale_outcome_ignored":
                latest = self._circuit(str(record["circuit"])).latest
                if latest and latest.record.get("trace_id") == record.get("trace_id"):
                    self.stale += not latest.is_stale
                    latest.is_stale = True
                    latest.record = {**latest.record, "outcome": "ignored"}
            case "probe_ended":
                self._end_probe(record)
            case "circuit_changed":
                self._move(record)
            case _:
                # What comes next may be of the dying service or of its successor.
                self._circuits.clear()
                self._started.clear()
                self._is_known = False

    def _circuit(self, name: str) -> _Circuit:
        return self._circuits.setdefault(name, _Circuit(is_known=self._is_known))

    def _name_of(self, record: Record) -> str | None:
        model = self._models.get(str(record.get("request_id"))) or self._models.get(
            str(record.get("trace_id"))
        )
        if model is None:
            return self._names[0] if len(self._names) == 1 else None
        known = [name for name in self._names if covers_model(name, model)]
        return known[0] if known else f"upstream/{model}"

    def _end(self, record: Record) -> None:
        started = self._started.pop(str(record.get("trace_id")), None)
        name = self._name_of(record)
        if name is None:
            for circuit in self._circuits.values():
                circuit.is_known = False
            return
        circuit = self._circuit(name)
        self._count(circuit, name)
        is_stale = bool(started and started[0] == name and started[1] != circuit.moves)
        self.stale += is_stale
        circuit.latest = _Outcome(record=record, is_stale=is_stale)

    def _count(self, circuit: _Circuit, name: str) -> None:
        """
        Take the latest outcome in: nothing tells any more that it moved the circuit.
        """
        latest, circuit.latest = circuit.latest, None
        if latest is None:
            return
        self.outcomes += 1
        if latest.kind == "success" and not latest.is_stale:
            circuit.run.clear()
            circuit.is_known = True
        elif latest.kind == "failure":
            circuit.run.append(latest)
        counted = circuit.counted
        threshold = self._promise.failure_threshold
        if circuit.state == "closed" and circuit.is_known and len(counted) >= threshold:
            message = f"{name} has not opened after {len(counted)} failures in a row"
            self.without_cause.append(finding(message, reversed(counted)))
            circuit.run.clear()

    def _end_probe(self, record: Record) -> None:
        circuit = self._circuit(str(record["circuit"]))
        latest = circuit.latest
        is_same = latest and latest.record.get("trace_id") == record.get("trace_id")
        if latest and is_same and latest.is_stale:
            message = f"{record['circuit']} took a stale outcome for that of a probe"
            events = [int(record["seq"]), latest.seq]
            self.moved_by_stale.append(finding(message, events))
        elif record.get("outcome") == "success":
            circuit.successes += 1

    def _move(self, record: Record) -> None:
        name = str(record["circuit"])
        circuit = self._circuit(name)
        latest = circuit.latest
        if latest is not None and latest.kind == "failure":
            circuit.run.append(latest)
        self.transitions += 1
        seq, to = int(record["seq"]), str(record["to"])
        if not is_by_hand(record) and circuit.is_known:
            if latest is not None and latest.is_stale and circuit.state != "closed":
                if to != "half_open":
                    message = (
                        f"{name} went from {circuit.state} to {to} after the outcome of "
                        "an attempt from an older generation"
                    )
                    self.moved_by_stale.append(finding(message, [seq, latest.seq]))
            elif (why := self._missing_cause(circuit, record)) is not None:
                self._blame(circuit, seq, f"{name} {why}")
        circuit.state = to
        circuit.moves += 1
        circuit.successes = 0
        circuit.latest = None
        circuit.is_known = True
        circuit.run.clear()

    def _blame(self, circuit: _Circuit, seq: int, message: str) -> None:
        threshold = self._promise.failure_threshold
        counted = circuit.counted
        stale = [each.seq for each in circuit.run if each.is_stale]
        if circuit.state == "closed" and len(counted) + len(stale) >= threshold:
            text = f"{message}, if stale ones are left out"
            self.moved_by_stale.append(finding(text, [seq, *stale]))
        else:
            self.without_cause.append(finding(message, [seq, *counted]))

    def _missing_cause(self, circuit: _Circuit, record: Record) -> str | None:
        """
        Say which cause a transition lacks, if the promise says what it should be.
        """
        promise = self._promise
        match circuit.state, str(record["to"]):
            case "closed", "open":
                counted = len(circuit.counted)
                is_ours = str(record.get("reason")) not in _OTHER_RULES
                if is_ours and counted < promise.failure_threshold:
                    return (
                        f"opened after {counted} failures in a row; "
                        f"{promise.failure_threshold} are promised"
                    )
            case "half_open", "open":
                if circuit.latest is None or circuit.latest.kind == "ignored":
                    return "opened again, and no probe had failed"
            case "half_open", "closed" if (
                circuit.successes < promise.successes_to_close
            ):
                return (
                    f"closed after {circuit.successes} probes that succeeded; "
                    f"{promise.successes_to_close} are promised"
                )
        return None


def _models_of(timeline: Timeline) -> Mapping[str, str]:
    """
    Return the model by request id, and by trace where a trace has asked only one.
    """
    models: dict[str, str] = {}
    mixed: set[str] = set()
    for attempt in timeline.attempts:
        models[attempt.request_id] = attempt.model
        trace_id = attempt.received.get("trace_id")
        if (
            trace_id
            and models.setdefault(str(trace_id), attempt.model) != attempt.model
        ):
            mixed.add(str(trace_id))
    return {key: model for key, model in models.items() if key not in mixed}


def _names_of(timeline: Timeline) -> list[str]:
    kinds = ("circuit_changed", "probe_started", "operation_rejected")
    named = (each.get("circuit") for kind in kinds for each in timeline.of(kind))
    return list(dict.fromkeys(str(name) for name in named if name))
