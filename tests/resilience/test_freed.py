"""
What a call leaves behind is freed at once, not when somebody looks for garbage.

Calls are many. What they leave in cycles lies in memory that no cache of the processor
holds, until a collection that stops everybody.
"""

import gc
from collections.abc import Awaitable, Callable, Iterator

import pytest

from harness.clock import LoopClock
from harness.errors import CircuitOpenError, RejectedError
from harness.resilience import (
    Attempt,
    CircuitBreaker,
    CircuitBreakerOptions,
    CircuitPermit,
    Pipeline,
    RateLimiterOptions,
    RetryOptions,
)
from harness.resilience.attempt import Execution

pytestmark = pytest.mark.virtual_time

MakePipeline = Callable[..., Pipeline]
Call = Callable[[Attempt], Awaitable[str]]
LeftBehind = Callable[[], list[str]]

_OF_A_CALL = (Attempt, Execution, CircuitPermit, RejectedError, ConnectionError)


def in_memory() -> list[object]:
    """
    Return what there is of calls, over or not.
    """
    return [each for each in gc.get_objects() if isinstance(each, _OF_A_CALL)]


@pytest.fixture
def left_behind() -> Iterator[LeftBehind]:
    """
    Return what says of which kinds a test has left something in memory.
    """
    gc.disable()
    # Held, so that nothing that comes later has the identity of one of them.
    before = in_memory()
    known = {id(each) for each in before}
    yield lambda: [type(each).__name__ for each in in_memory() if id(each) not in known]
    gc.enable()


async def outcome_of(pipeline: Pipeline, call: Call) -> str:
    """
    Return what a call came to, in words, so that nobody keeps its error.
    """
    try:
        return await pipeline.execute(call, operation="op")
    except (ConnectionError, RejectedError) as error:
        return type(error).__name__


async def test_calls_leave_nothing_behind(
    make_pipeline: MakePipeline, clock: LoopClock, left_behind: LeftBehind
) -> None:
    """
    A success, a failure after retries and every kind of refusal are freed when over.
    """
    pipeline = make_pipeline(
        retry=RetryOptions(attempts_max=3), circuit_breaker=CircuitBreakerOptions()
    )
    [breaker] = [s for s in pipeline.strategies if isinstance(s, CircuitBreaker)]

    async def hello(attempt: Attempt) -> str:
        return attempt.idempotency_key[:4]

    async def fail(_attempt: Attempt) -> str:
        raise ConnectionError

    async def fail_before_a_break(_attempt: Attempt) -> str:
        # While the retry waits.
        clock.call_at(clock.monotonic(), breaker.isolate)
        raise ConnectionError

    calls = [hello, fail, fail_before_a_break, hello]
    outcomes = [await outcome_of(pipeline, call) for call in calls]

    refused = CircuitOpenError.__name__
    assert outcomes == ["idem", "ConnectionError", refused, refused]
    assert left_behind() == []


async def test_a_call_that_is_refused_as_it_starts_leaves_nothing(
    make_pipeline: MakePipeline, clock: LoopClock, left_behind: LeftBehind
) -> None:
    """
    So is a call whose circuit opened while it waited for the limiter behind it.
    """
    pipeline = make_pipeline(
        circuit_breaker=CircuitBreakerOptions(),
        rate_limiter=RateLimiterOptions(rate_per_s=1.0, burst=1.0),
    )
    [breaker] = [s for s in pipeline.strategies if isinstance(s, CircuitBreaker)]

    async def hello(_attempt: Attempt) -> str:
        return "hello"

    outcomes = [await outcome_of(pipeline, hello)]
    clock.call_at(clock.monotonic() + 0.1, breaker.isolate)
    outcomes.append(await outcome_of(pipeline, hello))

    assert outcomes == ["hello", CircuitOpenError.__name__]
    assert left_behind() == []
