"""
Options that make no sense are refused when they are built.
"""

from typing import Any

import pytest

from harness.errors import OptionsError
from harness.resilience import (
    AdaptiveLimiterOptions,
    BackoffOptions,
    BulkheadOptions,
    CircuitBreakerOptions,
    ConcurrencyBudgetOptions,
    HedgingOptions,
    PipelineOptions,
    PipelinesOptions,
    RateLimiterOptions,
    RetryBudgetOptions,
    RetryOptions,
    ThrottleBudgetOptions,
)

NAN = float("nan")


@pytest.mark.parametrize(
    ("kind", "wrong"),
    [
        (
            CircuitBreakerOptions,
            {
                "failure_threshold": 0,
                "failure_ratio": 1.5,
                "minimum_throughput": 0,
                "slow_ratio": 0.0,
                "slow_call_s": 0.0,
                "slow_minimum_throughput": 0,
                "window_calls": 0,
                "sampling_duration_s": 0.0,
                "window_buckets": 0,
                "backpressure_threshold": 0,
                "break_duration_s": -1.0,
                "break_factor": 0.5,
                "break_max_s": -2.0,
                "break_jitter": 1.5,
                "probes_max": 0,
                "successes_to_close": 0,
                "probe_lease_s": NAN,
            },
        ),
        (
            RateLimiterOptions,
            {
                "rate_per_s": 0.0,
                "burst": 0.5,
                "wait_max_s": -1.0,
                "waiting_max": -1,
                "token_rate_per_s": 0.0,
                "token_burst": 0.0,
                "pause_max_s": -1.0,
            },
        ),
        (RateLimiterOptions, {"token_burst": 100.0}),
        (
            RetryOptions,
            {
                "attempts_max": 0,
                "retry_after_max_s": -1.0,
                "retry_after_jitter_share": 2.0,
            },
        ),
        (
            BackoffOptions,
            {"base_s": -1.0, "multiplier": 0.5, "jitter_share": 2.0, "max_s": -2.0},
        ),
        (BackoffOptions, {"max_s": 0.1}),
        (RetryBudgetOptions, {"share": -0.1, "reserve_per_s": -1.0, "window_s": 0.0}),
        (ThrottleBudgetOptions, {"tokens_max": 0.0, "token_ratio": NAN}),
        (ConcurrencyBudgetOptions, {"share": 1.5, "retries_min": -1}),
        (
            HedgingOptions,
            {"quantile": 1.0, "delay_min_s": -1.0, "samples_min": 0, "samples_max": -1},
        ),
        (HedgingOptions, {"samples_max": 19}),
        (
            AdaptiveLimiterOptions,
            {
                "base": 0,
                "window_s": 0.0,
                "samples_min": 0,
                "quantile": NAN,
                "timeout_s": 0.0,
                "waiting_max": -1,
                "wait_max_s": -1.0,
            },
        ),
        (BulkheadOptions, {"permits_max": 0, "waiting_max": -1, "wait_max_s": -1.0}),
        (PipelinesOptions, {"destinations_max": 0, "idle_s": 0.0}),
        (PipelineOptions, {"total_timeout_s": 0.0, "attempt_timeout_s": -1.0}),
    ],
)
def test_all_mistakes_are_named_at_once(kind: Any, wrong: dict[str, object]) -> None:
    """
    Every setting that makes no sense is named, in one error.
    """
    with pytest.raises(OptionsError) as caught:
        kind(**wrong)

    assert set(caught.value.fields) == set(wrong)
    assert caught.value.owner == kind.__name__


def test_attempt_may_not_take_longer_than_the_call() -> None:
    """
    An attempt timeout above the total timeout could never be reached.
    """
    with pytest.raises(OptionsError, match="attempt_timeout_s"):
        PipelineOptions(total_timeout_s=5, attempt_timeout_s=6)


def test_probes_have_to_fit_through_the_bulkhead() -> None:
    """
    More probes than permits could never be under way.
    """
    with pytest.raises(OptionsError, match="bulkhead"):
        PipelineOptions(
            bulkhead=BulkheadOptions(permits_max=2),
            circuit_breaker=CircuitBreakerOptions(probes_max=3),
        )


def test_a_window_has_to_hold_the_samples_it_needs() -> None:
    """
    A window of fewer calls than the minimum would never be judged.
    """
    with pytest.raises(OptionsError, match="window_calls"):
        CircuitBreakerOptions(failure_ratio=0.5, window_calls=5, minimum_throughput=10)


def test_defaults_are_those_of_the_design() -> None:
    """
    What is not said is as written in the documentation.
    """
    pipeline = PipelineOptions()
    breaker, limiter, retry = (
        CircuitBreakerOptions(),
        RateLimiterOptions(),
        RetryOptions(),
    )

    assert (breaker.failure_threshold, breaker.break_duration_s) == (5, 30)
    assert (breaker.probes_max, breaker.successes_to_close) == (3, 3)
    assert (limiter.rate_per_s, limiter.burst, limiter.wait_max_s) == (100, 200, 30)
    assert retry.attempts_max == 3
    assert (pipeline.attempt_timeout_s, pipeline.total_timeout_s) == (30, 120)
