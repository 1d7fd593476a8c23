"""
What the resilience pipeline costs, beside what others are made of.

Prints three ratios with their environment: the happy path through the whole pipeline
against tenacity, purgatory and aiolimiter composed around the same call; a refused
call against an admitted one; a grant of the rate limiter with ten thousand callers
waiting against one with ten. All costs are CPU time, the best of many short rounds
that are run in turns: on a busy machine, too, some of them are left alone.
"""

import argparse
import asyncio
import contextlib
import gc
import importlib.metadata
import os
import platform
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiolimiter
import purgatory
import tenacity

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.errors import CircuitOpenError
from harness.randomness import Randomness
from harness.resilience import (
    AdaptiveLimiterOptions,
    Attempt,
    BulkheadOptions,
    CircuitBreakerOptions,
    HedgingOptions,
    Pipeline,
    PipelineOptions,
    Pipelines,
    RateLimiter,
    RateLimiterOptions,
    classify_error,
)
from harness.simulation import SimLoop

Run = Callable[[int], Awaitable[None]]

PLENTY = 1e9
"""A rate and a burst that nobody waits for."""

PEERS = ("tenacity", "purgatory", "aiolimiter")


async def call(attempt: Attempt | None = None) -> str:
    """
    Do nothing, as all sides are asked to.
    """
    del attempt
    return "hello"


def make_pipeline(**settings: Any) -> Pipeline:
    """
    Make a pipeline with every strategy of the defaults on.
    """
    clock = LoopClock()
    options = PipelineOptions(
        rate_limiter=RateLimiterOptions(rate_per_s=PLENTY, burst=PLENTY), **settings
    )
    return Pipelines(
        clock=clock,
        randomness=Randomness(1),
        bus=EventBus(clock=clock),
        options_for=lambda _: options,
        classify=classify_error,
    ).for_destination("upstream")


async def make_ours() -> Run:
    """
    Deadline, retry with budget, breaker, rate limiter and attempt timeout.
    """
    pipeline = make_pipeline()

    async def run(calls: int) -> None:
        for _ in range(calls):
            await pipeline.execute(call, operation="chat")

    return run


async def make_everything() -> Run:
    """
    The same with hedging, an adaptive limiter and a bulkhead as well.
    """
    pipeline = make_pipeline(
        hedging=HedgingOptions(),
        adaptive_limiter=AdaptiveLimiterOptions(),
        bulkhead=BulkheadOptions(),
    )

    async def run(calls: int) -> None:
        for _ in range(calls):
            await pipeline.execute(call, operation="chat")

    return run


async def make_peers() -> Run:
    """
    The same of three libraries, in the same order, without any timeout.
    """
    breakers = purgatory.AsyncCircuitBreakerFactory(default_threshold=5, default_ttl=30)
    limiter = aiolimiter.AsyncLimiter(PLENTY, 1)
    retrying = tenacity.AsyncRetrying(
        stop=tenacity.stop_after_attempt(3),
        wait=tenacity.wait_random_exponential(multiplier=0.5, max=8),
        retry=tenacity.retry_if_exception_type(ConnectionError),
        reraise=True,
    )

    async def attempt() -> str:
        async with await breakers.get_breaker("upstream"), limiter:
            return await call()

    async def run(calls: int) -> None:
        for _ in range(calls):
            await retrying(attempt)

    return run


async def make_peers_with_timeout() -> Run:
    """
    The same once more, with the attempt timeout and the deadline that ours has.
    """
    breakers = purgatory.AsyncCircuitBreakerFactory(default_threshold=5, default_ttl=30)
    limiter = aiolimiter.AsyncLimiter(PLENTY, 1)
    clock = LoopClock()
    retrying = tenacity.AsyncRetrying(
        stop=tenacity.stop_after_attempt(3),
        wait=tenacity.wait_random_exponential(multiplier=0.5, max=8),
        retry=tenacity.retry_if_exception_type(ConnectionError),
        reraise=True,
    )

    async def attempt() -> str:
        async with await breakers.get_breaker("upstream"), limiter, clock.timeout(30):
            return await call()

    async def run(calls: int) -> None:
        for _ in range(calls):
            async with clock.timeout(120):
                await retrying(attempt)

    return run


async def make_refused() -> Run:
    """
    Calls at an open circuit, through the whole pipeline.
    """
    pipeline = make_pipeline(circuit_breaker=CircuitBreakerOptions(failure_threshold=1))

    async def fail(_attempt: Attempt) -> str:
        raise OSError

    with contextlib.suppress(OSError):
        await pipeline.execute(fail, operation="chat")

    async def run(calls: int) -> None:
        for _ in range(calls):
            # Not contextlib.suppress: it costs as much as the refusal.
            try:  # noqa: SIM105
                await pipeline.execute(call, operation="chat")
            except CircuitOpenError:
                pass

    return run


async def cost_s(run: Run, calls: int) -> float:
    """
    Return the CPU seconds of one call.
    """
    gc.collect()
    gc.disable()
    try:
        started_s = time.process_time()
        await run(calls)
        return (time.process_time() - started_s) / calls
    finally:
        gc.enable()


async def grant_cost_s(waiting: int, grants: int) -> float:
    """
    Return the CPU seconds of a grant while so many callers wait, all else alike.

    A caller that was let through asks again at once, so that the queue keeps its
    length; with few callers the same number of grants is made.
    """
    clock = LoopClock()
    limiter = RateLimiter(
        "upstream",
        options=RateLimiterOptions(
            rate_per_s=1_000, burst=1, wait_max_s=1e6, waiting_max=waiting
        ),
        clock=clock,
        bus=EventBus(clock=clock),
    )
    left = grants + waiting
    started_s = ended_s = 0.0

    async def ask() -> None:
        nonlocal left, started_s, ended_s
        while left > 0:
            await limiter.acquire()
            left -= 1
            if left == grants:
                started_s = time.process_time()
            if left == waiting:
                ended_s = time.process_time()

    gc.collect()
    gc.disable()
    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(waiting):
                tasks.create_task(ask())
    finally:
        gc.enable()
    return (ended_s - started_s) / (grants - waiting)


async def measure_calls(calls: int, rounds: int) -> dict[str, float]:
    """
    Return the best cost of a call of each kind, in seconds.
    """
    makers = {
        "pipeline": make_ours,
        "pipeline, every strategy": make_everything,
        "tenacity + purgatory + aiolimiter": make_peers,
        "the same with timeouts": make_peers_with_timeout,
        "refused by an open circuit": make_refused,
    }
    runs = {name: await make() for name, make in makers.items()}
    best = dict.fromkeys(runs, float("inf"))
    for _ in range(rounds):
        for name, run in runs.items():
            best[name] = min(best[name], await cost_s(run, calls))
    return best


def measure_grants(grants: int, rounds: int) -> dict[int, float]:
    """
    Return the best cost of a grant by the number of callers that wait.
    """
    best = {10: float("inf"), 10_000: float("inf")}
    for _ in range(rounds):
        for waiting, cheapest in best.items():
            # Virtual time: the waiting itself costs nothing and is not measured.
            with asyncio.Runner(loop_factory=lambda: SimLoop(seed=1)) as runner:
                cost = runner.run(grant_cost_s(waiting, grants))
            best[waiting] = min(cheapest, cost)
    return best


def environment() -> str:
    """
    Return what the figures depend on.
    """
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PEERS)
    return (
        f"Python {platform.python_version()}, {platform.system()} "
        f"{platform.machine()}, {os.cpu_count()} cores; {versions}"
    )


def main() -> None:
    """
    Print the figures.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=1_000)
    parser.add_argument("--grants", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=100)
    options = parser.parse_args()
    print(environment())
    print(f"CPU time, best of {options.rounds} rounds in turns\n")
    calls = asyncio.run(measure_calls(options.calls, options.rounds))
    for name, cost in calls.items():
        print(f"{name:36} {cost * 1e6:7.2f} µs per call")
    grants = measure_grants(options.grants, max(options.rounds // 20, 1))
    for waiting, cost in grants.items():
        print(f"{f'limiter, {waiting:,} waiting':36} {cost * 1e6:7.2f} µs per grant")
    ours, everything, peers, peers_with_timeout, refused = calls.values()
    print(
        f"\npipeline ÷ peers            {ours / peers:.2f}, below 1, aim at 0.5"
        f"\nevery strategy ÷ peers      {everything / peers:.2f}, below 1"
        f"\npipeline ÷ peers, timeouts  {ours / peers_with_timeout:.2f}"
        f"\nrefused ÷ admitted          {refused / ours:.2f}, at most 0.20"
        f"\n10,000 ÷ 10 waiting         {grants[10_000] / grants[10]:.2f}, at most 1.5"
    )


if __name__ == "__main__":
    main()
