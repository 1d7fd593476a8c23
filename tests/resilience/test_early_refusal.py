"""
A call at an open circuit is refused before anything is done for it.
"""

from collections.abc import Awaitable, Callable

import pytest

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.errors import CircuitOpenError
from harness.events import AttemptStarted, OperationRejected, RetryGaveUp
from harness.randomness import Randomness
from harness.resilience import (
    Attempt,
    CircuitBreaker,
    CircuitBreakerOptions,
    Degraded,
    Fallback,
    Pipeline,
    Retry,
    RetryBudget,
    RetryBudgetOptions,
    RetryOptions,
    classify_error,
)
from harness.testing import Recorder

pytestmark = pytest.mark.virtual_time

MakeBreaker = Callable[..., CircuitBreaker]
MakePipeline = Callable[..., Pipeline]
Call = Callable[[Attempt], Awaitable[str]]
Trip = Callable[[CircuitBreaker], None]


@pytest.fixture
def hello(answers: Callable[..., Call]) -> Call:
    """
    A call that succeeds.
    """
    return answers("hello")


def breaker_of(pipeline: Pipeline) -> CircuitBreaker:
    """
    Return the breaker among the strategies of a pipeline.
    """
    [breaker] = [s for s in pipeline.strategies if isinstance(s, CircuitBreaker)]
    return breaker


async def test_refusal_is_told_and_counted(
    make_pipeline: MakePipeline, trip: Trip, hello: Call, recorder: Recorder
) -> None:
    """
    A refusal says who refused and for how long, is an event, and is counted.
    """
    pipeline = make_pipeline(
        retry=RetryOptions(), circuit_breaker=CircuitBreakerOptions()
    )
    trip(breaker_of(pipeline))

    with pytest.raises(CircuitOpenError) as refused:
        await pipeline.execute(hello, operation="chat")

    assert refused.value.retry_after_s == 30
    assert (refused.value.circuit, refused.value.state) == ("upstream", "open")
    assert str(refused.value) == (
        "circuit 'upstream' is open; asking again makes sense in 30.0 s"
    )
    [event] = recorder.of(OperationRejected)
    assert (event.strategy, event.circuit) == ("circuit_breaker", "upstream")
    assert (event.operation, event.retry_after_s) == ("chat", 30)
    assert not recorder.of(AttemptStarted)
    assert not recorder.of(RetryGaveUp)
    assert breaker_of(pipeline).snapshot().rejections == 1
    assert pipeline.in_flight == 0


async def test_refusal_earns_no_retries(
    make_breaker: MakeBreaker, trip: Trip, hello: Call, clock: LoopClock, bus: EventBus
) -> None:
    """
    Calls that were refused are no calls: they do not fill the retry budget.
    """
    budget = RetryBudget(options=RetryBudgetOptions(), clock=clock)
    breaker = make_breaker()
    pipeline = Pipeline(
        "upstream",
        strategies=[_retry(budget, clock, bus), breaker],
        classify=classify_error,
        clock=clock,
        bus=bus,
    )
    trip(breaker)
    before = budget.balance()

    for _ in range(100):
        with pytest.raises(CircuitOpenError):
            await pipeline.execute(hello, operation="chat")

    assert budget.balance() == before


async def test_isolated_circuit_refuses_early(
    make_pipeline: MakePipeline, hello: Call
) -> None:
    """
    A circuit isolated by hand refuses for about a break, and lets in once it is reset.
    """
    pipeline = make_pipeline(circuit_breaker=CircuitBreakerOptions())
    breaker_of(pipeline).isolate()

    with pytest.raises(CircuitOpenError) as refused:
        await pipeline.execute(hello, operation="chat")

    assert (refused.value.state, refused.value.retry_after_s) == ("isolated", 30)
    breaker_of(pipeline).reset()
    assert await pipeline.execute(hello, operation="chat") == "hello"


async def test_the_first_call_after_the_break_is_a_probe(
    make_pipeline: MakePipeline, trip: Trip, hello: Call, clock: LoopClock
) -> None:
    """
    The early refusal ends with the break, to the moment.
    """
    pipeline = make_pipeline(circuit_breaker=CircuitBreakerOptions())
    trip(breaker_of(pipeline))
    await clock.sleep(29.999)
    with pytest.raises(CircuitOpenError):
        await pipeline.execute(hello, operation="chat")

    await clock.sleep(0.001)

    assert await pipeline.execute(hello, operation="chat") == "hello"
    assert breaker_of(pipeline).snapshot().successes == 1


async def test_who_waits_for_the_circuit_is_not_refused_early(
    make_pipeline: MakePipeline, trip: Trip, hello: Call, clock: LoopClock
) -> None:
    """
    A retry that may wait for an open circuit gets to see the refusal.
    """
    pipeline = make_pipeline(
        retry=RetryOptions(waits_for_circuit=True),
        circuit_breaker=CircuitBreakerOptions(),
    )
    trip(breaker_of(pipeline))
    started_s = clock.monotonic()

    assert await pipeline.execute(hello, operation="chat") == "hello"
    assert clock.monotonic() - started_s == pytest.approx(30)


async def test_a_fallback_answers_refusals(
    make_breaker: MakeBreaker, trip: Trip, hello: Call, clock: LoopClock, bus: EventBus
) -> None:
    """
    A fallback around the breaker gets to see the refusal, too.
    """

    async def lesser(error: Exception) -> str:
        return type(error).__name__

    breaker = make_breaker()
    pipeline = Pipeline(
        "upstream",
        strategies=[Fallback(answer=lesser, bus=bus), breaker],
        classify=classify_error,
        clock=clock,
        bus=bus,
    )
    trip(breaker)

    answer: object = await pipeline.execute(hello, operation="chat")

    assert isinstance(answer, Degraded)
    assert answer.value == "CircuitOpenError"


def _retry(budget: RetryBudget, clock: LoopClock, bus: EventBus) -> Retry:
    """
    Return retries that share a budget.
    """
    return Retry(
        options=RetryOptions(),
        budget=budget,
        clock=clock,
        bus=bus,
        draws=Randomness(1).stream("retry"),
    )
