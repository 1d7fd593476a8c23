"""
A run as far as it has come, computed from its event log: pure and bounded.
"""

import collections
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

HISTORY_S_MAX = 3600
"""Seconds of history that are kept; older ones are forgotten."""

LATENCIES_MAX = 2000
"""Latencies kept per second; the p99 of more is taken from the first so many."""

EVENTS_MAX = 500
"""Lines of the event log that are kept."""

TRANSITIONS_MAX = 1000
"""Transitions kept per circuit."""

QUIET_KINDS: Final = frozenset(
    {
        "attempt_ended",
        "attempt_started",
        "bench_sampled",
        "call_accepted",
        "call_ended",
        "call_offered",
        "call_started",
        "chat_answered",
        "chat_failed",
        "chat_received",
        "fault_applied",
        "generator_sampled",
        "operation_rejected",
        "pending_call_opened",
        "pending_call_resolved",
        "rate_limiter_waited",
        "retry_gave_up",
        "retry_scheduled",
        "tool_call_ended",
        "tool_call_started",
        "tool_executed",
        "upstream_request_ended",
        "upstream_request_received",
        "webhook_accepted",
        "webhook_attempt_ended",
        "webhook_attempt_started",
        "webhook_delivered",
        "webhook_emitted",
        "webhook_enqueued",
        "webhook_received",
        "webhook_retry_scheduled",
    }
)
"""Kinds that come with every call; they are counted and drawn, not listed."""

Record = Mapping[str, Any]


@dataclass(slots=True)
class Second:
    """
    What happened in one second of scenario time.
    """

    counts: collections.Counter[str] = field(default_factory=collections.Counter)
    latencies_s: list[float] = field(default_factory=list)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """
    A circuit's change of state.
    """

    at_s: float
    state: str
    reason: str


@dataclass(slots=True)
class RunState:
    """
    A run as far as its event log has been read.
    """

    now_s: float = 0.0
    """Scenario time of the latest record."""

    totals: collections.Counter[str] = field(default_factory=collections.Counter)
    in_flight: int = 0
    seconds: dict[int, Second] = field(default_factory=dict)
    circuits: dict[str, collections.deque[Transition]] = field(default_factory=dict)
    events: collections.deque[Record] = field(
        default_factory=lambda: collections.deque(maxlen=EVENTS_MAX)
    )
    events_listed: int = 0
    """How many were ever listed, so that a reader knows what it has not seen."""

    faults: dict[str, str] = field(default_factory=dict)
    """Faults injected by hand that are still there: id and name."""

    last_fault_s: dict[str, float] = field(default_factory=dict)
    """When each fault was last seen to hit."""

    lag_max_s: float = 0.0
    has_ended: bool = False

    def apply(self, record: Record) -> None:
        """
        Take in the next record.
        """
        at_s = record["time_us"] / 1e6
        self.now_s = max(self.now_s, at_s)
        kind = record["kind"]
        second = self._second(int(max(at_s, 0.0)))
        self.totals[kind] += 1
        second.counts[kind] += 1
        match kind:
            case "call_started":
                self.in_flight += 1
            case "call_ended":
                self._end_call(record)
            case "circuit_changed":
                self._change_circuit(record, at_s)
            case "webhook_received":
                is_fine = (record.get("status") or 0) // 100 == 2  # noqa: PLR2004
                self.totals["webhooks_ok" if is_fine else "webhooks_failed"] += 1
            case "fault_applied" | "fault_added" | "fault_removed":
                self._note_fault(record, at_s)
            case "generator_sampled":
                self.lag_max_s = record["lag_us_max"] / 1e6
            case "run_ended":
                self.has_ended = True
        if kind not in QUIET_KINDS:
            self.events.append(record)
            self.events_listed += 1

    def rate_per_s(self, name: str, *, over_s: int = 5) -> float:
        """
        Return how many of a kind came per second, over the last full seconds.
        """
        last = int(self.now_s)
        seconds = [self.seconds.get(index) for index in range(last - over_s, last)]
        counted = [second.counts[name] if second else 0 for second in seconds]
        return sum(counted) / over_s

    def history(self, name: str, *, seconds: int) -> list[float]:
        """
        Return the counts of a kind in each of the last seconds, oldest first.
        """
        last = int(self.now_s)
        return [
            float(self.seconds[index].counts[name]) if index in self.seconds else 0.0
            for index in range(max(0, last - seconds), last)
        ]

    def latency_s(self, share: float, *, over_s: int = 5) -> float | None:
        """
        Return a quantile of the latencies of the last full seconds.
        """
        last = int(self.now_s)
        values = sorted(
            latency_s
            for index in range(last - over_s, last)
            if index in self.seconds
            for latency_s in self.seconds[index].latencies_s
        )
        return (
            values[min(len(values) - 1, int(share * len(values)))] if values else None
        )

    def latency_history_s(self, share: float, *, seconds: int) -> list[float]:
        """
        Return a latency quantile for each of the last seconds, oldest first.
        """
        last = int(self.now_s)
        history = []
        for index in range(max(0, last - seconds), last):
            values = (
                sorted(self.seconds[index].latencies_s) if index in self.seconds else []
            )
            position = min(len(values) - 1, int(share * len(values)))
            history.append(values[position] if values else 0.0)
        return history

    def state_at(self, circuit: str, at_s: float) -> str:
        """
        Return the state that a circuit had at a point of scenario time.
        """
        state = "closed"
        for transition in self.circuits[circuit]:
            if transition.at_s > at_s:
                break
            state = transition.state
        return state

    def _second(self, index: int) -> Second:
        if index not in self.seconds:
            self.seconds[index] = Second()
            if len(self.seconds) > HISTORY_S_MAX:
                del self.seconds[min(self.seconds)]
        return self.seconds[index]

    def _end_call(self, record: Record) -> None:
        outcome = str(record["outcome"])
        self.in_flight = max(0, self.in_flight - 1)
        self.totals[outcome] += 1
        self._second(int(max(self.now_s, 0.0))).counts[outcome] += 1
        due = self._second(int(record["intended_us"] / 1e6))
        if len(due.latencies_s) < LATENCIES_MAX:
            due.latencies_s.append(record["latency_us"] / 1e6)

    def _note_fault(self, record: Record, at_s: float) -> None:
        match record["kind"]:
            case "fault_applied":
                self.last_fault_s[f"{record.get('surface')}: {record['fault']}"] = at_s
            case "fault_added" if record.get("source") == "control":
                self.faults[str(record["fault_id"])] = str(record["fault"])
            case "fault_removed":
                self.faults.pop(str(record["fault_id"]), None)

    def _change_circuit(self, record: Record, at_s: float) -> None:
        circuit = str(record["circuit"])
        if circuit not in self.circuits:
            self.circuits[circuit] = collections.deque(maxlen=TRANSITIONS_MAX)
        self.circuits[circuit].append(
            Transition(
                at_s=at_s, state=str(record["to"]), reason=str(record.get("reason", ""))
            )
        )
