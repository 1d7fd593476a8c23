"""
What holds of hedges, whatever the peer and the callers do.
"""

import asyncio
import contextlib
import random
from collections import Counter, defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.errors import HarnessError
from harness.events import (
    AttemptEnded,
    AttemptStarted,
    Envelope,
    HedgeStarted,
    trace_scope,
)
from harness.ids import IdMint
from harness.randomness import Randomness
from harness.resilience import (
    Attempt,
    BackoffOptions,
    BulkheadOptions,
    CircuitBreakerOptions,
    ConcurrencyBudget,
    ConcurrencyBudgetOptions,
    HedgingOptions,
    PipelineOptions,
    Pipelines,
    RateLimiterOptions,
    Retry,
    RetryOptions,
    classify_error,
)
from harness.testing import Recorder, SimLoop

CALLS = 120
FURTHER_MAX = 3

OPTIONS = PipelineOptions(
    total_timeout_s=20,
    attempt_timeout_s=4,
    retry=RetryOptions(
        backoff=BackoffOptions(base_s=0.1, max_s=1),
        budget=ConcurrencyBudgetOptions(share=0, retries_min=FURTHER_MAX),
    ),
    hedging=HedgingOptions(quantile=0.8, samples_min=5),
    circuit_breaker=CircuitBreakerOptions(failure_threshold=10, break_duration_s=1),
    bulkhead=BulkheadOptions(permits_max=12),
    rate_limiter=RateLimiterOptions(rate_per_s=15, burst=5),
)


async def storm(seed: int, recorder: Recorder, patient: set[str]) -> ConcurrencyBudget:
    """
    Call a peer that is slow and fails now and then, from callers that come and go.

    Args:
        seed: Decides everything.
        recorder: Is told what happens.
        patient: Gets the traces of calls that may not be hedged.
    """
    draws = random.Random(seed)  # noqa: S311 - a test's own chance
    clock = LoopClock(0.0)
    bus = EventBus(clock=clock)
    ids = IdMint(draws)
    pipeline = Pipelines(
        clock=clock,
        randomness=Randomness(seed),
        bus=bus,
        options_for=lambda _name: OPTIONS,
        classify=classify_error,
    ).for_destination("upstream")

    async def call(_attempt: Attempt) -> str:
        await clock.sleep(draws.choice([0.1, 0.1, 0.1, 0.2, 1, 30]))
        if draws.random() < 0.2:
            raise draws.choice([ConnectionResetError, ValueError])
        return "hello"

    async def caller(*, may_hedge: bool) -> None:
        trace_id = ids.trace_id()
        if not may_hedge:
            patient.add(trace_id)
        with (
            trace_scope(trace_id),
            contextlib.suppress(HarnessError, ConnectionResetError, ValueError),
        ):
            await pipeline.execute(call, operation="embed", may_hedge=may_hedge)

    with bus.listening(recorder.record):
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CALLS):
                task = tasks.create_task(caller(may_hedge=draws.random() < 0.8))
                if draws.random() < 0.2:
                    asyncio.get_running_loop().call_later(
                        draws.choice([0, 0.1, 0.15, 1]), task.cancel
                    )
                await clock.sleep(draws.choice([0, 0.05, 0.1, 0.5]))
    assert pipeline.in_flight == 0
    [budget] = [
        strategy._budget
        for strategy in pipeline.strategies
        if isinstance(strategy, Retry)
    ]
    assert isinstance(budget, ConcurrencyBudget)
    return budget


def attempts_are_told_apart(envelopes: list[Envelope]) -> None:
    """
    The attempts of a call are numbered from one without gaps, and each ends once.
    """
    started, ended = defaultdict(list), defaultdict(list)
    for envelope in envelopes:
        match envelope.event:
            case AttemptStarted(attempt_number=number):
                started[envelope.trace_id].append(number)
            case AttemptEnded(attempt_number=number):
                ended[envelope.trace_id].append(number)
    for trace_id, numbers in started.items():
        assert numbers == list(range(1, len(numbers) + 1))
        assert sorted(ended[trace_id]) == numbers


def hedges_stand_beside_one(envelopes: list[Envelope], patient: set[str]) -> int:
    """
    A hedge begins beside one attempt; two at once are the most; return how many began.
    """
    under_way: Counter[str | None] = Counter()
    hedges = 0
    for envelope in envelopes:
        match envelope.event:
            case HedgeStarted():
                hedges += 1
                assert under_way[envelope.trace_id] == 1
            case AttemptStarted():
                under_way[envelope.trace_id] += 1
                most = 1 if envelope.trace_id in patient else 2
                assert under_way[envelope.trace_id] <= most
            case AttemptEnded():
                under_way[envelope.trace_id] -= 1
    assert under_way.total() == 0
    return hedges


@given(seed=st.integers(0, 2**32))
@settings(max_examples=30, deadline=None)
def test_hedges_keep_their_place_in_any_storm(seed: int) -> None:
    """
    Numbers are unique, a hedge has company, and the budget gets back what it lent.
    """
    recorder, patient = Recorder(), set[str]()
    with asyncio.Runner(loop_factory=lambda: SimLoop(seed=seed)) as runner:
        budget = runner.run(storm(seed, recorder, patient))

    attempts_are_told_apart(recorder.envelopes)
    assert hedges_stand_beside_one(recorder.envelopes, patient) > 0
    assert (budget.active, budget.retrying) == (0, 0)
