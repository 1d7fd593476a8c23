"""
What holds of a whole pipeline, whatever the peer, the callers and the operator do.
"""

import asyncio
import contextlib
import random
from collections import Counter, defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.errors import HarnessError, UpstreamStatusError
from harness.events import (
    AttemptEnded,
    AttemptStarted,
    CircuitChanged,
    Envelope,
    trace_scope,
)
from harness.ids import IdMint
from harness.randomness import Randomness
from harness.resilience import (
    Attempt,
    BackoffOptions,
    BulkheadOptions,
    CircuitBreaker,
    CircuitBreakerOptions,
    Classified,
    Pipeline,
    PipelineOptions,
    Pipelines,
    RateLimiterOptions,
    RetryBudgetOptions,
    RetryOptions,
    classify_error,
    classify_status,
)
from harness.testing import Recorder, SimLoop

CALLS = 150
ATTEMPTS_MAX, PROBES_MAX, BREAK_S, RATE, BURST = 4, 2, 3.0, 20.0, 5.0
AT_ONCE_MAX = 8

OPTIONS = PipelineOptions(
    total_timeout_s=20,
    attempt_timeout_s=4,
    retry=RetryOptions(
        attempts_max=ATTEMPTS_MAX,
        backoff=BackoffOptions(base_s=0.2, max_s=2),
        budget=RetryBudgetOptions(share=0.5),
    ),
    circuit_breaker=CircuitBreakerOptions(
        failure_threshold=3,
        break_duration_s=BREAK_S,
        probes_max=PROBES_MAX,
        honours_retry_after=False,
    ),
    bulkhead=BulkheadOptions(permits_max=AT_ONCE_MAX),
    rate_limiter=RateLimiterOptions(rate_per_s=RATE, burst=BURST),
)


def classify(error: BaseException | None) -> Classified:
    """
    Read statuses from errors.
    """
    if isinstance(error, UpstreamStatusError):
        return classify_status(error.status, retry_after_s=error.retry_after_s)
    return classify_error(error)


class LeapingClock(LoopClock):
    """
    The clock of a machine that sleeps now and then, and whose wall clock is set.
    """

    offset_s = 0.0

    def wall(self) -> float:
        """
        Return what somebody made of the time.
        """
        return super().wall() + self.offset_s

    async def leap(self, draws: random.Random) -> None:
        """
        Go on later: timers are overdue then, all at once.
        """
        for _ in range(5):
            # Who was let out goes first: a call is judged by when it starts.
            await self.sleep(0)
        loop = asyncio.get_running_loop()
        assert isinstance(loop, SimLoop)
        loop._now_s += draws.choice([0.5, BREAK_S, 25.0])
        self.offset_s += draws.choice([-3600.0, 0.0, 3600.0])


def change_rules(pipeline: Pipeline, draws: random.Random) -> None:
    """
    Let the circuit go on by other rules.
    """
    for strategy in pipeline.strategies:
        if isinstance(strategy, CircuitBreaker):
            strategy.change(
                CircuitBreakerOptions(
                    failure_threshold=draws.choice([1, 3, 10]),
                    break_duration_s=draws.choice([0.5, BREAK_S]),
                    probes_max=PROBES_MAX,
                    honours_retry_after=False,
                    auto_half_open=draws.choice([True, False]),
                )
            )


async def storm(seed: int, recorder: Recorder) -> Pipelines:
    """
    Call a peer that comes and goes, from callers that come and go.
    """
    draws = random.Random(seed)  # noqa: S311 - a test's own chance
    clock = LeapingClock(0.0)
    bus = EventBus(clock=clock)
    ids = IdMint(draws)
    pipelines = Pipelines(
        clock=clock,
        randomness=Randomness(seed),
        bus=bus,
        options_for=lambda _name: OPTIONS,
        classify=classify,
    )
    pipeline = pipelines.for_destination("upstream")
    illness = draws.choice([0.05, 0.3, 0.6])

    async def call(attempt: Attempt) -> str:
        await clock.sleep(draws.choice([0, 0.01, 0.2, 1, 30]))
        if draws.random() < 0.1:
            attempt.commit()
        if (clock.monotonic() // 7) % 2 and draws.random() < illness:
            status = draws.choice([404, 429, 500, 503])
            asked_s = draws.choice([None, 0.5, 2.0, 500.0])
            raise UpstreamStatusError(status=status, retry_after_s=asked_s)
        return "hello"

    async def caller() -> None:
        with trace_scope(ids.trace_id()), contextlib.suppress(HarnessError):
            await pipeline.execute(call, operation="chat")

    with bus.listening(recorder.record):
        async with asyncio.TaskGroup() as tasks:
            for _ in range(CALLS):
                task = tasks.create_task(caller())
                if draws.random() < 0.2:
                    asyncio.get_running_loop().call_later(
                        draws.choice([0, 0.1, 1, 5]), task.cancel
                    )
                if draws.random() < 0.02:
                    draws.choice(
                        [
                            pipelines.circuit("upstream").isolate,
                            pipelines.circuit("upstream").reset,
                        ]
                    )()
                if draws.random() < 0.02:
                    change_rules(pipeline, draws)
                if draws.random() < 0.02:
                    await clock.leap(draws)
                await clock.sleep(draws.choice([0, 0, 0.1, 0.5]))
            await clock.sleep(30)
            pipelines.circuit("upstream").reset()
    assert pipeline.in_flight == 0
    return pipelines


def attempts_are_in_order(envelopes: list[Envelope]) -> None:
    """
    Each call's attempts count from one, end before the next, and are bounded.
    """
    by_call = defaultdict(list)
    for envelope in envelopes:
        if isinstance(envelope.event, AttemptStarted | AttemptEnded):
            by_call[envelope.trace_id].append(envelope.event)
    for events in by_call.values():
        assert len(events) <= 2 * ATTEMPTS_MAX
        for number, (started, ended) in enumerate(
            zip(events[::2], events[1::2], strict=True), 1
        ):
            assert isinstance(started, AttemptStarted)
            assert isinstance(ended, AttemptEnded)
            assert started.attempt_number == ended.attempt_number == number


def circuit_is_respected(envelopes: list[Envelope]) -> None:
    """
    Nothing starts while the circuit refuses, and few at once while it probes.
    """
    state, probes, era = "closed", Counter[int](), 0
    started_in: dict[tuple[object, int], int] = {}
    for envelope in envelopes:
        match envelope.event:
            case CircuitChanged(to_state=to_state):
                state, era = to_state, era + 1
            case AttemptStarted(attempt_number=number):
                assert state in {"closed", "half_open"}
                started_in[envelope.trace_id, number] = era
                probes[era] += 1
                assert state == "closed" or probes[era] <= PROBES_MAX
            case AttemptEnded(attempt_number=number):
                probes[started_in[envelope.trace_id, number]] -= 1


def limits_are_kept(envelopes: list[Envelope]) -> None:
    """
    Neither rate nor concurrency exceeds its limit at any time.
    """
    starts = [e.time_s for e in envelopes if isinstance(e.event, AttemptStarted)]
    for first, start_s in enumerate(starts):
        for last in range(first, len(starts)):
            allowed = BURST + RATE * (starts[last] - start_s)
            assert last - first + 1 <= allowed + 1e-3
    under_way = 0
    for envelope in envelopes:
        under_way += isinstance(envelope.event, AttemptStarted)
        under_way -= isinstance(envelope.event, AttemptEnded)
        assert under_way <= AT_ONCE_MAX


@given(seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_invariants_hold_in_any_storm(seed: int) -> None:
    """
    Attempts are in order, circuits respected, limits kept, and nothing is left over.

    Callers leave, the operator interferes, rules change, the machine falls asleep, and
    the wall clock is set.
    """
    recorder = Recorder()
    with asyncio.Runner(loop_factory=lambda: SimLoop(seed=seed)) as runner:
        pipelines = runner.run(storm(seed, recorder))

    attempts_are_in_order(recorder.envelopes)
    circuit_is_respected(recorder.envelopes)
    limits_are_kept(recorder.envelopes)
    (circuit,) = pipelines.circuits()
    assert circuit.probes == 0


def test_same_seed_gives_the_same_events() -> None:
    """
    A storm from one seed is the same storm each time, event by event.
    """
    recorders = [Recorder(), Recorder()]
    for recorder in recorders:
        with asyncio.Runner(loop_factory=lambda: SimLoop(seed=7)) as runner:
            runner.run(storm(7, recorder))

    assert recorders[0].envelopes == recorders[1].envelopes
    assert len(recorders[0].envelopes) > CALLS
