"""
Counters and histograms of one mock, for Prometheus.
"""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_OVERHEAD_BUCKETS_S = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.05, 0.25)
_DURATION_BUCKETS_S = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 120)


class Metrics:
    """
    What is counted. Labels have few values: no key, no world, no path from outside.
    """

    def __init__(self) -> None:
        # A registry of its own, so that two mocks in one process do not meet.
        self.registry = CollectorRegistry()
        self._surfaces: dict[str, SurfaceMetrics] = {}
        self.requests = Counter(
            "mock_requests",
            "Requests that ended, by what came of them.",
            ("surface", "status", "outcome"),
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "mock_requests_in_flight",
            "Requests that are being answered.",
            ("surface",),
            registry=self.registry,
        )
        self.duration_s = Histogram(
            "mock_request_duration_seconds",
            "From the request to the end of its answer.",
            ("surface",),
            buckets=_DURATION_BUCKETS_S,
            registry=self.registry,
        )
        self.overhead_s = Histogram(
            "mock_overhead_seconds",
            "What an answer took beyond the delay that was planned for it.",
            ("surface",),
            buckets=_OVERHEAD_BUCKETS_S,
            registry=self.registry,
        )
        self.faults = Counter(
            "mock_faults_applied",
            "Faults that hit a request.",
            ("fault", "surface"),
            registry=self.registry,
        )
        self.emissions = Counter(
            "mock_webhooks_emitted",
            "Webhooks that were sent to the service, by its answer.",
            ("status",),
            registry=self.registry,
        )
        self.dropped = Gauge(
            "mock_dropped",
            "What a limit kept out, by limit.",
            ("limit",),
            registry=self.registry,
        )

    def surface(self, name: str) -> "SurfaceMetrics":
        """
        Return what is counted for every request of a surface.
        """
        if name not in self._surfaces:
            self._surfaces[name] = SurfaceMetrics(self, name)
        return self._surfaces[name]

    def render(self) -> bytes:
        """
        Return everything in the text format.
        """
        return generate_latest(self.registry)


class SurfaceMetrics:
    """
    The metrics of one surface, their labels looked up once.
    """

    def __init__(self, metrics: Metrics, name: str) -> None:
        self._name = name
        self._requests = metrics.requests
        self._ends: dict[tuple[int | None, str], Counter] = {}
        self.in_flight = metrics.in_flight.labels(name)
        self._duration_s = metrics.duration_s.labels(name)
        self._overhead_s = metrics.overhead_s.labels(name)

    def measure(
        self,
        *,
        status: int | None,
        outcome: str,
        elapsed_s: float,
        overhead_s: float | None,
    ) -> None:
        """
        Count a request that ended.

        Args:
            status: What was sent, if anything was.
            outcome: How it ended.
            elapsed_s: From the request to the end of its answer.
            overhead_s: What it took beyond its plan; None if it was not completed.
        """
        end = (status, outcome)
        if end not in self._ends:
            self._ends[end] = self._requests.labels(self._name, str(status), outcome)
        self._ends[end].inc()
        self._duration_s.observe(elapsed_s)
        if overhead_s is not None:
            self._overhead_s.observe(overhead_s)
