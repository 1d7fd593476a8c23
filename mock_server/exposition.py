"""
The metrics of a mock as Prometheus reads them.
"""

from collections.abc import Iterable, Iterator, Mapping

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from mock_server.metrics import OVERHEADS_MAX, Metrics, percentile

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def expose(
    metrics: Metrics,
    *,
    events: int,
    held: Mapping[str, int],
    dropped: Mapping[str, int],
) -> bytes:
    """
    Return everything in the text format.

    Args:
        metrics: What was counted.
        events: How many were published.
        held: What the mock keeps, by kind.
        dropped: What a limit kept out, by limit.
    """
    # A registry of its own, so that two mocks in one process do not meet.
    registry = CollectorRegistry()
    registry.register(
        _Families(
            (
                *_of_surfaces(metrics),
                *_of_hooks(metrics),
                *_of_health(events, held, dropped),
            )
        )
    )
    return generate_latest(registry)


class _Families(Collector):
    """
    Shows metrics as they stand.
    """

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        """
        Return the metrics.
        """
        return self._families


def _of_surfaces(metrics: Metrics) -> Iterator[Metric]:
    requests = CounterMetricFamily(
        "mock_requests",
        "Requests that ended, by what came of them.",
        labels=("surface", "status", "outcome"),
    )
    in_flight = GaugeMetricFamily(
        "mock_requests_in_flight",
        "Requests that are being answered.",
        labels=("surface",),
    )
    duration = HistogramMetricFamily(
        "mock_request_duration_seconds",
        "From the request to the end of its answer.",
        labels=("surface",),
    )
    overhead = HistogramMetricFamily(
        "mock_overhead_seconds",
        "What an answer took beyond the delay that was planned for it.",
        labels=("surface",),
    )
    percentiles = GaugeMetricFamily(
        "mock_overhead_percentile_seconds",
        f"The same, of the latest {OVERHEADS_MAX} answers.",
        labels=("surface", "percentile"),
    )
    for name, surface in metrics.surfaces.items():
        for (status, outcome), number in surface.ends.items():
            requests.add_metric((name, str(status), outcome), number)
        in_flight.add_metric((name,), surface.in_flight)
        for family, buckets in (
            (duration, surface.duration_s),
            (overhead, surface.overhead_s),
        ):
            family.add_metric((name,), buckets.cumulated(), buckets.sum)
        for label, share in (("50", 0.5), ("99", 0.99)):
            found_s = percentile(surface.overheads, share)
            if found_s is not None:
                percentiles.add_metric((name, label), found_s)
    yield from (requests, in_flight, duration, overhead, percentiles)


def _of_hooks(metrics: Metrics) -> Iterator[Metric]:
    faults = CounterMetricFamily(
        "mock_faults_applied",
        "Faults that hit a request.",
        labels=("fault", "surface"),
    )
    for labels, number in metrics.faults.items():
        faults.add_metric(labels, number)
    emissions = CounterMetricFamily(
        "mock_webhooks_emitted",
        "Webhooks that were sent to the service, by its answer.",
        labels=("status",),
    )
    for status, number in metrics.emissions.items():
        emissions.add_metric((status,), number)
    yield from (faults, emissions)


def _of_health(
    events: int, held: Mapping[str, int], dropped: Mapping[str, int]
) -> Iterator[Metric]:
    yield GaugeMetricFamily(
        "mock_events_published", "Events since the mock started.", value=events
    )
    for name, about, label, numbers in (
        ("mock_held", "What the mock keeps, by kind.", "kind", held),
        ("mock_dropped", "What a limit kept out, by limit.", "limit", dropped),
    ):
        family = GaugeMetricFamily(name, about, labels=(label,))
        for value, number in numbers.items():
            family.add_metric((value,), number)
        yield family
