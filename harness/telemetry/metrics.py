"""
Prometheus metrics, counted from events.

Label values are bounded: what comes after the first ``LABEL_VALUES_MAX`` values of
a label is counted as ``other``, so that a caller cannot grow the table.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector

from harness import events
from harness.events import Envelope, Event
from harness.telemetry.histogram import Buckets

LABEL_VALUES_MAX = 64
"""Values that one label may take."""

OTHER: Final = "other"

_Labelled = tuple[str, ...]

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_STATES: Final[Mapping[str, int]] = {
    "closed": 0,
    "half_open": 1,
    "open": 2,
    "isolated": 3,
}
_STATES_TEXT: Final = "0 closed, 1 half-open, 2 open, 3 isolated"


class _Labels:
    """
    Lets the first values of each label through and folds the rest.
    """

    def __init__(self, *, values_max: int) -> None:
        self._values_max = values_max
        self._known: dict[tuple[str, str], set[str]] = {}

    def fold(self, metric: str, label: str, value: str) -> str:
        known = self._known.setdefault((metric, label), set())
        if value in known:
            return value
        if len(known) >= self._values_max:
            return OTHER
        known.add(value)
        return value


class Metrics(Collector):
    """
    The service's figures for Prometheus, in a registry of their own.

    Events are many and scrapes are few, so events only add plain numbers up.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, *, label_values_max: int = LABEL_VALUES_MAX) -> None:
        self.registry = CollectorRegistry()
        self._labels = _Labels(values_max=label_values_max)
        self._counts: dict[str, dict[_Labelled, float]] = {
            name: {} for name, *_ in _COUNTERS
        }
        self._durations: dict[str, dict[_Labelled, Buckets]] = {
            name: {} for name, *_ in _HISTOGRAMS
        }
        self._circuits: dict[str, int] = {}
        self._stored: dict[str, int] = {}
        self.registry.register(self)

    def hear(self, envelope: Envelope) -> None:
        """
        Count an event of a bus; as quick as to queue it, so that none is ever lost.
        """
        self.count(envelope.event)

    def count(self, event: Event) -> None:
        """
        Count one event.
        """
        if (counter := _COUNTED.get(type(event))) is not None:
            counter(self, event)

    def collect(self) -> Iterator[Metric]:
        """
        Yield all figures as they stand.
        """
        for name, text, *labels in _COUNTERS:
            counter = CounterMetricFamily(f"harness_{name}", text, labels=labels)
            for values, count in self._counts[name].items():
                counter.add_metric(values, count)
            yield counter
        for name, text, *labels in _HISTOGRAMS:
            histogram = HistogramMetricFamily(
                f"harness_{name}_seconds", text, labels=labels
            )
            for values, buckets in self._durations[name].items():
                histogram.add_metric(values, buckets.cumulated(), buckets.sum)
            yield histogram
        for name, text, label, shown in (
            ("circuit_state", _STATES_TEXT, "circuit", self._circuits),
            ("store_rows", "What the store holds", "kind", self._stored),
        ):
            gauge = GaugeMetricFamily(f"harness_{name}", text, labels=[label])
            for value, number in shown.items():
                gauge.add_metric([value], number)
            yield gauge

    def show_store(self, rows: Mapping[str, int]) -> None:
        """
        Show how many rows of each kind the store holds.
        """
        self._stored.update(rows)

    def render(self) -> bytes:
        """
        Return all figures in Prometheus' text format.
        """
        return generate_latest(self.registry)

    def add(self, name: str, *values: str, by: float = 1) -> None:
        """
        Raise a counter; label values come in the order of its definition.
        """
        counts = self._counts[name]
        if values not in counts:
            values = self._fold(name, values)
        counts[values] = counts.get(values, 0) + by

    def observe(self, name: str, duration_s: float, *values: str) -> None:
        """
        Add a duration to a histogram.
        """
        durations = self._durations[name]
        buckets = durations.get(values)
        if buckets is None:
            values = self._fold(name, values)
            buckets = durations.setdefault(values, Buckets(_SECONDS))
        buckets.observe(duration_s)

    def show_circuit(self, circuit: str, state: str) -> None:
        """
        Show the state that a circuit is in.
        """
        folded = self._labels.fold("circuit_state", "circuit", circuit)
        self._circuits[folded] = _STATES.get(state, -1)

    def _fold(self, name: str, values: _Labelled) -> _Labelled:
        return tuple(
            self._labels.fold(name, str(place), value)
            for place, value in enumerate(values)
        )


_COUNTERS: Final = (
    ("chats", "Chats that ended", "mode", "outcome"),
    ("attempts", "Attempts that ended", "operation", "outcome", "reason"),
    ("retries", "Retries scheduled", "operation", "reason"),
    ("gave_up", "Failures that were not retried", "operation", "reason"),
    ("rejections", "Attempts refused locally", "operation", "strategy"),
    ("circuit_changes", "Circuit transitions", "circuit", "to"),
    ("tool_calls", "Tool calls that ended", "tool", "outcome"),
    ("pending_expired", "Deferred tool calls not resolved in time", "tool"),
    ("webhooks", "Webhooks by what became of them", "endpoint", "outcome"),
    ("webhook_attempts", "Webhook attempts that ended", "endpoint", "outcome"),
    ("webhooks_received", "Incoming webhooks by effect", "outcome"),
    ("webhooks_refused", "Incoming webhooks refused", "reason"),
    ("events_dropped", "Events that a slow listener lost", "listener"),
)
_HISTOGRAMS: Final = (
    ("chat_duration", "From request to answer", "mode"),
    ("attempt_duration", "Of attempts", "operation"),
    ("tool_call_duration", "Of tool calls, waits included", "tool"),
    ("webhook_attempt_duration", "Of webhook attempts", "endpoint"),
)


def _chat_answered(metrics: Metrics, event: events.ChatAnswered) -> None:
    metrics.add("chats", event.mode, "answered")
    metrics.observe("chat_duration", event.duration_s, event.mode)


def _chat_failed(metrics: Metrics, event: events.ChatFailed) -> None:
    metrics.add("chats", event.mode, event.reason)
    metrics.observe("chat_duration", event.duration_s, event.mode)


def _attempt_ended(metrics: Metrics, event: events.AttemptEnded) -> None:
    metrics.add("attempts", event.operation, event.outcome, event.reason)
    metrics.observe("attempt_duration", event.duration_s, event.operation)


def _tool_call_ended(metrics: Metrics, event: events.ToolCallEnded) -> None:
    metrics.add("tool_calls", event.tool, event.outcome)
    metrics.observe("tool_call_duration", event.duration_s, event.tool)


def _circuit_changed(metrics: Metrics, event: events.CircuitChanged) -> None:
    metrics.add("circuit_changes", event.circuit, event.to_state)
    metrics.show_circuit(event.circuit, event.to_state)


def _webhook_attempt_ended(metrics: Metrics, event: events.WebhookAttemptEnded) -> None:
    metrics.add("webhook_attempts", event.endpoint, event.outcome)
    metrics.observe("webhook_attempt_duration", event.duration_s, event.endpoint)


_COUNTED: Final[Mapping[type[Event], Callable[[Metrics, Any], None]]] = {
    events.ChatAnswered: _chat_answered,
    events.ChatFailed: _chat_failed,
    events.AttemptEnded: _attempt_ended,
    events.RetryScheduled: lambda metrics, event: metrics.add(
        "retries", event.operation, event.reason
    ),
    events.RetryGaveUp: lambda metrics, event: metrics.add(
        "gave_up", event.operation, event.reason
    ),
    events.OperationRejected: lambda metrics, event: metrics.add(
        "rejections", event.operation, event.strategy
    ),
    events.CircuitChanged: _circuit_changed,
    events.ToolCallEnded: _tool_call_ended,
    events.PendingCallExpired: lambda metrics, event: metrics.add(
        "pending_expired", event.tool
    ),
    events.WebhookEnqueued: lambda metrics, event: metrics.add(
        "webhooks", event.endpoint, "enqueued"
    ),
    events.WebhookDelivered: lambda metrics, event: metrics.add(
        "webhooks", event.endpoint, "delivered"
    ),
    events.WebhookDead: lambda metrics, event: metrics.add(
        "webhooks", event.endpoint, "dead"
    ),
    events.WebhookAttemptEnded: _webhook_attempt_ended,
    events.WebhookAccepted: lambda metrics, event: metrics.add(
        "webhooks_received", event.outcome
    ),
    events.WebhookRefused: lambda metrics, event: metrics.add(
        "webhooks_refused", event.reason
    ),
    events.EventsDropped: lambda metrics, event: metrics.add(
        "events_dropped", event.listener, by=event.dropped_events
    ),
}
