"""
The adaptive limiter: concurrency as the controlled figure.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.errors import UpstreamStatusError
from harness.events import ConcurrencyLimitChanged
from harness.resilience import (
    AdaptiveLimiter,
    AdaptiveLimiterOptions,
    AimdRule,
    Attempt,
    Classified,
    Gradient2Rule,
    LimitRange,
    LimitRule,
    LimitSample,
    LimitStrategy,
    Pipeline,
    VegasRule,
    classify_error,
    classify_status,
)
from harness.testing import Recorder

pytestmark = pytest.mark.virtual_time

MakeAdaptive = Callable[..., AdaptiveLimiter]
MakePipeline = Callable[..., Pipeline]
Call = Callable[[Attempt], Awaitable[str]]

STRATEGIES = list(LimitStrategy)


@pytest.fixture
def make_adaptive(clock: LoopClock, bus: EventBus) -> MakeAdaptive:
    """
    Make an adaptive limiter with the given options.
    """

    def make(**settings: Any) -> AdaptiveLimiter:
        return AdaptiveLimiter(
            "upstream", options=AdaptiveLimiterOptions(**settings), clock=clock, bus=bus
        )

    return make


def classify(error: BaseException | None) -> Classified:
    """
    Read statuses from errors.
    """
    if isinstance(error, UpstreamStatusError):
        return classify_status(error.status)
    return classify_error(error)


async def feed(
    limiter: AdaptiveLimiter,
    clock: LoopClock,
    *,
    windows: int,
    latency_s: float,
    in_flight: int | None = None,
    dropped: bool = False,
) -> None:
    """
    Record whole windows of equal samples.
    """
    for _ in range(windows):
        busy = limiter.limit if in_flight is None else in_flight
        for _sample in range(11):
            await clock.sleep(0.1)
            limiter.record_latency(latency_s, in_flight=busy, dropped=dropped)


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_grows_while_it_goes_well_and_within_its_range(
    make_adaptive: MakeAdaptive, clock: LoopClock, strategy: LimitStrategy
) -> None:
    """
    With a steady latency and full use the limit rises to twice its base, no further.
    """
    limiter = make_adaptive(strategy=strategy)

    await feed(limiter, clock, windows=330, latency_s=0.1)

    assert limiter.limit == 200
    assert limiter.rate_per_s == pytest.approx(2000)


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_does_not_grow_unless_it_is_used(
    make_adaptive: MakeAdaptive, clock: LoopClock, strategy: LimitStrategy
) -> None:
    """
    A limit that is not half in use is not known to be too low.
    """
    limiter = make_adaptive(strategy=strategy)

    await feed(limiter, clock, windows=50, latency_s=0.1, in_flight=10)

    assert limiter.limit == 100


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_shrinks_when_calls_are_dropped(
    make_adaptive: MakeAdaptive,
    clock: LoopClock,
    strategy: LimitStrategy,
    recorder: Recorder,
) -> None:
    """
    Backpressure makes the limit smaller, with its reason, but not below a tenth.
    """
    limiter = make_adaptive(strategy=strategy)
    await feed(limiter, clock, windows=3, latency_s=0.1)
    recorder.envelopes.clear()
    before = limiter.limit

    await feed(limiter, clock, windows=400, latency_s=0.1, dropped=True)

    assert limiter.limit == 10
    changes = recorder.of(ConcurrencyLimitChanged)
    assert {change.reason for change in changes} == {"dropped"}
    assert changes[0].from_limit == before
    assert all(
        later.from_limit == earlier.to_limit
        for earlier, later in itertools.pairwise(changes)
    )


@pytest.mark.parametrize("strategy", [LimitStrategy.VEGAS, LimitStrategy.GRADIENT2])
async def test_shrinks_when_calls_get_slower(
    make_adaptive: MakeAdaptive, clock: LoopClock, strategy: LimitStrategy
) -> None:
    """
    A latency that rises under load tells of a queue.
    """
    limiter = make_adaptive(strategy=strategy)
    await feed(limiter, clock, windows=5, latency_s=0.1)
    before = limiter.limit

    await feed(limiter, clock, windows=3, latency_s=1.0)

    assert limiter.limit < before


async def test_a_window_needs_time_and_samples(
    make_adaptive: MakeAdaptive, clock: LoopClock
) -> None:
    """
    Neither many samples at once nor few over a long time move the limit.
    """
    limiter = make_adaptive(strategy=LimitStrategy.AIMD)
    for _ in range(1000):
        limiter.record_latency(0.1, in_flight=100, dropped=True)
    assert limiter.limit == 100

    sparse = make_adaptive(strategy=LimitStrategy.AIMD)
    for _ in range(9):
        await clock.sleep(10)
        sparse.record_latency(0.1, in_flight=100, dropped=True)
    assert sparse.limit == 100


async def test_calls_in_a_pipeline_are_the_samples(
    make_pipeline: MakePipeline, clock: LoopClock, recorder: Recorder
) -> None:
    """
    429 shrinks the limit, calls that are cancelled or wrong do not count.
    """
    pipeline = make_pipeline(
        adaptive_limiter=AdaptiveLimiterOptions(strategy=LimitStrategy.AIMD, base=20),
        classify=classify,
    )
    (limiter,) = pipeline.strategies
    assert isinstance(limiter, AdaptiveLimiter)

    async def run(status: int, count: int) -> None:
        async def call(attempt: Attempt) -> str:
            attempt.note(time_to_first_chunk_s=0.05)
            await clock.sleep(0.1)
            if status >= 400:
                raise UpstreamStatusError(status=status)
            return "hello"

        async def try_one() -> None:
            try:
                await pipeline.execute(call, operation="chat")
            except UpstreamStatusError:
                return

        for _ in range(count):
            async with asyncio.TaskGroup() as tasks:
                for _call in range(20):
                    tasks.create_task(try_one())

    await run(404, 30)
    assert limiter.limit == 20
    await run(429, 11)
    assert limiter.limit == 18
    await run(200, 31)
    assert limiter.limit > 18
    assert limiter.in_flight == 0
    assert limiter.rate_per_s == pytest.approx(limiter.limit / 0.05)
    assert recorder.of(ConcurrencyLimitChanged)[0].reason == "dropped"


@pytest.mark.parametrize("limit", [2.0, 5.0, 50.0])
@pytest.mark.parametrize("latency_s", [0.0, 0.1])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_drop_never_makes_the_limit_larger(
    strategy: LimitStrategy, latency_s: float, limit: float
) -> None:
    """
    However small the limit and however little is known, a drop lowers it.
    """
    allowed = LimitRange(lowest=1, highest=100)
    rules: dict[LimitStrategy, LimitRule] = {
        LimitStrategy.AIMD: AimdRule(limit, allowed=allowed),
        LimitStrategy.VEGAS: VegasRule(limit, allowed=allowed),
        LimitStrategy.GRADIENT2: Gradient2Rule(limit, allowed=allowed),
    }
    rule = rules[strategy]

    reason = rule.update(LimitSample(latency_s=latency_s, in_flight=100, dropped=True))

    assert reason == "dropped"
    assert 1 <= rule.limit < limit


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_calls_that_take_no_time_break_nothing(
    make_adaptive: MakeAdaptive, clock: LoopClock, strategy: LimitStrategy
) -> None:
    """
    A latency of zero says nothing of a queue, and no permit is lost over it.
    """
    limiter = make_adaptive(strategy=strategy, samples_min=1, window_s=0.1)

    await feed(limiter, clock, windows=3, latency_s=0.0)

    assert limiter.limit >= 100
    assert limiter.in_flight == 0
