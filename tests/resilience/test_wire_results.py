"""
The table of wire results: what each says to the circuit, the limiter and the retry.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.errors import (
    HarnessError,
    UpstreamConnectionError,
    UpstreamProtocolError,
    UpstreamStatusError,
)
from harness.events import AttemptEnded, RateLimiterPaused
from harness.randomness import Randomness
from harness.resilience import (
    AdaptiveLimiter,
    AdaptiveLimiterOptions,
    Attempt,
    BackoffOptions,
    CircuitBreaker,
    Hedging,
    HedgingOptions,
    Pipeline,
    RateLimiter,
    Retry,
    RetryOptions,
)
from harness.testing import Recorder
from harness.upstream import Breakage, classify

pytestmark = pytest.mark.virtual_time

TIMEOUT_S = 5.0


@dataclass
class Stack:
    """
    A pipeline and its strategies, to look at what they learned.
    """

    pipeline: Pipeline
    breaker: CircuitBreaker
    adaptive: AdaptiveLimiter

    @property
    def sample(self) -> str:
        """
        What the adaptive limiter took in: a sample, a drop, or nothing.
        """
        window = self.adaptive._window
        if window.dropped:
            return "drop"
        return "sample" if window.samples else "-"


MakeStack = Callable[..., Stack]


@pytest.fixture
def make_stack(
    clock: LoopClock,
    bus: EventBus,
    randomness: Randomness,
    make_breaker: Callable[..., CircuitBreaker],
    make_limiter: Callable[..., RateLimiter],
) -> MakeStack:
    """
    Make a pipeline with everything on; one attempt more is made where that is allowed.
    """

    def make(**limits: float) -> Stack:
        breaker = make_breaker(failure_threshold=10)
        adaptive = AdaptiveLimiter(
            "upstream",
            options=AdaptiveLimiterOptions(samples_min=1_000),
            clock=clock,
            bus=bus,
        )
        retry = Retry(
            options=RetryOptions(
                attempts_max=2, backoff=BackoffOptions(base_s=0.1), budget=None
            ),
            budget=None,
            clock=clock,
            bus=bus,
            draws=randomness.stream("retry"),
        )
        pipeline = Pipeline(
            "upstream",
            strategies=[retry, breaker, adaptive, make_limiter(**limits)],
            classify=classify,
            clock=clock,
            bus=bus,
            attempt_timeout_s=TIMEOUT_S,
        )
        return Stack(pipeline, breaker, adaptive)

    return make


def status(number: int, retry_after_s: float | None = None) -> UpstreamStatusError:
    """
    Return the error of an answer.
    """
    return UpstreamStatusError(status=number, retry_after_s=retry_after_s)


BROKEN = UpstreamProtocolError(reason=Breakage.TRUNCATED)
GONE = UpstreamConnectionError(reason="reset")

# What happens, and then: failures of the circuit, sample, attempts.
ROWS = {
    "200": (None, 0, "sample", 1),
    "408": (status(408), 2, "-", 2),
    "500": (status(500), 2, "-", 2),
    "502": (status(502), 2, "-", 2),
    "503": (status(503), 2, "-", 2),
    "504": (status(504), 2, "-", 2),
    "505": (status(505), 1, "-", 1),
    "connection": (GONE, 2, "-", 2),
    "timeout": ("hang", 2, "drop", 2),
    "broken stream": (BROKEN, 2, "-", 2),
    "broken after the first byte": ((BROKEN,), 1, "drop", 1),
    "reset after the first byte": ((GONE,), 1, "drop", 1),
    "429": (status(429), 0, "drop", 2),
    "529": (status(529), 0, "drop", 2),
    "503 that says when": (status(503, 1.5), 2, "drop", 2),
    "409": (status(409), 0, "-", 2),
    "425": (status(425), 0, "-", 2),
    **{
        str(number): (status(number), 0, "-", 1)
        for number in (400, 401, 403, 404, 422, 501)
    },
    "insufficient_quota": (
        UpstreamStatusError(status=429, code="insufficient_quota"),
        0,
        "-",
        1,
    ),
}


@pytest.mark.parametrize("row", ROWS)
async def test_each_result_says_what_the_table_says(
    make_stack: MakeStack, clock: LoopClock, recorder: Recorder, row: str
) -> None:
    """
    Health, load and repetition are three questions, and each result answers all three.
    """
    result, failures, sample, attempts = ROWS[row]
    stack = make_stack()

    async def call(attempt: Attempt) -> str:
        await clock.sleep(0.01)
        if result == "hang":
            await clock.sleep(3600)
        if isinstance(result, tuple):
            attempt.commit()
            raise result[0]
        if isinstance(result, BaseException):
            raise result
        return "hello"

    try:
        await stack.pipeline.execute(call, operation="chat")
    except (HarnessError, TimeoutError):
        assert result is not None

    assert stack.breaker.snapshot().failures == failures
    assert stack.sample == sample
    assert len(recorder.of(AttemptEnded)) == attempts


@pytest.mark.parametrize(("number", "pauses"), [(429, 1), (529, 1), (503, 0)])
async def test_backpressure_pauses_until_it_was_asked_to(
    make_stack: MakeStack, recorder: Recorder, number: int, pauses: int
) -> None:
    """
    Only a peer that is well and asks for fewer calls stops all of them.
    """
    stack = make_stack()

    async def call(attempt: Attempt) -> str:
        if attempt.number == 1:
            raise status(number, 4.0)
        return "hello"

    await stack.pipeline.execute(call, operation="chat")

    assert [event.pause_s for event in recorder.of(RateLimiterPaused)] == [4.0] * pauses


async def test_cancelled_and_refused_calls_say_nothing(
    make_stack: MakeStack, clock: LoopClock, recorder: Recorder
) -> None:
    """
    Who was cancelled has seen nothing, and who was refused here was never there.
    """
    stack = make_stack(rate_per_s=0.01, burst=1, wait_max_s=1.0)

    async def call(_attempt: Attempt) -> str:
        await clock.sleep(3)
        return "hello"

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(stack.pipeline.execute(call, operation="chat"))
        await clock.sleep(1)
        task.cancel()
    with pytest.raises(HarnessError, match="limit"):
        await stack.pipeline.execute(call, operation="chat")

    snapshot = stack.breaker.snapshot()
    assert (snapshot.failures, stack.sample) == (0, "-")
    [ended] = recorder.of(AttemptEnded)
    assert (ended.outcome, ended.reason) == ("ignored", "cancelled")


async def test_the_loser_of_a_hedge_says_nothing(
    make_breaker: Callable[..., CircuitBreaker],
    clock: LoopClock,
    bus: EventBus,
    recorder: Recorder,
) -> None:
    """
    It was cancelled by us: no failure, no sample, no further attempt.
    """
    breaker = make_breaker(failure_threshold=1)
    pipeline = Pipeline(
        "upstream",
        strategies=[
            Hedging(
                options=HedgingOptions(samples_min=1, delay_min_s=1.0),
                budget=None,
                clock=clock,
                bus=bus,
            ),
            breaker,
        ],
        classify=classify,
        clock=clock,
        bus=bus,
    )

    async def call(attempt: Attempt) -> str:
        await clock.sleep(0.1 if attempt.number == 2 else first_s)
        return "hello"

    first_s = 0.1
    await pipeline.execute(call, operation="chat", may_hedge=True)
    first_s = 60.0
    await pipeline.execute(call, operation="chat", may_hedge=True)

    assert [event.outcome for event in recorder.of(AttemptEnded)] == [
        "success",
        "success",
        "ignored",
    ]
    assert breaker.state == "closed"
    assert breaker.snapshot().failures == 0
