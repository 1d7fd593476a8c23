"""
What keeps one failing peer from taking everything down with it.

Strategies (circuit breaker, rate limiter, bulkhead, retry) are composed into a
:class:`Pipeline`; :class:`Pipelines` keeps one per destination. One clock, one seeded
randomness, no polling, every permit returned on every way out, every decision an
event.
"""

from harness.resilience.adaptive_limiter import AdaptiveLimiter
from harness.resilience.attempt import Attempt, Execution, Handler
from harness.resilience.backoff import delay_s as backoff_delay_s
from harness.resilience.backoff import envelope_s as backoff_envelope_s
from harness.resilience.budget import (
    Budget,
    ConcurrencyBudget,
    RetryBudget,
    ThrottleBudget,
    make_budget,
)
from harness.resilience.bulkhead import Bulkhead
from harness.resilience.circuit import Circuit, CircuitPermit, CircuitRefusal
from harness.resilience.circuit_breaker import CircuitBreaker
from harness.resilience.circuit_health import TripRule
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
    earlier,
)
from harness.resilience.fallback import Degraded, Fallback
from harness.resilience.hedging import Hedging
from harness.resilience.limit_options import (
    AdaptiveLimiterOptions,
    BulkheadOptions,
    LimitStrategy,
    RateLimiterOptions,
)
from harness.resilience.limit_rules import (
    AimdRule,
    Gradient2Rule,
    LimitRange,
    LimitRule,
    LimitSample,
    VegasRule,
)
from harness.resilience.lint import PipelineOrderWarning, lint_order
from harness.resilience.options import (
    BackoffOptions,
    BudgetOptions,
    CircuitBreakerOptions,
    ConcurrencyBudgetOptions,
    HedgingOptions,
    Jitter,
    PipelineOptions,
    PipelinesOptions,
    RetryBudgetOptions,
    RetryOptions,
    ThrottleBudgetOptions,
)
from harness.resilience.outcome import (
    Classified,
    Classifier,
    Outcome,
    classify_error,
    classify_status,
)
from harness.resilience.pipeline import Pipeline
from harness.resilience.quota import QuotaLeft, parse_quota
from harness.resilience.rate_limiter import RateLimiter
from harness.resilience.registry import CircuitGroup, OptionsFor, Pipelines
from harness.resilience.retry import GiveUp, Retry, RetryIn, next_step
from harness.resilience.retry_after import RetryAfter, parse_retry_after
from harness.resilience.statistics import PipelineStatistics
from harness.resilience.strategy import Strategy, StrategyKind

__all__ = [
    "TRANSITIONS",
    "AdaptiveLimiter",
    "AdaptiveLimiterOptions",
    "AimdRule",
    "Attempt",
    "BackoffOptions",
    "Budget",
    "BudgetOptions",
    "Bulkhead",
    "BulkheadOptions",
    "Circuit",
    "CircuitBreaker",
    "CircuitBreakerOptions",
    "CircuitEvent",
    "CircuitGroup",
    "CircuitPermit",
    "CircuitRefusal",
    "CircuitSnapshot",
    "CircuitState",
    "Classified",
    "Classifier",
    "ConcurrencyBudget",
    "ConcurrencyBudgetOptions",
    "Deadline",
    "Degraded",
    "Execution",
    "Fallback",
    "GiveUp",
    "Gradient2Rule",
    "Handler",
    "Hedging",
    "HedgingOptions",
    "Jitter",
    "LimitRange",
    "LimitRule",
    "LimitSample",
    "LimitStrategy",
    "OptionsFor",
    "Outcome",
    "Pipeline",
    "PipelineOptions",
    "PipelineOrderWarning",
    "PipelineStatistics",
    "Pipelines",
    "PipelinesOptions",
    "QuotaLeft",
    "RateLimiter",
    "RateLimiterOptions",
    "Retry",
    "RetryAfter",
    "RetryBudget",
    "RetryBudgetOptions",
    "RetryIn",
    "RetryOptions",
    "Strategy",
    "StrategyKind",
    "ThrottleBudget",
    "ThrottleBudgetOptions",
    "TripRule",
    "VegasRule",
    "backoff_delay_s",
    "backoff_envelope_s",
    "classify_error",
    "classify_status",
    "current_deadline",
    "deadline_scope",
    "earlier",
    "lint_order",
    "make_budget",
    "next_step",
    "parse_quota",
    "parse_retry_after",
]
