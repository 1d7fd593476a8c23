"""
Figures published for limiters, budgets, backoffs and retries, played to ours.

Each row is held, or listed with the rule of ours that differs.
"""

import asyncio
import json
import math
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Any, Final

import pytest

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.errors import LimitExceededError, RateLimitedError
from harness.resilience import (
    AimdRule,
    BackoffOptions,
    ConcurrencyBudget,
    ConcurrencyBudgetOptions,
    Gradient2Rule,
    Jitter,
    LimitRange,
    LimitRule,
    LimitSample,
    RateLimiter,
    RateLimiterOptions,
    RetryBudget,
    RetryBudgetOptions,
    RetryIn,
    RetryOptions,
    ThrottleBudget,
    ThrottleBudgetOptions,
    VegasRule,
    backoff_delay_s,
    backoff_envelope_s,
    classify_status,
    next_step,
    parse_retry_after,
)

pytestmark = pytest.mark.virtual_time

Row = Mapping[str, Any]
Vector = Mapping[str, Any]
Verdicts = list[bool]
Player = Callable[[Vector, LoopClock], Awaitable[Verdicts]]

VECTORS: Final[list[Vector]] = json.loads(
    (Path(__file__).parent / "vectors" / "resilience_vectors.json").read_text()
)["vectors"]

NOT_OURS: Final = "no strategy of ours follows this rule"
CONTINUOUS: Final = "a permit is free so long after the last one, not at a fixed beat"
CYCLES: Final = "tokens come back one by one, not all at the end of a cycle"
ZERO_SAYS_NOTHING: Final = "a wait of zero says nothing: the backoff counts"
TOO_LONG: Final = "a wait beyond the limit ends the call; it is neither kept nor cut"
OTHER_JITTER: Final = "the jitters are full, equal, decorrelated and proportional"

DIFFERS: Final[Mapping[tuple[str, int], str]] = {
    **{("cubic", row): NOT_OURS for row in range(8)},
    **{("client-side-throttle", row): NOT_OURS for row in range(9)},
    **{("envoy-gradient", row): NOT_OURS for row in range(4)},
    **{("bursty-limiter", row): CYCLES for row in range(8)},
    ("smooth-limiter", 4): CONTINUOUS,
    ("smooth-limiter", 8): CONTINUOUS,
    ("jitter-bounds", 3): OTHER_JITTER,
    ("jitter-bounds", 5): OTHER_JITTER,
    ("jitter-bounds", 7): OTHER_JITTER,
    ("openai-retry-after", 17): ZERO_SAYS_NOTHING,
    ("openai-retry-after", 22): TOO_LONG,
    ("openai-retry-after", 26): "the wait is the larger of the backoff and the asked",
    ("openai-should-retry", 7): "425 is retried: nothing was done yet",
    ("openai-should-retry", 10): "501 is not retried: it will not be there next time",
}


# Limits -----------------------------------------------------------------------------


async def play_aimd(vector: Vector, clock: LoopClock) -> Verdicts:
    """
    Each row is one sample to a fresh limit.
    """
    del clock
    verdicts = []
    for row in vector["rows"]:
        config = row["config"]
        rule = AimdRule(
            config["init"],
            allowed=LimitRange(lowest=config["mn"], highest=config["mx"]),
        )
        rule.update(
            LimitSample(
                latency_s=row["rtt_ms"] / 1000,
                in_flight=row["inflight"],
                dropped=row["dropped"],
            )
        )
        verdicts.append(math.floor(rule.limit) == row["limit"])
    return verdicts


async def play_vegas(vector: Vector, clock: LoopClock) -> Verdicts:
    """
    Each row is a series of samples to a fresh limit.
    """
    del clock
    verdicts = []
    for row in vector["rows"]:
        config = {**vector["config"], **row.get("config", {})}
        settings: dict[str, Any] = {"smoothing": config["smoothing"]}
        if config.get("decrease") == "half":
            settings["decrease"] = lambda limit: limit / 2
        rule = VegasRule(
            config["initial"],
            allowed=LimitRange(lowest=1, highest=config["max"]),
            **settings,
        )
        verdicts.append(_limits_after(rule, row["samples"]) == row["limits"])
    return verdicts


def _limits_after(rule: LimitRule, samples: Sequence[Sequence[int]]) -> list[int]:
    limits = []
    for rtt_ms, in_flight in samples:
        rule.update(LimitSample(latency_s=rtt_ms / 1000, in_flight=in_flight))
        limits.append(math.floor(rule.limit))
    return limits


async def play_gradient2(vector: Vector, clock: LoopClock) -> Verdicts:
    """
    The rows are samples to one limit.
    """
    del clock
    config = vector["config"]
    rule = Gradient2Rule(
        config["initial"],
        allowed=LimitRange(lowest=config["min"], highest=config["max"]),
        queue=config["queue"],
        smoothing=config["smoothing"],
        tolerance=config["tolerance"],
        long_window=config["long_window"],
        warmup=config["warmup"],
    )
    verdicts = []
    for row in vector["rows"]:
        rule.update(
            LimitSample(latency_s=row["rtt_ms"] / 1000, in_flight=row["inflight"])
        )
        verdicts.append(rule.limit == pytest.approx(row["limit"], abs=1e-6))
    return verdicts


# Rate limiters ----------------------------------------------------------------------


def make_limiter(clock: LoopClock, **settings: Any) -> RateLimiter:
    """
    Make a limiter that nobody is refused by for waiting long.
    """
    options = RateLimiterOptions(**{"wait_max_s": 1000.0, **settings})
    return RateLimiter(
        "vector", options=options, clock=clock, bus=EventBus(clock=clock)
    )


async def play_gcra(vector: Vector, clock: LoopClock) -> Verdicts:
    """
    The rows ask one bucket at given times, without waiting.
    """
    config = vector["config"]
    limiter = make_limiter(clock, rate_per_s=config["rate"], burst=config["burst"])
    started_s = clock.monotonic()
    verdicts = []
    for row in vector["rows"]:
        await clock.sleep(max(started_s + row["t"] - clock.monotonic(), 0.0))
        allowed, retry_after_s = True, 0.0
        try:
            limiter.acquire_nowait(cost=row["cost"])
        except RateLimitedError as error:
            allowed, retry_after_s = False, error.retry_after_s or 0.0
        except LimitExceededError:
            meter = limiter._meters[0]
            now_s = clock.monotonic()
            allowed, retry_after_s = False, meter.grant_at(now_s, row["cost"]) - now_s
        verdicts.append(
            allowed == row["allowed"]
            and retry_after_s == pytest.approx(row["retry_after"], abs=1e-5)
            and limiter.available() == pytest.approx(row["remaining"], abs=1e-3)
        )
    return verdicts


async def play_smooth(vector: Vector, clock: LoopClock) -> Verdicts:
    """
    The rows reserve permits one after the other; the wait is that of the last one.
    """
    verdicts = []
    interval_ms = None
    async with asyncio.TaskGroup() as tasks:
        for row in vector["rows"]:
            wanted_ms = row.get("interval_ms", vector["config"]["interval_ms"])
            if interval_ms != wanted_ms:
                interval_ms = wanted_ms
                started_s = clock.monotonic()
                limiter = make_limiter(clock, rate_per_s=1000 / interval_ms, burst=1)
            await clock.sleep(
                max(started_s + row["t_ms"] / 1000 - clock.monotonic(), 0.0)
            )
            permits = 7 if isinstance(row["permits"], str) else row["permits"]
            waits_s = []
            for _ in range(permits):
                waits_s.append(
                    max(limiter._grant_at((1.0,), clock.monotonic()), clock.monotonic())
                    - clock.monotonic()
                )
                tasks.create_task(limiter.acquire())
                await clock.sleep(0)
            verdicts.append(
                waits_s[-1] * 1000 == pytest.approx(row["wait_ms"], abs=0.01)
            )
    return verdicts


async def play_bursty(vector: Vector, clock: LoopClock) -> Verdicts:
    """
    The rows ask for a fixed cycle, which a bucket cannot be set to.
    """
    del clock
    return [False for _row in vector["rows"]]


async def play_fifo(vector: Vector, clock: LoopClock) -> Verdicts:
    """
    The rows are steps of one story.
    """
    config = vector["config"]
    limiter = make_limiter(clock, rate_per_s=config["rate"], burst=config["burst"])
    started_s = clock.monotonic()
    granted: dict[str, float] = {}

    async def ask(name: str, cost: float) -> None:
        await limiter.acquire(cost=cost)
        granted[name] = clock.monotonic() - started_s

    async with asyncio.TaskGroup() as tasks:
        await ask("drain", 200)
        planned_a_s = limiter._grant_at((5.0,), clock.monotonic()) - started_s
        first = tasks.create_task(ask("a", 5))
        await clock.sleep(0)
        planned_b_s = limiter._grant_at((1.0,), clock.monotonic()) - started_s
        tasks.create_task(ask("b", 1))
        await clock.sleep(0)
        with pytest.raises(RateLimitedError) as late:
            await limiter.acquire(timeout_s=0.05)
        await clock.sleep(0.02)
        first.cancel()
    with pytest.raises(LimitExceededError):
        await limiter.acquire(cost=201)
    return [
        granted["drain"] == 0.0,
        planned_a_s == pytest.approx(0.05),
        planned_b_s == pytest.approx(0.06),
        late.value.retry_after_s == pytest.approx(0.07),
        granted["b"] == pytest.approx(0.02),
        True,
    ]


async def play_drain(vector: Vector, clock: LoopClock) -> Verdicts:
    """
    So many tasks ask at once; so many are through at given times.
    """
    config, (row,) = vector["config"], vector["rows"]
    rate_per_s = config["max_rate"] / config["time_period_s"]
    limiter = make_limiter(clock, rate_per_s=rate_per_s, burst=config["max_rate"])
    started_s = clock.monotonic()
    through = {}
    async with asyncio.TaskGroup() as tasks:
        calls = [tasks.create_task(limiter.acquire()) for _ in range(row["tasks"])]
        for after_s in row["done_at"]:
            await clock.sleep(max(started_s + int(after_s) - clock.monotonic(), 0))
            await clock.sleep(0)
            through[after_s] = sum(call.done() for call in calls)
    return [through == row["done_at"]]


# Budgets ----------------------------------------------------------------------------


async def play_finagle(vector: Vector, clock: LoopClock) -> Verdicts:
    """
    The rows say how many retries there are after so many calls.
    """
    config = vector["config"]
    options = RetryBudgetOptions(
        share=config["percent"],
        reserve_per_s=config["min_per_s"],
        window_s=config["ttl_s"],
    )
    verdicts = []
    for row in vector["rows"]:
        budget = RetryBudget(options=options, clock=clock)
        budget.deposit(row.get("requests_in_window", 0))
        allowed = 0
        while budget.withdraw():
            allowed += 1
        verdicts.append(
            allowed == row.get("retries_allowed", row.get("reserve_retries"))
        )
    return verdicts


async def play_throttle(vector: Vector, clock: LoopClock) -> Verdicts:
    """
    The rows are outcomes, one after the other.
    """
    del clock
    config = vector["config"]
    budget = ThrottleBudget(
        options=ThrottleBudgetOptions(
            tokens_max=config["max_tokens"], token_ratio=config["token_ratio"]
        )
    )
    verdicts = []
    for row in vector["rows"]:
        budget.record(succeeded=row["event"] == "success")
        verdicts.append(
            budget.tokens == pytest.approx(row["tokens"])
            and budget.withdraw() == row["retry_allowed"]
        )
    return verdicts


async def play_concurrency(vector: Vector, clock: LoopClock) -> Verdicts:
    """
    The rows say how many retries may be under way among so many calls.
    """
    del clock
    config = vector["config"]
    verdicts = []
    for row in vector["rows"]:
        budget = ConcurrencyBudget(
            options=ConcurrencyBudgetOptions(
                share=config["budget_percent"] / 100,
                retries_min=config["min_retry_concurrency"],
            )
        )
        for _ in range(row["active_plus_pending"]):
            budget.begin()
        verdicts.append(budget.allowed() == row["allowed"])
    return verdicts


async def play_failsafe_budget(vector: Vector, clock: LoopClock) -> Verdicts:
    """
    One retry is allowed among two calls, and no second one.
    """
    del clock
    config, (row,) = vector["config"], vector["rows"]
    budget = ConcurrencyBudget(
        options=ConcurrencyBudgetOptions(
            share=config["max_rate"], retries_min=config["min_concurrency"]
        )
    )
    for _ in range(row["executions"]):
        budget.begin()
    return [
        budget.withdraw() == row["first_permit"]
        and budget.withdraw() == row["second_permit"]
    ]


# Backoff and retries ----------------------------------------------------------------


def extremes(options: BackoffOptions, retry_number: int) -> tuple[float, float]:
    """
    Return the shortest and the longest of many delays.
    """
    draws = random.Random(1)  # noqa: S311 - any seed will do
    delays = [
        backoff_delay_s(options, retry_number, draws=draws, previous_s=2.0)
        for _ in range(5000)
    ]
    return min(delays), max(delays)


async def play_grpc_backoff(vector: Vector, clock: LoopClock) -> Verdicts:
    """
    The rows give envelope and bounds of each retry.
    """
    del clock
    config = vector["config"]
    options = BackoffOptions(
        base_s=config["initial_s"],
        max_s=config["max_s"],
        multiplier=config["multiplier"],
        jitter=Jitter.PROPORTIONAL,
        jitter_share=0.2,
    )
    verdicts = []
    for row in vector["rows"]:
        low_s, high_s = extremes(options, row["retry"])
        verdicts.append(
            backoff_envelope_s(options, row["retry"]) == row["base"]
            and row["low"] <= low_s <= row["low"] * 1.01
            and row["high"] * 0.99 <= high_s <= row["high"]
        )
    return verdicts


BOUNDS: Final[Mapping[str, tuple[BackoffOptions, float, float]]] = {
    "full": (BackoffOptions(base_s=1, max_s=8), 0.0, 4.0),
    "equal": (BackoffOptions(base_s=1, max_s=8, jitter=Jitter.EQUAL), 2.0, 4.0),
    "decorrelated": (
        BackoffOptions(base_s=1, max_s=8, jitter=Jitter.DECORRELATED),
        1.0,
        6.0,
    ),
    "polly constant/linear": (
        BackoffOptions(
            base_s=2,
            max_s=2,
            multiplier=1,
            jitter=Jitter.PROPORTIONAL,
            jitter_share=0.25,
        ),
        1.5,
        2.5,
    ),
    "botocore standard": (BackoffOptions(base_s=1, max_s=20), 0.0, 4.0),
    "r4j randomized": (
        BackoffOptions(
            base_s=2,
            max_s=2,
            multiplier=1,
            jitter=Jitter.PROPORTIONAL,
            jitter_share=0.5,
        ),
        1.0,
        3.0,
    ),
}


async def play_jitter(vector: Vector, clock: LoopClock) -> Verdicts:
    """
    The rows are formulas; those ours can be set to fill the very same range.
    """
    del clock
    verdicts = []
    for row in vector["rows"]:
        if row["name"] not in BOUNDS:
            verdicts.append(False)
            continue
        options, low_s, high_s = BOUNDS[row["name"]]
        lowest_s, highest_s = extremes(options, 3)
        verdicts.append(
            low_s <= lowest_s < low_s + 0.05 and high_s - 0.05 < highest_s <= high_s
        )
    return verdicts


async def play_openai_backoff(vector: Vector, clock: LoopClock) -> Verdicts:
    """
    The rows give the envelope by how many retries remain.
    """
    del clock
    config = vector["config"]
    options = BackoffOptions(
        base_s=config["initial"], max_s=config["max"], jitter=Jitter.NONE
    )
    draws = random.Random(1)  # noqa: S311 - there is no jitter
    return [
        backoff_delay_s(
            options, config["max_retries"] - row["remaining"] + 1, draws=draws
        )
        == row["delay"]
        for row in vector["rows"]
    ]


OPENAI_OPTIONS: Final = RetryOptions(
    attempts_max=3,
    backoff=BackoffOptions(base_s=0.5, max_s=8, jitter=Jitter.NONE),
    retry_after_max_s=120,
    retry_after_jitter_share=0,
    budget=None,
)


def wait_after(status: int, headers: Mapping[str, str], wall_s: float) -> float | None:
    """
    Return how long ours waits after an answer, None if it does not retry.
    """
    asked = parse_retry_after(headers, wall_s)
    says = {"true": True, "false": False}.get(headers.get("x-should-retry", ""))
    step = next_step(
        classify_status(
            status,
            retry_after_s=None if asked is None else asked.delay_s,
            should_retry=says,
        ),
        options=OPENAI_OPTIONS,
        attempt_number=1,
        committed=False,
        backoff_s=0.5,
        blocked_s=None,
        remaining_s=None,
        draws=random.Random(1),  # noqa: S311 - there is no jitter
    )
    return step.delay_s if isinstance(step, RetryIn) else None


def header_of(row: Row, wall_s: float) -> dict[str, str]:
    """
    Return the headers that a row describes in words.
    """
    name: str = row["header"]
    value: str = row["value"]
    if value.startswith("date now"):
        offset_s = int(value.removeprefix("date now").removesuffix(" s") or 0)
        return {name: formatdate(wall_s + offset_s, usegmt=True)}
    if " with retry-after " in value:
        value, other = value.split(" with retry-after ")
        return {name: value, "retry-after": other}
    return {name: {"(empty)": "", "35 nines": "9" * 35}.get(value, value)}


def means(verdict: object) -> float | None:
    """
    Return the wait that a client's column stands for, None for no retry.
    """
    if isinstance(verdict, int | float):
        return float(verdict)
    text = str(verdict)
    return 0.5 if text.startswith("backoff") and "refused" not in text else None


async def play_retry_after(vector: Vector, clock: LoopClock) -> Verdicts:
    """
    A row holds when ours waits as long as one of the clients that were run.
    """
    wall_s = float(math.floor(clock.wall()))
    verdicts = []
    for row in vector["rows"]:
        wait_s = wait_after(503, header_of(row, wall_s), wall_s)
        clients = [
            means(value)
            for key, value in row.items()
            if key.startswith(("python", "node")) and value is not None
        ]
        verdicts.append(wait_s in clients)
    return verdicts


async def play_should_retry(vector: Vector, clock: LoopClock) -> Verdicts:
    """
    A row says for a status, or for headers on two statuses, whether to retry.
    """
    wall_s = clock.wall()
    verdicts = []
    for row in vector["rows"]:
        headers = row.get("headers", {})
        expected = {
            row.get("status", 0): row.get("retry"),
            400: row.get("on_400"),
            503: row.get("on_503"),
        }
        if "status" in row:
            expected = {row["status"]: row["retry"]}
        verdicts.append(
            all(
                (wait_after(status, headers, wall_s) is not None) == retried
                for status, retried in expected.items()
                if retried is not None
            )
        )
    return verdicts


async def play_nothing(vector: Vector, clock: LoopClock) -> Verdicts:
    """
    There is nothing of ours that could be asked.
    """
    del clock
    return [False for _row in vector["rows"]]


PLAYERS: Final[Mapping[str, Player]] = {
    "aimd-basic": play_aimd,
    "vegas-steps": play_vegas,
    "gradient2-computed": play_gradient2,
    "cubic": play_nothing,
    "client-side-throttle": play_nothing,
    "smooth-limiter": play_smooth,
    "bursty-limiter": play_bursty,
    "gcra-article-bucket": play_gcra,
    "fifo-bucket-article": play_fifo,
    "aiolimiter-drain": play_drain,
    "retry-budget-failsafe": play_failsafe_budget,
    "finagle-budget": play_finagle,
    "grpc-a6-backoff": play_grpc_backoff,
    "grpc-a6-throttle": play_throttle,
    "jitter-bounds": play_jitter,
    "openai-retry-after": play_retry_after,
    "openai-should-retry": play_should_retry,
    "openai-backoff": play_openai_backoff,
    "envoy-retry-budget": play_concurrency,
    "envoy-gradient": play_nothing,
}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["id"])
async def test_rows_hold_unless_listed(vector: Vector, clock: LoopClock) -> None:
    """
    Every row that is not listed holds, and no listed row does.
    """
    verdicts = await PLAYERS[vector["id"]](vector, clock)

    listed = [(vector["id"], row) in DIFFERS for row in range(len(vector["rows"]))]
    assert len(verdicts) == len(listed)
    wrong = [
        (number, vector["rows"][number])
        for number, (holds, is_listed) in enumerate(zip(verdicts, listed, strict=True))
        if holds == is_listed
    ]
    assert wrong == []


def test_most_rows_hold() -> None:
    """
    At most a quarter of the rows is listed as different.
    """
    rows = {
        (vector["id"], row) for vector in VECTORS for row in range(len(vector["rows"]))
    }

    assert set(DIFFERS) <= rows
    assert len(DIFFERS) <= len(rows) / 4
