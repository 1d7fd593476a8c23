"""
What a pipeline tells of itself.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from harness.clock import LoopClock
from harness.errors import CircuitOpenError, HarnessError, UpstreamStatusError
from harness.resilience import (
    AdaptiveLimiterOptions,
    Attempt,
    BulkheadOptions,
    CircuitBreakerOptions,
    CircuitState,
    Classified,
    Pipelines,
    RateLimiterOptions,
    classify_error,
    classify_status,
)

pytestmark = pytest.mark.virtual_time

MakePipelines = Callable[..., Pipelines]
Call = Callable[[Attempt], Awaitable[str]]


def classify(error: BaseException | None) -> Classified:
    """
    Read statuses from errors.
    """
    if isinstance(error, UpstreamStatusError):
        return classify_status(error.status)
    return classify_error(error)


async def test_calls_and_outcomes_add_up(
    make_pipelines: MakePipelines, answers: Callable[..., Call]
) -> None:
    """
    Each call counts, refused or not, and each attempt has one of four outcomes.
    """
    pipelines = make_pipelines(
        retry=None,
        rate_limiter=None,
        circuit_breaker=CircuitBreakerOptions(failure_threshold=2),
        classify=classify,
    )
    pipeline = pipelines.for_destination("upstream")
    script = ["hello", *[UpstreamStatusError(status=s) for s in (404, 429, 500, 500)]]
    call = answers(*script)

    for _ in range(5):
        try:
            await pipeline.execute(call, operation="chat")
        except UpstreamStatusError:
            continue
    with pytest.raises(CircuitOpenError):
        await pipeline.execute(call, operation="chat")

    [seen] = pipelines.statistics()
    assert (seen.name, seen.calls, seen.attempts, seen.in_flight) == (
        "upstream",
        6,
        5,
        0,
    )
    assert (seen.successes, seen.failures) == (1, 2)
    assert (seen.backpressures, seen.ignored) == (1, 1)
    assert seen.circuit is not None
    assert seen.circuit.state is CircuitState.OPEN
    assert (seen.rate_available, seen.concurrency_limit) == (None, None)


@pytest.mark.parametrize(
    "strategy",
    [
        {"bulkhead": BulkheadOptions(permits_max=2)},
        {"adaptive_limiter": AdaptiveLimiterOptions(base=2)},
    ],
    ids=["bulkhead", "adaptive"],
)
async def test_permits_and_queues_are_told(
    make_pipelines: MakePipelines, clock: LoopClock, strategy: dict[str, object]
) -> None:
    """
    Who is inside, who waits for a slot and who for the rate can be read at any time.
    """
    pipelines = make_pipelines(
        circuit_breaker=None,
        rate_limiter=RateLimiterOptions(rate_per_s=0.1, burst=1, wait_max_s=20),
        **strategy,
    )
    pipeline = pipelines.for_destination("upstream")

    async def call(_attempt: Attempt) -> str:
        await clock.sleep(100)
        return "hello"

    async def one() -> None:
        try:
            await pipeline.execute(call, operation="chat")
        except HarnessError:
            return

    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(one())
        await clock.sleep(1)
        seen = pipeline.statistics()
        assert (seen.concurrency_limit, seen.concurrency_in_use) == (2, 2)
        assert (seen.concurrency_waiting, seen.rate_waiting) == (1, 1)
        assert seen.in_flight == 3
        assert seen.rate_available == pytest.approx(0.1)
        assert seen.circuit is None

    assert pipeline.statistics().in_flight == 0
