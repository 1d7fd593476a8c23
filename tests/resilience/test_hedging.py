"""
Hedging: a second attempt beside a slow first one.
"""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from harness.clock import LoopClock
from harness.events import AttemptEnded, HedgeStarted
from harness.resilience import (
    Attempt,
    ConcurrencyBudgetOptions,
    HedgingOptions,
    Pipeline,
    RateLimiterOptions,
    RetryBudgetOptions,
    RetryOptions,
)
from harness.testing import Recorder

pytestmark = pytest.mark.virtual_time

MakePipeline = Callable[..., Pipeline]
Call = Callable[[Attempt], Awaitable[str]]


def call_of(
    clock: LoopClock, *durations_s: float, fails: frozenset[int] = frozenset()
) -> Call:
    """
    Make a call whose nth attempt takes so long, and fails if listed.
    """

    async def call(attempt: Attempt) -> str:
        await clock.sleep(durations_s[attempt.number - 1])
        if attempt.number in fails:
            raise ConnectionResetError(attempt.number)
        return f"attempt {attempt.number}"

    return call


@pytest.fixture
def make_warm(
    make_pipeline: MakePipeline, clock: LoopClock
) -> Callable[..., Awaitable[Pipeline]]:
    """
    Make a pipeline that hedges and has seen twenty calls of 0.1 s.
    """

    async def make(reserve_per_s: float = 1.0) -> Pipeline:
        pipeline = make_pipeline(
            hedging=HedgingOptions(),
            retry=RetryOptions(
                attempts_max=1,
                budget=RetryBudgetOptions(share=0, reserve_per_s=reserve_per_s),
            ),
        )
        for _ in range(20):
            await pipeline.execute(
                call_of(clock, 0.1), operation="embed", may_hedge=True
            )
        return pipeline

    return make


MakeWarm = Callable[..., Awaitable[Pipeline]]


async def test_second_attempt_wins_over_a_slow_first(
    make_warm: MakeWarm, clock: LoopClock, recorder: Recorder
) -> None:
    """
    A call that takes longer than most is made again, and the loser is gone at the end.
    """
    pipeline = await make_warm()
    started_s = clock.monotonic()
    recorder.envelopes.clear()

    result = await pipeline.execute(
        call_of(clock, 60, 0.1), operation="embed", may_hedge=True
    )

    assert result == "attempt 2"
    assert clock.monotonic() - started_s == pytest.approx(0.2)
    (hedge,) = recorder.of(HedgeStarted)
    assert hedge.attempt_number == 2
    assert hedge.delay_s == pytest.approx(0.1)
    assert [(e.attempt_number, e.outcome) for e in recorder.of(AttemptEnded)] == [
        (2, "success"),
        (1, "ignored"),
    ]


async def test_first_attempt_may_still_win(
    make_warm: MakeWarm, clock: LoopClock, recorder: Recorder
) -> None:
    """
    Whoever is first is taken, the other one is cancelled.
    """
    pipeline = await make_warm()

    result = await pipeline.execute(
        call_of(clock, 0.15, 60), operation="embed", may_hedge=True
    )

    assert result == "attempt 1"
    assert recorder.of(AttemptEnded)[-1].outcome == "ignored"


@pytest.mark.parametrize(
    ("fails", "expected"),
    [({1}, "attempt 2"), ({2}, "attempt 1")],
)
async def test_a_failure_waits_for_the_other(
    make_warm: MakeWarm, clock: LoopClock, fails: set[int], expected: str
) -> None:
    """
    One attempt that fails does not take the other one's chance.
    """
    pipeline = await make_warm()

    result = await pipeline.execute(
        call_of(clock, 0.3, 0.3, fails=frozenset(fails)),
        operation="embed",
        may_hedge=True,
    )

    assert result == expected


async def test_when_both_fail_the_first_error_leaves(
    make_warm: MakeWarm, clock: LoopClock
) -> None:
    """
    The error that leaves is a plain one, that of the first attempt.
    """
    pipeline = await make_warm()

    with pytest.raises(ConnectionResetError) as caught:
        await pipeline.execute(
            call_of(clock, 0.3, 0.1, fails=frozenset({1, 2})),
            operation="embed",
            may_hedge=True,
        )

    assert caught.value.args == (1,)


async def test_only_calls_that_allow_it_are_hedged(
    make_warm: MakeWarm, clock: LoopClock, recorder: Recorder
) -> None:
    """
    A call that may have side effects is never made twice at once.
    """
    pipeline = await make_warm()

    assert await pipeline.execute(call_of(clock, 5), operation="chat") == "attempt 1"
    assert recorder.of(HedgeStarted) == []


async def test_hedges_spend_from_the_budget(
    make_warm: MakeWarm, clock: LoopClock, recorder: Recorder
) -> None:
    """
    Without budget the first attempt is waited for.
    """
    pipeline = await make_warm(reserve_per_s=0)

    result = await pipeline.execute(
        call_of(clock, 5, 0.1), operation="embed", may_hedge=True
    )

    assert result == "attempt 1"
    assert recorder.of(HedgeStarted) == []


async def test_nothing_is_hedged_after_output_or_before_enough_is_known(
    make_warm: MakeWarm,
    make_pipeline: MakePipeline,
    clock: LoopClock,
    recorder: Recorder,
) -> None:
    """
    A call that answers already, or a destination that is not known yet, is not hedged.
    """

    async def streams(attempt: Attempt) -> str:
        attempt.commit()
        await clock.sleep(5)
        return "hello"

    fresh = make_pipeline(hedging=HedgingOptions())

    await (await make_warm()).execute(streams, operation="embed", may_hedge=True)
    await fresh.execute(call_of(clock, 5), operation="embed", may_hedge=True)

    assert recorder.of(HedgeStarted) == []


async def test_cancelling_the_call_cancels_both(
    make_warm: MakeWarm, clock: LoopClock, recorder: Recorder
) -> None:
    """
    A caller that goes away takes both attempts along.
    """
    pipeline = await make_warm()
    recorder.envelopes.clear()
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(
            pipeline.execute(call_of(clock, 60, 60), operation="embed", may_hedge=True)
        )
        await clock.sleep(1)
        task.cancel()

    assert task.cancelled()
    assert [event.outcome for event in recorder.of(AttemptEnded)] == ["ignored"] * 2
    assert pipeline.in_flight == 0


@pytest.mark.parametrize("durations_s", [(60, 0.1), (0.15, 60), (0.2, 0.2)])
async def test_a_hedge_that_is_over_takes_no_place(
    make_pipeline: MakePipeline,
    clock: LoopClock,
    recorder: Recorder,
    durations_s: tuple[float, float],
) -> None:
    """
    Where so many may be under way at once, the next call may hedge when one is over.
    """
    pipeline = make_pipeline(
        hedging=HedgingOptions(),
        retry=RetryOptions(
            attempts_max=1, budget=ConcurrencyBudgetOptions(share=0, retries_min=1)
        ),
    )
    for _ in range(20):
        await pipeline.execute(call_of(clock, 0.1), operation="embed", may_hedge=True)

    for _ in range(2):
        await pipeline.execute(
            call_of(clock, *durations_s), operation="embed", may_hedge=True
        )

    assert len(recorder.of(HedgeStarted)) == 2


async def test_a_hedge_under_way_takes_a_place(
    make_pipeline: MakePipeline, clock: LoopClock, recorder: Recorder
) -> None:
    """
    Of several calls at once no more hedge than may.
    """
    pipeline = make_pipeline(
        hedging=HedgingOptions(),
        retry=RetryOptions(
            attempts_max=1, budget=ConcurrencyBudgetOptions(share=0, retries_min=2)
        ),
    )
    for _ in range(20):
        await pipeline.execute(call_of(clock, 0.1), operation="embed", may_hedge=True)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(5):
            tasks.create_task(
                pipeline.execute(
                    call_of(clock, 0.5, 0.5), operation="embed", may_hedge=True
                )
            )

    assert len(recorder.of(HedgeStarted)) == 2


async def test_a_call_that_waits_for_our_own_permits_is_not_hedged(
    make_pipeline: MakePipeline, clock: LoopClock, recorder: Recorder
) -> None:
    """
    Waiting is not a slow peer, and a second attempt would wait behind the first.
    """
    pipeline = make_pipeline(
        hedging=HedgingOptions(),
        retry=RetryOptions(attempts_max=1, budget=None),
        rate_limiter=RateLimiterOptions(rate_per_s=1, burst=20),
    )
    for _ in range(20):
        await pipeline.execute(call_of(clock, 0.01), operation="embed", may_hedge=True)

    await pipeline.execute(call_of(clock, 0.01), operation="embed", may_hedge=True)

    assert recorder.of(HedgeStarted) == []
    assert recorder.of(AttemptEnded)[-1].attempt_number == 1


async def test_the_wait_for_permits_does_not_make_a_call_slow(
    make_pipeline: MakePipeline, clock: LoopClock, recorder: Recorder
) -> None:
    """
    The delay of a hedge counts from when the first attempt is made.
    """
    pipeline = make_pipeline(
        hedging=HedgingOptions(quantile=0.5),
        retry=RetryOptions(attempts_max=1, budget=None),
        rate_limiter=RateLimiterOptions(rate_per_s=20, burst=1),
    )
    for _ in range(20):
        await pipeline.execute(call_of(clock, 0.1), operation="embed", may_hedge=True)
    await clock.sleep(1)
    for duration_s, hedges in ((0.09, 0), (0.3, 1)):
        await pipeline.execute(call_of(clock, 0.0), operation="embed")
        started_s = clock.monotonic()

        # Behind the call before it waits 0.05 s for its turn.
        await pipeline.execute(
            call_of(clock, duration_s, 60), operation="embed", may_hedge=True
        )

        assert clock.monotonic() - started_s == pytest.approx(0.05 + duration_s)
        assert len(recorder.of(HedgeStarted)) == hedges


async def test_hedges_without_retries_have_a_budget_too(
    make_pipeline: MakePipeline, clock: LoopClock, recorder: Recorder
) -> None:
    """
    A peer that turns slow for good gets a fifth more calls, and not twice as many.
    """
    pipeline = make_pipeline(hedging=HedgingOptions(samples_max=1_000), retry=None)
    for _ in range(1_000):
        await pipeline.execute(call_of(clock, 0.01), operation="embed", may_hedge=True)
    await clock.sleep(10)

    async with asyncio.TaskGroup() as tasks:
        for _ in range(500):
            tasks.create_task(
                pipeline.execute(
                    call_of(clock, 5, 5), operation="embed", may_hedge=True
                )
            )

    # A fifth of the calls, and the reserve: three a second for ten seconds.
    assert len(recorder.of(HedgeStarted)) == 500 / 5 + 30
