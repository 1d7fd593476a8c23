"""
Mistakes seen in the wild, each kept from happening here.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from harness.clock import LoopClock
from harness.errors import CircuitOpenError, UpstreamStatusError
from harness.events import AttemptStarted, CircuitChanged, RetryScheduled
from harness.resilience import (
    Attempt,
    BackoffOptions,
    Bulkhead,
    CircuitBreaker,
    CircuitBreakerOptions,
    Classified,
    Jitter,
    Outcome,
    Pipeline,
    RateLimiter,
    RateLimiterOptions,
    RetryOptions,
    classify_error,
    classify_status,
    parse_retry_after,
)
from harness.testing import Recorder, SimLoop

pytestmark = pytest.mark.virtual_time

MakeBreaker = Callable[..., CircuitBreaker]
MakePipeline = Callable[..., Pipeline]
Trip = Callable[[CircuitBreaker], None]
Call = Callable[[Attempt], Awaitable[str]]
Answers = Callable[..., Call]


def classify(error: BaseException | None) -> Classified:
    """
    Read statuses from errors.
    """
    if isinstance(error, UpstreamStatusError):
        return classify_status(error.status, retry_after_s=error.retry_after_s)
    return classify_error(error)


async def test_client_errors_while_half_open_do_not_wedge_the_circuit(
    make_pipeline: MakePipeline, answers: Answers, clock: LoopClock
) -> None:
    """
    Six days of 404 in a half-open circuit take no slot away.
    """
    pipeline = make_pipeline(
        circuit_breaker=CircuitBreakerOptions(failure_threshold=1), classify=classify
    )
    with pytest.raises(UpstreamStatusError):
        await pipeline.execute(
            answers(UpstreamStatusError(status=500)), operation="chat"
        )
    for _ in range(6 * 24):
        await clock.sleep(3600)
        with pytest.raises(UpstreamStatusError):
            await pipeline.execute(
                answers(UpstreamStatusError(status=404)), operation="chat"
            )

    for _ in range(3):
        await pipeline.execute(answers("hello"), operation="chat")

    (breaker,) = pipeline.strategies
    assert isinstance(breaker, CircuitBreaker)
    assert breaker.state == "closed"


async def test_the_call_that_half_opens_is_a_probe_too(
    make_breaker: MakeBreaker, trip: Trip, clock: LoopClock
) -> None:
    """
    The first call after the break takes one of the slots.
    """
    breaker = make_breaker(probes_max=1)
    trip(breaker)
    await clock.sleep(30)

    breaker.admit()

    assert breaker.snapshot().probes == 1
    with pytest.raises(CircuitOpenError):
        breaker.admit()


async def test_breaker_counts_attempts_and_not_exhausted_retries(
    make_pipeline: MakePipeline, answers: Answers, recorder: Recorder
) -> None:
    """
    A threshold of five means five failures on the wire, not five calls of three.
    """
    pipeline = make_pipeline(
        retry=RetryOptions(backoff=BackoffOptions(base_s=0.1), budget=None),
        circuit_breaker=CircuitBreakerOptions(failure_threshold=5),
    )

    for _ in range(5):
        with pytest.raises((ConnectionResetError, CircuitOpenError)):
            await pipeline.execute(answers(ConnectionResetError()), operation="chat")

    assert len(recorder.of(AttemptStarted)) == 5
    assert len(recorder.of(CircuitChanged)) == 1


async def test_retries_do_not_multiply(
    make_pipeline: MakePipeline, answers: Answers, recorder: Recorder
) -> None:
    """
    Four attempts allowed are four attempts made, with every strategy on.
    """
    pipeline = make_pipeline(
        retry=RetryOptions(attempts_max=4, budget=None),
        rate_limiter=RateLimiterOptions(),
        attempt_timeout_s=5.0,
    )

    with pytest.raises(ConnectionResetError):
        await pipeline.execute(answers(ConnectionResetError()), operation="chat")

    assert len(recorder.of(AttemptStarted)) == 4


async def test_jitter_does_not_vanish_at_the_cap(
    make_pipeline: MakePipeline, answers: Answers, recorder: Recorder
) -> None:
    """
    Late retries of many calls stay spread.
    """
    backoff = BackoffOptions(base_s=4, max_s=5, jitter=Jitter.EQUAL)
    pipeline = make_pipeline(
        retry=RetryOptions(attempts_max=6, backoff=backoff, budget=None)
    )

    for _ in range(20):
        with pytest.raises(ConnectionResetError):
            await pipeline.execute(answers(ConnectionResetError()), operation="chat")

    late = [
        event.delay_s
        for event in recorder.of(RetryScheduled)
        if event.attempt_number == 5
    ]
    assert len({round(delay_s, 3) for delay_s in late}) >= 18
    assert max(late) - min(late) > 1.5


async def test_garbage_is_no_order_to_retry_at_once(
    make_pipeline: MakePipeline, recorder: Recorder
) -> None:
    """
    A ``Retry-After`` that is negative or garbage leaves the backoff as it is.
    """
    plain = BackoffOptions(base_s=2, jitter=Jitter.NONE)
    pipeline = make_pipeline(
        retry=RetryOptions(backoff=plain, budget=None), classify=classify
    )
    headers = ["-10", "soon"]

    async def call(attempt: Attempt) -> str:
        if attempt.number > 2:
            return "hello"
        asked = parse_retry_after({"retry-after": headers[attempt.number - 1]}, 0.0)
        raise UpstreamStatusError(
            status=503, retry_after_s=None if asked is None else asked.delay_s
        )

    await pipeline.execute(call, operation="chat")

    assert [event.delay_s for event in recorder.of(RetryScheduled)] == [2, 4]


async def test_half_an_hour_is_not_slept_through(
    make_pipeline: MakePipeline, answers: Answers, clock: LoopClock
) -> None:
    """
    Without any deadline a ``Retry-After`` of 1800 s still ends the call at once.
    """
    pipeline = make_pipeline(retry=RetryOptions(), classify=classify)
    started_s = clock.monotonic()

    with pytest.raises(UpstreamStatusError):
        await pipeline.execute(
            answers(UpstreamStatusError(status=503, retry_after_s=1800)),
            operation="chat",
        )

    assert clock.monotonic() == started_s


async def test_large_waiter_does_not_starve(
    make_limiter: Callable[..., RateLimiter], clock: LoopClock
) -> None:
    """
    An expensive call gets its turn although cheap ones keep coming.
    """
    limiter = make_limiter(rate_per_s=10, burst=10)
    await limiter.acquire(cost=10)
    started_s = clock.monotonic()

    async def cheap() -> None:
        for _ in range(50):
            await limiter.acquire()

    async with asyncio.TaskGroup() as tasks:
        cheap_calls = [tasks.create_task(cheap()) for _ in range(3)]
        await clock.sleep(0.5)
        await limiter.acquire(cost=10)
        assert clock.monotonic() - started_s < 2
        for task in cheap_calls:
            task.cancel()


async def test_bulkhead_keeps_its_capacity_when_queued_callers_leave(
    make_bulkhead: Callable[..., Bulkhead], clock: LoopClock
) -> None:
    """
    Callers that give up while they wait take no permit with them.
    """
    bulkhead = make_bulkhead(permits_max=2)

    async def impatient() -> None:
        with contextlib.suppress(TimeoutError):
            async with clock.timeout(0.5), bulkhead.permit():
                await clock.sleep(10)

    for _ in range(20):
        async with asyncio.TaskGroup() as tasks:
            for _caller in range(10):
                tasks.create_task(impatient())

    assert bulkhead.in_use == 0
    assert bulkhead.waiting == 0


async def test_listener_is_called_outside_of_the_step(
    make_breaker: MakeBreaker, recorder: Recorder, trip: Trip
) -> None:
    """
    What a listener sees when it is called is a breaker that has finished its step.
    """
    breaker = make_breaker()
    trip(breaker)

    (event,) = recorder.of(CircuitChanged)

    assert event.generation == breaker.snapshot().generation
    with pytest.raises(CircuitOpenError):
        breaker.admit()


async def test_success_while_failures_run_only_ends_the_run(
    make_breaker: MakeBreaker,
) -> None:
    """
    A success among failures starts the count again from zero.
    """
    breaker = make_breaker(failure_threshold=3)

    for _ in range(20):
        for outcome in (Outcome.FAILURE, Outcome.FAILURE, Outcome.SUCCESS):
            breaker.settle(breaker.admit(), outcome)

    assert breaker.state == "closed"


@pytest.mark.parametrize("wait_s", [1.0, 1_000.0])
async def test_waiting_for_a_permit_does_not_poll(
    make_limiter: Callable[..., RateLimiter], wait_s: float
) -> None:
    """
    However long a permit takes, the loop turns as often: there is one timer.
    """
    limiter = make_limiter(rate_per_s=1 / wait_s, burst=1, wait_max_s=2_000)
    await limiter.acquire()
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimLoop)
    before = loop.steps

    assert await limiter.acquire() == pytest.approx(wait_s)

    assert loop.steps - before <= 3
