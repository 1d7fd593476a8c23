"""
Retries: whether, when, and why not.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.errors import (
    CircuitOpenError,
    DeadlineExceededError,
    UpstreamStatusError,
    UsageError,
)
from harness.events import AttemptStarted, RetryGaveUp, RetryScheduled
from harness.randomness import Randomness
from harness.resilience import (
    Attempt,
    BackoffOptions,
    CircuitBreaker,
    CircuitBreakerOptions,
    Classified,
    ConcurrencyBudgetOptions,
    Deadline,
    GiveUp,
    Handler,
    Jitter,
    Outcome,
    Pipeline,
    PipelineOptions,
    Pipelines,
    RetryBudgetOptions,
    RetryIn,
    RetryOptions,
    StrategyKind,
    ThrottleBudgetOptions,
    classify_error,
    classify_status,
    next_step,
)
from harness.testing import Recorder

pytestmark = pytest.mark.virtual_time

MakePipeline = Callable[..., Pipeline]
Call = Callable[[Attempt], Awaitable[str]]
Answers = Callable[..., Call]

PLAIN = RetryOptions(
    backoff=BackoffOptions(base_s=1, max_s=8, jitter=Jitter.NONE),
    retry_after_jitter_share=0,
    budget=None,
)


def classify(error: BaseException | None) -> Classified:
    """
    Read statuses from errors.
    """
    if isinstance(error, UpstreamStatusError):
        return classify_status(error.status, retry_after_s=error.retry_after_s)
    return classify_error(error)


def status(code: int, retry_after_s: float | None = None) -> UpstreamStatusError:
    """
    Make the error of an answer.
    """
    return UpstreamStatusError(status=code, retry_after_s=retry_after_s)


def reasons(recorder: Recorder) -> list[str]:
    """
    Return why calls were given up.
    """
    return [event.reason for event in recorder.of(RetryGaveUp)]


async def test_retries_until_it_succeeds(
    make_pipeline: MakePipeline, answers: Answers, clock: LoopClock, recorder: Recorder
) -> None:
    """
    Failed attempts are followed by others, with growing delays, until one succeeds.
    """
    pipeline = make_pipeline(retry=PLAIN, classify=classify)
    started_s = clock.monotonic()

    result = await pipeline.execute(
        answers(status(503), ConnectionResetError(), "hello"), operation="chat"
    )

    assert result == "hello"
    assert clock.monotonic() - started_s == pytest.approx(3)
    assert [
        (e.attempt_number, e.delay_s, e.reason) for e in recorder.of(RetryScheduled)
    ] == [
        (1, 1, "status_503"),
        (2, 2, "connection"),
    ]
    assert reasons(recorder) == []


async def test_attempts_are_bounded(
    make_pipeline: MakePipeline, answers: Answers, recorder: Recorder
) -> None:
    """
    After the last attempt its error leaves, and the event says why there is no other.
    """
    pipeline = make_pipeline(retry=PLAIN, classify=classify)

    with pytest.raises(UpstreamStatusError) as caught:
        await pipeline.execute(
            answers(status(500), status(502), status(503)), operation="chat"
        )

    assert caught.value.status == 503
    assert caught.value.__cause__ is None
    assert [e.attempt_number for e in recorder.of(AttemptStarted)] == [1, 2, 3]
    assert reasons(recorder) == ["attempts_max"]


@pytest.mark.parametrize("code", [400, 401, 403, 404, 422, 501, 505])
async def test_permanent_errors_are_asked_once(
    make_pipeline: MakePipeline, answers: Answers, recorder: Recorder, code: int
) -> None:
    """
    What cannot succeed is not tried again.
    """
    pipeline = make_pipeline(retry=PLAIN, classify=classify)

    with pytest.raises(UpstreamStatusError):
        await pipeline.execute(answers(status(code)), operation="chat")

    assert len(recorder.of(AttemptStarted)) == 1
    assert reasons(recorder) == ["permanent"]


async def test_nothing_is_retried_once_output_reached_the_caller(
    make_pipeline: MakePipeline, recorder: Recorder
) -> None:
    """
    After a commit a broken stream is not started again.
    """
    pipeline = make_pipeline(retry=PLAIN)

    async def call(attempt: Attempt) -> str:
        attempt.commit()
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await pipeline.execute(call, operation="chat")

    assert len(recorder.of(AttemptStarted)) == 1
    assert reasons(recorder) == ["committed"]


async def test_all_attempts_carry_one_idempotency_key(
    make_pipeline: MakePipeline,
) -> None:
    """
    The key is the same on every attempt of a call, and differs between calls.
    """
    pipeline = make_pipeline(retry=PLAIN)
    keys: list[str] = []

    async def call(attempt: Attempt) -> str:
        keys.append(attempt.idempotency_key)
        if attempt.number < 3:
            raise ConnectionResetError
        return "hello"

    await pipeline.execute(call, operation="chat")
    await pipeline.execute(call, operation="chat")
    await pipeline.execute(call, operation="chat", idempotency_key="mine")

    assert keys[0] == keys[1] == keys[2] != keys[3]
    assert keys[3] == keys[4] == keys[5]
    assert keys[6:] == ["mine"] * 3


async def test_waits_as_long_as_asked_and_a_little_longer(
    make_pipeline: MakePipeline, answers: Answers, recorder: Recorder
) -> None:
    """
    No attempt comes before ``Retry-After`` allows, and many do not come together.
    """
    pipeline = make_pipeline(
        retry=RetryOptions(budget=None, retry_after_jitter_share=0.1), classify=classify
    )

    for _ in range(50):
        await pipeline.execute(answers(status(429, 20), "hello"), operation="chat")

    delays = [event.delay_s for event in recorder.of(RetryScheduled)]
    assert min(delays) >= 20
    assert max(delays) <= 21
    assert len(set(delays)) == 50
    assert {event.asked_s for event in recorder.of(RetryScheduled)} == {20}


async def test_backoff_counts_when_it_is_longer_than_asked(
    make_pipeline: MakePipeline, answers: Answers, recorder: Recorder
) -> None:
    """
    The wait is the larger of the backoff and what was asked for.
    """
    pipeline = make_pipeline(retry=PLAIN, classify=classify)

    await pipeline.execute(answers(status(503, 0.2), "hello"), operation="chat")

    assert [event.delay_s for event in recorder.of(RetryScheduled)] == [1]


@pytest.mark.parametrize(
    ("asked_s", "reason"), [(1800, "retry_after_max"), (60, "deadline")]
)
async def test_too_long_a_wait_fails_at_once(
    make_pipeline: MakePipeline,
    answers: Answers,
    clock: LoopClock,
    recorder: Recorder,
    asked_s: float,
    reason: str,
) -> None:
    """
    A wait that does not fit is not slept through; the error says what was asked.
    """
    pipeline = make_pipeline(retry=PLAIN, classify=classify, total_timeout_s=50)
    started_s = clock.monotonic()

    with pytest.raises(UpstreamStatusError) as caught:
        await pipeline.execute(answers(status(429, asked_s)), operation="chat")

    assert clock.monotonic() == started_s
    assert caught.value.retry_after_s == asked_s
    assert reasons(recorder) == [reason]


async def test_backoff_that_does_not_fit_the_deadline_fails_at_once(
    make_pipeline: MakePipeline, answers: Answers, clock: LoopClock, recorder: Recorder
) -> None:
    """
    A call does not sleep until its deadline to fail then.
    """
    pipeline = make_pipeline(retry=PLAIN)
    started_s = clock.monotonic()

    with pytest.raises(ConnectionResetError):
        await pipeline.execute(
            answers(ConnectionResetError()),
            operation="chat",
            deadline=Deadline.after(clock, 2.5),
        )

    assert clock.monotonic() - started_s == pytest.approx(1)
    assert reasons(recorder) == ["deadline"]


async def test_budget_is_shared_by_all_calls(
    make_pipeline: MakePipeline, answers: Answers, recorder: Recorder
) -> None:
    """
    When everything fails, retries are a share of the calls and not a multiple.
    """
    retry = RetryOptions(
        backoff=BackoffOptions(base_s=0),
        budget=RetryBudgetOptions(share=0.2, reserve_per_s=0),
    )
    pipeline = make_pipeline(retry=retry)

    for _ in range(100):
        with pytest.raises(ConnectionResetError):
            await pipeline.execute(answers(ConnectionResetError()), operation="chat")

    assert len(recorder.of(AttemptStarted)) == 120
    assert reasons(recorder).count("budget") >= 80


async def test_open_circuit_is_not_retried(
    make_pipeline: MakePipeline, answers: Answers, recorder: Recorder, clock: LoopClock
) -> None:
    """
    Retries stop when the circuit opens, without waiting and with the peer's error.
    """
    pipeline = make_pipeline(
        retry=PLAIN, circuit_breaker=CircuitBreakerOptions(failure_threshold=2)
    )
    started_s = clock.monotonic()

    with pytest.raises(ConnectionResetError):
        await pipeline.execute(answers(ConnectionResetError()), operation="chat")
    with pytest.raises(CircuitOpenError):
        await pipeline.execute(answers("hello"), operation="chat")

    assert clock.monotonic() - started_s == pytest.approx(1)
    assert len(recorder.of(AttemptStarted)) == 2
    assert reasons(recorder) == ["circuit_open"]


@pytest.mark.parametrize(("deadline_s", "fits"), [(60.0, True), (20.0, False)])
async def test_may_wait_once_for_an_open_circuit(
    make_pipeline: MakePipeline,
    answers: Answers,
    clock: LoopClock,
    deadline_s: float,
    *,
    fits: bool,
) -> None:
    """
    If asked to, a call waits out the break when that fits its deadline.
    """
    pipeline = make_pipeline(
        retry=RetryOptions(waits_for_circuit=True, attempts_max=1, budget=None),
        circuit_breaker=CircuitBreakerOptions(failure_threshold=1),
    )
    with pytest.raises(ConnectionResetError):
        await pipeline.execute(answers(ConnectionResetError()), operation="chat")
    started_s = clock.monotonic()

    call = pipeline.execute(
        answers("hello"), operation="chat", deadline=Deadline.after(clock, deadline_s)
    )

    if fits:
        assert await call == "hello"
        assert clock.monotonic() - started_s == pytest.approx(30)
    else:
        with pytest.raises(CircuitOpenError):
            await call
        assert clock.monotonic() == started_s


async def test_waits_for_a_circuit_only_once(
    make_pipeline: MakePipeline, answers: Answers, clock: LoopClock
) -> None:
    """
    A circuit that is open again after the wait ends the call.
    """
    pipeline = make_pipeline(
        retry=RetryOptions(waits_for_circuit=True, attempts_max=1, budget=None),
        circuit_breaker=CircuitBreakerOptions(failure_threshold=1, probes_max=1),
    )
    (_retry, breaker) = pipeline.strategies
    assert isinstance(breaker, CircuitBreaker)
    breaker.open()
    started_s = clock.monotonic()
    asyncio.get_running_loop().call_later(29, breaker.close)
    asyncio.get_running_loop().call_later(29, breaker.open)

    with pytest.raises(CircuitOpenError) as caught:
        await pipeline.execute(answers("hello"), operation="chat")

    assert clock.monotonic() - started_s == pytest.approx(30)
    assert caught.value.__cause__ is None


async def test_jitter_never_misses_the_deadline(
    make_pipeline: MakePipeline, answers: Answers, clock: LoopClock
) -> None:
    """
    A wait that fits without its jitter fits with it.
    """
    pipeline = make_pipeline(
        retry=RetryOptions(budget=None, retry_after_jitter_share=1), classify=classify
    )

    for _ in range(50):
        result = await pipeline.execute(
            answers(status(503, 20), "hello"),
            operation="chat",
            deadline=Deadline.after(clock, 20.01),
        )
        assert result == "hello"


@pytest.mark.parametrize(("code", "retried"), [(503, 0), (404, 1)])
async def test_throttle_is_told_how_attempts_end(
    make_pipeline: MakePipeline,
    answers: Answers,
    recorder: Recorder,
    code: int,
    retried: int,
) -> None:
    """
    Transient failures close the throttle, successes open it, other 4xx do neither.
    """
    pipeline = make_pipeline(
        retry=RetryOptions(attempts_max=2, budget=ThrottleBudgetOptions()),
        classify=classify,
    )
    for _ in range(10):
        with pytest.raises(UpstreamStatusError):
            await pipeline.execute(answers(status(code)), operation="chat")
    recorder.envelopes.clear()

    with contextlib.suppress(UpstreamStatusError):
        await pipeline.execute(answers(status(503), "hello"), operation="chat")

    assert len(recorder.of(RetryScheduled)) == retried
    for _ in range(100):
        await pipeline.execute(answers("hello"), operation="chat")
    assert (
        await pipeline.execute(answers(status(503), "hello"), operation="chat")
        == "hello"
    )


async def test_concurrent_retries_come_back_to_their_budget(
    make_pipeline: MakePipeline, clock: LoopClock, recorder: Recorder
) -> None:
    """
    Calls that ended, however they did, leave room for the retries of others.
    """
    pipeline = make_pipeline(
        retry=RetryOptions(
            budget=ConcurrencyBudgetOptions(share=0.5, retries_min=0),
            backoff=BackoffOptions(base_s=1, jitter=Jitter.NONE),
            attempts_max=2,
        )
    )

    async def call(attempt: Attempt) -> str:
        del attempt
        await clock.sleep(0.1)
        raise ConnectionResetError

    async def try_one() -> None:
        with contextlib.suppress(ConnectionResetError):
            await pipeline.execute(call, operation="chat")

    async def succeed(attempt: Attempt) -> str:
        del attempt
        return "hello"

    for _ in range(5):
        for _call in range(100):
            await pipeline.execute(succeed, operation="chat")
        recorder.envelopes.clear()
        async with asyncio.TaskGroup() as tasks:
            for _call in range(10):
                tasks.create_task(try_one())
        assert len(recorder.of(RetryScheduled)) == 5


async def test_time_that_runs_out_between_attempts_is_told_as_such(
    make_pipeline: MakePipeline,
    bus: EventBus,
    clock: LoopClock,
    recorder: Recorder,
    answers: Answers,
) -> None:
    """
    A later attempt that is refused for the deadline gives that as the reason.
    """

    class Late:
        kind = StrategyKind.RATE_LIMITER

        async def execute(self, inner: Handler, attempt: Attempt) -> object:
            if attempt.number > 1:
                raise DeadlineExceededError(deadline_in_s=0)
            return await inner(attempt)

    (retry,) = make_pipeline(retry=PLAIN).strategies
    pipeline = Pipeline(
        "upstream",
        strategies=[retry, Late()],
        classify=classify_error,
        clock=clock,
        bus=bus,
    )

    with pytest.raises(DeadlineExceededError) as caught:
        await pipeline.execute(answers(ConnectionResetError()), operation="chat")

    assert isinstance(caught.value.__cause__, ConnectionResetError)
    assert reasons(recorder) == ["deadline"]


async def test_rejection_after_a_failure_names_the_failure(
    make_pipeline: MakePipeline, clock: LoopClock, recorder: Recorder
) -> None:
    """
    Who meets an open circuit on a retry sees it, with the earlier error as cause.
    """
    pipeline = make_pipeline(
        retry=PLAIN, circuit_breaker=CircuitBreakerOptions(failure_threshold=2)
    )

    async def fails(attempt: Attempt) -> str:
        del attempt
        raise ConnectionResetError

    async def fails_slowly(attempt: Attempt) -> str:
        await clock.sleep(0.5)
        return await fails(attempt)

    async with asyncio.TaskGroup() as tasks:
        quick = tasks.create_task(_caught(pipeline, fails))
        tasks.create_task(_caught(pipeline, fails_slowly))

    error = quick.result()
    assert isinstance(error, CircuitOpenError)
    assert isinstance(error.__cause__, ConnectionResetError)
    assert "rejected" in reasons(recorder)


async def _caught(pipeline: Pipeline, call: Call) -> Exception | None:
    try:
        await pipeline.execute(call, operation="chat")
    except Exception as error:  # noqa: BLE001 - the error is what is looked at
        return error
    return None


async def test_cancelled_call_is_not_retried(
    make_pipeline: MakePipeline, hang: Call, clock: LoopClock, recorder: Recorder
) -> None:
    """
    A caller that goes away ends the call, in an attempt as well as between two.
    """
    pipeline = make_pipeline(retry=PLAIN)

    async def fails(attempt: Attempt) -> str:
        del attempt
        raise ConnectionResetError

    for call in (hang, fails):
        async with asyncio.TaskGroup() as tasks:
            task = tasks.create_task(pipeline.execute(call, operation="chat"))
            await clock.sleep(0.5)
            task.cancel()
        assert task.cancelled()

    assert len(recorder.of(AttemptStarted)) == 2
    assert reasons(recorder) == []


async def test_local_mistakes_are_not_retried(
    make_pipeline: MakePipeline, answers: Answers, recorder: Recorder
) -> None:
    """
    What the caller did wrong is not repeated.
    """
    pipeline = make_pipeline(retry=PLAIN)

    with pytest.raises(UsageError):
        await pipeline.execute(answers(UsageError("mine")), operation="chat")

    assert reasons(recorder) == ["permanent"]


async def test_backoff_of_one_call_knows_nothing_of_another(
    make_pipeline: MakePipeline, answers: Answers, recorder: Recorder
) -> None:
    """
    Concurrent calls of one pipeline each start with the first delay.
    """
    pipeline = make_pipeline(retry=PLAIN)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(5):
            tasks.create_task(
                pipeline.execute(
                    answers(ConnectionResetError(), "hi"), operation="chat"
                )
            )

    assert {event.delay_s for event in recorder.of(RetryScheduled)} == {1}


async def test_deadline_that_passes_in_an_attempt_is_told_as_such(
    make_pipeline: MakePipeline, hang: Call, clock: LoopClock, recorder: Recorder
) -> None:
    """
    When the time for the call runs out, the error says so and not that a peer failed.
    """
    pipeline = make_pipeline(retry=PLAIN, total_timeout_s=5, attempt_timeout_s=3)
    started_s = clock.monotonic()

    with pytest.raises(DeadlineExceededError):
        await pipeline.execute(hang, operation="chat")

    assert clock.monotonic() - started_s == pytest.approx(5)
    assert len(recorder.of(AttemptStarted)) == 2
    assert reasons(recorder) == ["deadline"]


FAILED = Classified(outcome=Outcome.FAILURE, reason="status_503", retryable=True)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, RetryIn(delay_s=1, reason="status_503")),
        ({"remaining_s": 1.01}, RetryIn(delay_s=1, reason="status_503")),
        ({"remaining_s": 1.0}, GiveUp(reason="deadline")),
        ({"attempt_number": 3}, GiveUp(reason="attempts_max")),
        ({"committed": True, "attempt_number": 3}, GiveUp(reason="committed")),
        ({"blocked_s": 5.0}, GiveUp(reason="circuit_open")),
        ({"blocked_s": 1.0}, RetryIn(delay_s=1, reason="status_503")),
        ({"blocked_s": 0.5}, RetryIn(delay_s=1, reason="status_503")),
    ],
)
def test_decides_from_values_alone(
    changes: dict[str, Any], expected: RetryIn | GiveUp
) -> None:
    """
    What follows an attempt is a function of what is known about it.
    """
    known: dict[str, Any] = {
        "attempt_number": 1,
        "committed": False,
        "backoff_s": 1.0,
        "blocked_s": None,
        "remaining_s": None,
    }

    step = next_step(
        FAILED,
        options=PLAIN,
        draws=random.Random(0),  # noqa: S311 - the options ask for no jitter
        **{**known, **changes},
    )

    assert step == expected


async def test_same_seed_gives_the_same_delays(
    bus: EventBus, clock: LoopClock, recorder: Recorder, answers: Answers
) -> None:
    """
    Jitter comes from the seed.
    """
    for _ in range(2):
        pipelines = Pipelines(
            clock=clock,
            randomness=Randomness(7),
            bus=bus,
            options_for=lambda _name: PipelineOptions(),
            classify=classify_error,
        )
        with pytest.raises(ConnectionResetError):
            await pipelines.for_destination("upstream").execute(
                answers(ConnectionResetError()), operation="chat"
            )

    delays = [event.delay_s for event in recorder.of(RetryScheduled)]
    assert delays[:2] == delays[2:]
    assert delays[0] != delays[1]
