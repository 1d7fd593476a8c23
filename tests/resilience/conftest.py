"""
What the tests of the resilience layer share: strategies on the test's clock.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.randomness import Randomness
from harness.resilience import (
    Attempt,
    Bulkhead,
    BulkheadOptions,
    CircuitBreaker,
    CircuitBreakerOptions,
    Outcome,
    Pipeline,
    PipelineOptions,
    Pipelines,
    PipelinesOptions,
    RateLimiter,
    RateLimiterOptions,
    classify_error,
)


@pytest.fixture
def make_breaker(
    clock: LoopClock, bus: EventBus, randomness: Randomness
) -> Callable[..., CircuitBreaker]:
    """
    Make a breaker with the given options.
    """

    def make(**settings: Any) -> CircuitBreaker:
        return CircuitBreaker(
            "upstream",
            options=CircuitBreakerOptions(**settings),
            clock=clock,
            bus=bus,
            draws=randomness.stream("breaker"),
        )

    return make


@pytest.fixture
def make_limiter(clock: LoopClock, bus: EventBus) -> Callable[..., RateLimiter]:
    """
    Make a rate limiter with the given options.
    """

    def make(**settings: Any) -> RateLimiter:
        return RateLimiter(
            "upstream", options=RateLimiterOptions(**settings), clock=clock, bus=bus
        )

    return make


@pytest.fixture
def make_bulkhead(clock: LoopClock, bus: EventBus) -> Callable[..., Bulkhead]:
    """
    Make a bulkhead with the given options.
    """

    def make(**settings: Any) -> Bulkhead:
        return Bulkhead(
            "upstream", options=BulkheadOptions(**settings), clock=clock, bus=bus
        )

    return make


@pytest.fixture
def make_pipelines(
    clock: LoopClock, bus: EventBus, randomness: Randomness
) -> Callable[..., Pipelines]:
    """
    Make a registry whose pipelines all have the given options.

    ``classify`` and ``registry`` (the options of the registry) may be given too.
    """

    def make(**settings: Any) -> Pipelines:
        classify = settings.pop("classify", classify_error)
        registry: PipelinesOptions | None = settings.pop("registry", None)
        options = PipelineOptions(**settings)
        return Pipelines(
            clock=clock,
            randomness=randomness,
            bus=bus,
            options_for=lambda _name: options,
            classify=classify,
            options=registry,
        )

    return make


@pytest.fixture
def make_pipeline(
    make_pipelines: Callable[..., Pipelines],
) -> Callable[..., Pipeline]:
    """
    Make a pipeline named ``upstream`` with the given options and nothing else on.
    """

    def make(**settings: Any) -> Pipeline:
        off = {
            "total_timeout_s": None,
            "retry": None,
            "circuit_breaker": None,
            "rate_limiter": None,
            "attempt_timeout_s": None,
        }
        return make_pipelines(**{**off, **settings}).for_destination("upstream")

    return make


@pytest.fixture
def trip() -> Callable[[CircuitBreaker], None]:
    """
    Fail calls until the circuit is open.
    """

    def fail(breaker: CircuitBreaker) -> None:
        while breaker.state != "open":
            breaker.settle(breaker.admit(), Outcome.FAILURE)

    return fail


Call = Callable[[Attempt], Awaitable[str]]


@pytest.fixture
def answers() -> Callable[..., Call]:
    """
    Make a call that plays a list: an error is raised, anything else returned.

    The last entry is played for ever.
    """

    def make(*script: object) -> Call:
        left = list(script)

        async def call(attempt: Attempt) -> str:
            del attempt
            entry = left.pop(0) if len(left) > 1 else left[0]
            if isinstance(entry, BaseException):
                raise entry
            return str(entry)

        return call

    return make


@pytest.fixture
def hang() -> Call:
    """
    A call that never ends.
    """

    async def call(attempt: Attempt) -> str:
        del attempt
        await asyncio.get_running_loop().create_future()
        return "never"

    return call
