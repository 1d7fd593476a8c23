"""
What a pipeline has done and how it stands, as one value.

Everything is counted by the loop that makes the calls, between two awaits: a reader
needs no lock and sees no half of a step.
"""

from dataclasses import dataclass

from harness.resilience.circuit_state import CircuitSnapshot


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineStatistics:
    """
    A pipeline at one moment; None where it has no such strategy.
    """

    name: str
    calls: int
    """Calls that were asked for, refused ones included."""

    in_flight: int
    """Calls under way, those that wait for a permit or a retry included."""

    attempts: int
    """Attempts that ended; the four figures below add up to it."""

    successes: int
    failures: int
    backpressures: int
    ignored: int

    circuit: CircuitSnapshot | None = None
    concurrency_limit: int | None = None
    concurrency_in_use: int | None = None
    concurrency_waiting: int | None = None
    rate_available: float | None = None
    """Requests that may go out at once."""

    rate_waiting: int | None = None
