"""
What keeps one failing peer from taking everything down with it.

Strategies (circuit breaker, rate limiter, bulkhead, retry) are composed into a
:class:`Pipeline`; :class:`Pipelines` keeps one per destination. One clock, one seeded
randomness, no polling, every permit returned on every way out, every decision an
event.
"""

from harness.resilience.attempt import Attempt, Execution, Handler
from harness.resilience.circuit_state import (
    TRANSITIONS,
    CircuitEvent,
    CircuitSnapshot,
    CircuitState,
)
from harness.resilience.deadline import (
    Deadline,
    current_deadline,
    deadline_scope,
    earliest,
)
from harness.resilience.options import (
    BackoffOptions,
    BulkheadOptions,
    CircuitBreakerOptions,
    Jitter,
    PipelineOptions,
    PipelinesOptions,
    RateLimiterOptions,
    RetryBudgetOptions,
    RetryOptions,
)
from harness.resilience.outcome import (
    Classified,
    Classifier,
    Outcome,
    classify_error,
    classify_status,
)
from harness.resilience.pipeline import Pipeline, Strategy
from harness.resilience.registry import OptionsFor, Pipelines

__all__ = [
    "TRANSITIONS",
    "Attempt",
    "BackoffOptions",
    "BulkheadOptions",
    "CircuitBreakerOptions",
    "CircuitEvent",
    "CircuitSnapshot",
    "CircuitState",
    "Classified",
    "Classifier",
    "Deadline",
    "Execution",
    "Handler",
    "Jitter",
    "OptionsFor",
    "Outcome",
    "Pipeline",
    "PipelineOptions",
    "Pipelines",
    "PipelinesOptions",
    "RateLimiterOptions",
    "RetryBudgetOptions",
    "RetryOptions",
    "Strategy",
    "classify_error",
    "classify_status",
    "current_deadline",
    "deadline_scope",
    "earliest",
]
