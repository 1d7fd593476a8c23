"""
The pipeline: the strategies together, in their order.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable

import pytest

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.errors import (
    AttemptTimeoutError,
    BulkheadFullError,
    CircuitOpenError,
    DeadlineExceededError,
    RateLimitedError,
    UpstreamStatusError,
)
from harness.events import (
    AttemptEnded,
    AttemptStarted,
    Event,
    OperationRejected,
    RateLimiterPaused,
    RetryScheduled,
    StaleOutcomeIgnored,
)
from harness.randomness import Randomness
from harness.resilience import (
    Attempt,
    BulkheadOptions,
    CircuitBreaker,
    CircuitBreakerOptions,
    Classified,
    Deadline,
    Pipeline,
    PipelineOrderWarning,
    RateLimiter,
    RateLimiterOptions,
    Retry,
    RetryOptions,
    classify_error,
    classify_status,
    current_deadline,
    lint_order,
)
from harness.testing import Recorder

pytestmark = pytest.mark.virtual_time

MakePipeline = Callable[..., Pipeline]
Call = Callable[[Attempt], Awaitable[str]]
Answers = Callable[..., Call]

EVERYTHING = {
    "total_timeout_s": 60.0,
    "attempt_timeout_s": 5.0,
    "retry": RetryOptions(),
    "circuit_breaker": CircuitBreakerOptions(),
    "bulkhead": BulkheadOptions(permits_max=10),
    "rate_limiter": RateLimiterOptions(),
}


def classify(error: BaseException | None) -> Classified:
    """
    Read statuses from errors.
    """
    if isinstance(error, UpstreamStatusError):
        return classify_status(error.status, retry_after_s=error.retry_after_s)
    return classify_error(error)


async def test_empty_pipeline_is_a_pipeline(
    make_pipeline: MakePipeline, answers: Answers, recorder: Recorder
) -> None:
    """
    Without strategies the call is made once, and its attempt is told.
    """
    pipeline = make_pipeline()

    assert await pipeline.execute(answers("hello"), operation="chat") == "hello"
    with pytest.raises(KeyError):
        await pipeline.execute(answers(KeyError()), operation="chat")

    assert [event.outcome for event in recorder.of(AttemptEnded)] == [
        "success",
        "failure",
    ]


async def test_everything_on_changes_no_result(
    make_pipeline: MakePipeline, answers: Answers, recorder: Recorder
) -> None:
    """
    On the happy path all strategies together add two events and no wait.
    """
    pipeline = make_pipeline(**EVERYTHING)

    assert await pipeline.execute(answers("hello"), operation="chat") == "hello"

    kinds = [type(event) for event in recorder.events]
    assert kinds == [AttemptStarted, AttemptEnded]


async def test_attempt_knows_what_it_has_to_know(
    make_pipeline: MakePipeline, clock: LoopClock
) -> None:
    """
    The call is told its operation, number, deadline and timeout.
    """
    pipeline = make_pipeline(**EVERYTHING)
    deadline = Deadline.after(clock, 3)

    async def call(attempt: Attempt) -> str:
        assert attempt.operation == "chat"
        assert attempt.number == 1
        assert attempt.deadline is deadline
        assert attempt.timeout_s == pytest.approx(3)
        assert current_deadline() is deadline
        return "hello"

    await pipeline.execute(call, operation="chat", deadline=deadline)

    assert current_deadline() is None


async def test_facts_about_the_answer_are_told(
    make_pipeline: MakePipeline, recorder: Recorder, clock: LoopClock
) -> None:
    """
    Status, request id and duration of an attempt stand in its event.
    """
    pipeline = make_pipeline(**EVERYTHING)

    async def call(attempt: Attempt) -> str:
        await clock.sleep(0.25)
        attempt.note(status=200, request_id="req_1")
        attempt.note(status=None)
        return "hello"

    await pipeline.execute(call, operation="chat")

    (event,) = recorder.of(AttemptEnded)
    assert (event.status, event.request_id, event.reason) == (200, "req_1", "ok")
    assert event.duration_s == pytest.approx(0.25)


async def test_attempt_timeout_covers_the_whole_answer(
    make_pipeline: MakePipeline, clock: LoopClock, recorder: Recorder
) -> None:
    """
    An answer that drips is cut when the attempt's time is over, and is a failure.
    """
    pipeline = make_pipeline(attempt_timeout_s=5.0)

    async def drip(attempt: Attempt) -> str:
        del attempt
        for _ in range(1000):
            await clock.sleep(0.1)
        return "never"

    with pytest.raises(AttemptTimeoutError) as caught:
        await pipeline.execute(drip, operation="chat")

    assert caught.value.timeout_s == 5
    assert [(e.outcome, e.reason) for e in recorder.of(AttemptEnded)] == [
        ("failure", "timeout")
    ]


async def test_a_timeout_of_the_call_itself_is_not_taken_for_ours(
    make_pipeline: MakePipeline, answers: Answers
) -> None:
    """
    A TimeoutError that the call raises leaves as it is.
    """
    pipeline = make_pipeline(attempt_timeout_s=5.0)

    with pytest.raises(TimeoutError, match="theirs"):
        await pipeline.execute(answers(TimeoutError("theirs")), operation="chat")


async def test_queueing_does_not_look_like_a_slow_peer(
    make_pipeline: MakePipeline, clock: LoopClock, recorder: Recorder
) -> None:
    """
    The attempt timeout and the attempt's duration start after the permits.
    """
    pipeline = make_pipeline(
        attempt_timeout_s=2.0,
        rate_limiter=RateLimiterOptions(rate_per_s=0.1, burst=1, wait_max_s=100),
    )

    async def call(attempt: Attempt) -> str:
        del attempt
        await clock.sleep(1)
        return "hello"

    started_s = clock.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(3):
            tasks.create_task(pipeline.execute(call, operation="chat"))

    assert [event.duration_s for event in recorder.of(AttemptEnded)] == pytest.approx(
        [1, 1, 1]
    )
    assert clock.monotonic() - started_s == pytest.approx(21)


async def test_work_is_not_started_after_the_deadline(
    make_pipeline: MakePipeline, answers: Answers, clock: LoopClock, recorder: Recorder
) -> None:
    """
    A call whose time is over is refused and not made.
    """
    pipeline = make_pipeline()
    deadline = Deadline.after(clock, 1)
    await clock.sleep(1)

    with pytest.raises(DeadlineExceededError):
        await pipeline.execute(answers("hello"), operation="chat", deadline=deadline)

    assert recorder.of(AttemptStarted) == []
    assert [event.strategy for event in recorder.of(OperationRejected)] == ["deadline"]


async def test_open_circuit_takes_no_other_permits(
    make_pipeline: MakePipeline, answers: Answers, recorder: Recorder
) -> None:
    """
    A call that an open circuit refuses consumes no turn at the rate limiter.
    """
    pipeline = make_pipeline(
        circuit_breaker=CircuitBreakerOptions(failure_threshold=1),
        rate_limiter=RateLimiterOptions(rate_per_s=1, burst=10),
    )
    with pytest.raises(ConnectionResetError):
        await pipeline.execute(answers(ConnectionResetError()), operation="chat")
    (limiter,) = [s for s in pipeline.strategies if isinstance(s, RateLimiter)]

    for _ in range(20):
        with pytest.raises(CircuitOpenError):
            await pipeline.execute(answers("hello"), operation="chat")

    assert limiter.granted_permits == 1
    rejected = recorder.of(OperationRejected)
    assert {(e.strategy, e.circuit) for e in rejected} == {
        ("circuit_breaker", "upstream")
    }


async def test_calls_that_queued_while_the_circuit_opened_are_not_made(
    make_pipeline: MakePipeline, recorder: Recorder
) -> None:
    """
    Who was admitted and then waited for its turn does not reach a peer that is down.
    """
    pipeline = make_pipeline(
        circuit_breaker=CircuitBreakerOptions(failure_threshold=2),
        rate_limiter=RateLimiterOptions(rate_per_s=1, burst=1),
    )

    async def call(attempt: Attempt) -> str:
        del attempt
        raise ConnectionResetError

    async def try_one() -> None:
        with contextlib.suppress(ConnectionResetError, CircuitOpenError):
            await pipeline.execute(call, operation="chat")

    async with asyncio.TaskGroup() as tasks:
        for _ in range(10):
            tasks.create_task(try_one())

    assert len(recorder.of(AttemptStarted)) == 2
    assert len(recorder.of(OperationRejected)) == 8
    assert recorder.of(StaleOutcomeIgnored) == []


async def test_refusal_by_the_limiter_does_not_touch_the_circuit(
    make_pipeline: MakePipeline, answers: Answers, recorder: Recorder
) -> None:
    """
    What we refuse ourselves says nothing about the peer.
    """
    pipeline = make_pipeline(
        circuit_breaker=CircuitBreakerOptions(failure_threshold=1),
        rate_limiter=RateLimiterOptions(rate_per_s=1, burst=1, wait_max_s=0),
    )
    await pipeline.execute(answers("hello"), operation="chat")

    for _ in range(10):
        with pytest.raises(RateLimitedError):
            await pipeline.execute(answers("hello"), operation="chat")

    (breaker,) = [s for s in pipeline.strategies if isinstance(s, CircuitBreaker)]
    assert breaker.state == "closed"
    assert breaker.snapshot().failures == 0
    assert {e.strategy for e in recorder.of(OperationRejected)} == {"rate_limiter"}


async def test_refusal_by_the_bulkhead_is_told(
    make_pipeline: MakePipeline,
    answers: Answers,
    hang: Call,
    clock: LoopClock,
    recorder: Recorder,
) -> None:
    """
    A call that finds no room is refused at once, with an event that says by whom.
    """
    pipeline = make_pipeline(bulkhead=BulkheadOptions(permits_max=1, waiting_max=0))
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(pipeline.execute(hang, operation="chat"))
        await clock.sleep(1)
        with pytest.raises(BulkheadFullError):
            await pipeline.execute(answers("hello"), operation="chat")
        task.cancel()

    (event,) = recorder.of(OperationRejected)
    assert (event.strategy, event.reason) == ("bulkhead", "bulkhead_full")
    assert await pipeline.execute(answers("hello"), operation="chat") == "hello"


async def test_backpressure_pauses_everybody(
    make_pipeline: MakePipeline, answers: Answers, clock: LoopClock, recorder: Recorder
) -> None:
    """
    After a 429 no call goes out before ``Retry-After`` is over, and the circuit stays.
    """
    pipeline = make_pipeline(**EVERYTHING, classify=classify)
    started_s = clock.monotonic()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(
            pipeline.execute(
                answers(UpstreamStatusError(status=429, retry_after_s=4), "hello"),
                operation="chat",
            )
        )
        await clock.sleep(1)
        await pipeline.execute(answers("hello"), operation="chat")
        assert clock.monotonic() - started_s == pytest.approx(4)

    assert [event.pause_s for event in recorder.of(RateLimiterPaused)] == [4]
    assert [event.asked_s for event in recorder.of(RetryScheduled)] == [4]


async def test_tokens_of_a_call_count_at_the_limiter(
    make_pipeline: MakePipeline, answers: Answers, clock: LoopClock
) -> None:
    """
    A call says what it costs in tokens; by default a minute's worth may go at once.
    """
    pipeline = make_pipeline(rate_limiter=RateLimiterOptions(token_rate_per_s=10))
    started_s = clock.monotonic()

    await pipeline.execute(answers("hello"), operation="chat", tokens=600)
    await pipeline.execute(answers("hello"), operation="chat")
    assert clock.monotonic() == started_s

    await pipeline.execute(answers("hello"), operation="chat", tokens=10)
    assert clock.monotonic() - started_s == pytest.approx(1)


async def test_every_permit_comes_back_on_every_way_out(
    make_pipeline: MakePipeline,
    clock: LoopClock,
    randomness: Randomness,
) -> None:
    """
    Over thousands of calls that succeed, fail, hang or are cancelled, nothing leaks.
    """
    pipeline = make_pipeline(
        **{
            **EVERYTHING,
            "circuit_breaker": CircuitBreakerOptions(break_duration_s=2),
            "rate_limiter": RateLimiterOptions(rate_per_s=200, burst=20),
        },
        classify=classify,
    )
    draws = randomness.stream("calls")

    async def call(attempt: Attempt) -> str:
        del attempt
        await clock.sleep(draws.choice([0, 0.01, 0.1, 10]))
        if draws.random() < 0.3:
            raise UpstreamStatusError(status=draws.choice([404, 429, 500, 503]))
        return "hello"

    async def try_one() -> None:
        try:
            await pipeline.execute(call, operation="chat")
        except Exception:  # noqa: BLE001 - any error is a way out
            return

    async with asyncio.TaskGroup() as tasks:
        for number in range(3000):
            task = tasks.create_task(try_one())
            if draws.random() < 0.3:
                asyncio.get_running_loop().call_later(
                    draws.choice([0, 0.01, 0.1, 1]), task.cancel
                )
            if number % 10 == 0:
                await clock.sleep(draws.choice([0, 0.1, 1]))

    _retry, breaker, bulkhead, limiter = pipeline.strategies
    assert isinstance(breaker, CircuitBreaker)
    assert isinstance(limiter, RateLimiter)
    assert breaker.snapshot().probes == 0
    assert (getattr(bulkhead, "in_use", None), limiter.waiting) == (0, 0)
    assert pipeline.in_flight == 0


async def test_broken_classifier_counts_as_failure(
    make_pipeline: MakePipeline, answers: Answers, recorder: Recorder
) -> None:
    """
    A classifier that raises leaks no permit, hides no result, and is a failure.
    """

    def broken(error: BaseException | None) -> Classified:
        raise ZeroDivisionError from error

    pipeline = make_pipeline(circuit_breaker=CircuitBreakerOptions(), classify=broken)

    for _ in range(5):
        assert await pipeline.execute(answers("hello"), operation="chat") == "hello"

    with pytest.raises(CircuitOpenError):
        await pipeline.execute(answers("hello"), operation="chat")
    assert {event.reason for event in recorder.of(AttemptEnded)} == {
        "classifier_failed"
    }


async def test_cancellation_is_neutral_whatever_the_classifier_says(
    make_pipeline: MakePipeline, hang: Call, clock: LoopClock, recorder: Recorder
) -> None:
    """
    A classifier cannot make a failure of a call that we cancelled.
    """
    pipeline = make_pipeline(
        circuit_breaker=CircuitBreakerOptions(failure_threshold=1),
        classify=lambda error: classify_status(200 if error is None else 500),
    )

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(pipeline.execute(hang, operation="chat"))
        await clock.sleep(1)
        task.cancel()

    assert task.cancelled()
    assert [(e.outcome, e.reason) for e in recorder.of(AttemptEnded)] == [
        ("ignored", "cancelled")
    ]
    assert [type(event) for event in recorder.events] == [AttemptStarted, AttemptEnded]


async def test_wrong_order_is_built_and_warned_of(
    clock: LoopClock, bus: EventBus, randomness: Randomness
) -> None:
    """
    A breaker outside of the retries works, and building it says what is wrong.
    """
    draws = randomness.stream("order")
    breaker = CircuitBreaker(
        "upstream", options=CircuitBreakerOptions(), clock=clock, bus=bus, draws=draws
    )
    retry = Retry(
        options=RetryOptions(), budget=None, clock=clock, bus=bus, draws=draws
    )

    async def call(attempt: Attempt) -> str:
        if attempt.number < 3:
            raise ConnectionResetError
        return "hello"

    with pytest.warns(PipelineOrderWarning, match="one outcome per call"):
        pipeline = Pipeline(
            "upstream",
            strategies=[breaker, retry],
            classify=classify_error,
            clock=clock,
            bus=bus,
        )

    assert await pipeline.execute(call, operation="chat") == "hello"
    assert breaker.snapshot().failures == 0
    assert lint_order([retry, breaker]) == []
    assert len(lint_order([retry, retry])) == 1


async def test_calls_can_be_read_off_their_events(
    make_pipeline: MakePipeline, answers: Answers, recorder: Recorder
) -> None:
    """
    The events of a call tell what it went through, in order.
    """
    pipeline = make_pipeline(**EVERYTHING)

    await pipeline.execute(answers(ConnectionResetError(), "hello"), operation="chat")

    kinds: list[type[Event]] = [type(event) for event in recorder.events]
    assert kinds == [
        AttemptStarted,
        AttemptEnded,
        RetryScheduled,
        AttemptStarted,
        AttemptEnded,
    ]
