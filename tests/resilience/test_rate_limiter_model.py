"""
The rate limiter against a naive bucket, over scripts that hypothesis makes up.
"""

import asyncio
import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.errors import RateLimitedError
from harness.randomness import Randomness
from harness.resilience import RateLimiter, RateLimiterOptions
from harness.resilience.meter import Meter
from harness.testing import SimLoop

RATE, BURST, WAIT_MAX_S = 2.0, 4.0, 6.0
TOLERANCE_S = 1e-5


@dataclass(frozen=True)
class Ask:
    """
    A call comes.
    """

    cost: float
    timeout_s: float


@dataclass(frozen=True)
class Cancel:
    """
    One of the calls is cancelled, if it still waits.
    """

    index: int


@dataclass(frozen=True)
class Pause:
    """
    The peer asks for a pause.
    """

    pause_s: float


@dataclass(frozen=True)
class Change:
    """
    The rate is changed.
    """

    rate_per_s: float


Op = Ask | Cancel | Pause | Change
Fates = dict[int, float | str]


@dataclass
class Bucket:
    """
    A token bucket that refills step by step, and a queue that is looked at in order.
    """

    now_s: float = 0.0
    rate: float = RATE
    tokens: float = BURST
    paused_until_s: float = 0.0
    queue: list[tuple[int, float, float]] = field(default_factory=list)
    fates: Fates = field(default_factory=dict)

    def run_until(self, end_s: float) -> None:
        """
        Grant to the head whatever is due.
        """
        while self.queue:
            number, cost, _latest_s = self.queue[0]
            missing = max(cost - self.tokens, 0.0)
            due_s = max(self.now_s + missing / self.rate, self.paused_until_s)
            if due_s > end_s:
                break
            self._refill(due_s)
            self.tokens -= cost
            self.queue.pop(0)
            self.fates[number] = due_s
        if math.isfinite(end_s):
            self._refill(end_s)

    def play(self, number: int, op: Op) -> None:
        """
        Do one step of the script.
        """
        match op:
            case Ask(cost=cost, timeout_s=timeout_s):
                latest_s = self.now_s + min(timeout_s, WAIT_MAX_S)
                self.queue.append((number, cost, latest_s))
                self.run_until(self.now_s)
            case Cancel(index=index):
                self.fates.update(
                    {waiting[0]: "cancelled" for waiting in self.queue[index:][:1]}
                )
                del self.queue[index : index + 1]
            case Pause(pause_s=pause_s):
                self.paused_until_s = max(self.paused_until_s, self.now_s + pause_s)
            case Change(rate_per_s=rate_per_s):
                self.rate = rate_per_s
        self._refuse_late()

    def _refuse_late(self) -> None:
        for waiting in list(self.queue):
            future = copy.deepcopy(self)
            future.run_until(math.inf)
            granted_s = future.fates[waiting[0]]
            if isinstance(granted_s, float) and granted_s > waiting[2] + TOLERANCE_S:
                self.queue.remove(waiting)
                self.fates[waiting[0]] = "refused"

    def _refill(self, now_s: float) -> None:
        self.tokens = min(BURST, self.tokens + (now_s - self.now_s) * self.rate)
        self.now_s = now_s


async def play(script: Sequence[tuple[float, Op]]) -> tuple[Fates, Fates]:
    """
    Play a script to both, and return what became of each call.
    """
    clock = LoopClock(0.0)
    limiter = RateLimiter(
        "upstream",
        options=RateLimiterOptions(
            rate_per_s=RATE, burst=BURST, wait_max_s=WAIT_MAX_S, pause_max_s=1000
        ),
        clock=clock,
        bus=EventBus(clock=clock),
    )
    bucket = Bucket()
    started_s = clock.monotonic()
    fates: Fates = {}
    calls: dict[int, asyncio.Task[None]] = {}

    async def call(number: int, ask: Ask) -> None:
        try:
            await limiter.acquire(cost=ask.cost, timeout_s=ask.timeout_s)
        except RateLimitedError:
            fates[number] = "refused"
        except asyncio.CancelledError:
            fates[number] = "cancelled"
            raise
        else:
            fates[number] = clock.monotonic() - started_s

    async with asyncio.TaskGroup() as tasks:
        for number, (delay_s, op) in enumerate(script):
            await clock.sleep(delay_s)
            await clock.sleep(0)
            bucket.run_until(clock.monotonic() - started_s)
            match op:
                case Ask():
                    calls[number] = tasks.create_task(call(number, op))
                case Cancel(index=index) if index < len(bucket.queue):
                    calls[bucket.queue[index][0]].cancel()
                case Pause(pause_s=pause_s):
                    limiter.pause(pause_s)
                case Change(rate_per_s=rate_per_s):
                    limiter.change(rate_per_s=rate_per_s, burst=BURST)
                case _:
                    pass
            bucket.play(number, op)
            await clock.sleep(0)
            await clock.sleep(0)
    bucket.run_until(math.inf)
    assert limiter.waiting == 0
    assert limiter.returned_permits == 0
    return fates, bucket.fates


# No two things happen at the same moment, so that both agree on their order.
DELAYS = st.integers(0, 30).map(lambda tenths: tenths / 10 + 0.001371)
OPS = st.one_of(
    st.builds(
        Ask,
        cost=st.sampled_from([1.0, 2.0, 4.0]),
        timeout_s=st.sampled_from([0.0, 1.0, 3.0, 100.0]),
    ),
    st.builds(
        Ask,
        cost=st.sampled_from([1.0, 4.0]),
        timeout_s=st.just(100.0),
    ),
    st.builds(Cancel, index=st.integers(0, 3)),
    st.builds(Pause, pause_s=st.sampled_from([0.5, 2.0, 5.0])),
    st.builds(Change, rate_per_s=st.sampled_from([0.5, 2.0, 8.0])),
)


@given(script=st.lists(st.tuples(DELAYS, OPS), max_size=25), seed=st.integers(0, 9))
@settings(max_examples=200, deadline=None)
def test_agrees_with_a_naive_bucket(script: list[tuple[float, Op]], seed: int) -> None:
    """
    Every call is granted at the very time, refused or cancelled as the naive one says.
    """
    with asyncio.Runner(loop_factory=lambda: SimLoop(seed=seed)) as runner:
        actual, expected = runner.run(play(script))

    assert actual.keys() == expected.keys()
    for number, fate in expected.items():
        if isinstance(fate, float):
            assert abs(float(actual[number]) - fate) < TOLERANCE_S
        else:
            assert actual[number] == fate


class Ledger(Meter):
    """
    A meter that keeps the books.
    """

    __slots__ = ("given_back", "granted")

    def __init__(self, *, rate_per_s: float, burst: float) -> None:
        super().__init__(rate_per_s=rate_per_s, burst=burst)
        self.granted = 0.0
        self.given_back = 0.0

    def take(self, now_s: float, cost: float) -> None:
        """
        Book what is granted.
        """
        self.granted += cost
        super().take(now_s, cost)

    def give_back(self, cost: float) -> None:
        """
        Book what comes back.
        """
        self.given_back += cost
        super().give_back(cost)


async def _interleave(randomness: Randomness) -> RateLimiter:
    clock = LoopClock(0.0)
    draws = randomness.stream("interleavings")
    limiter = RateLimiter(
        "upstream",
        options=RateLimiterOptions(rate_per_s=50, burst=20, wait_max_s=5),
        clock=clock,
        bus=EventBus(clock=clock),
    )
    ledger = limiter._meters[0] = Ledger(rate_per_s=50, burst=20)
    asking: dict[asyncio.Task[None], None] = {}
    got = 0
    consumed = 0.0

    async def call() -> None:
        nonlocal got, consumed
        cost = draws.choice([1, 2, 5])
        task = asyncio.current_task()
        assert task is not None
        asking[task] = None
        try:
            await limiter.acquire(cost=cost)
        except RateLimitedError:
            return
        finally:
            del asking[task]
        got += 1
        consumed += cost

    loop = asyncio.get_running_loop()
    async with asyncio.TaskGroup() as tasks:
        for number in range(10_000):
            task = tasks.create_task(call())
            if draws.random() < 0.5:
                loop.call_later(draws.choice([0, 0.02, 0.1, 1]), task.cancel)
            if limiter._timer is not None and asking and draws.random() < 0.1:
                # In the very turn in which it is let out.
                loop.call_at(limiter._timer.when(), next(iter(asking)).cancel)
            if number % 10 == 0:
                await clock.sleep(draws.choice([0, 0.02, 0.1, 0.5]))
    assert got == limiter.granted_permits - limiter.returned_permits
    assert ledger.granted == consumed + ledger.given_back
    assert got > 1000
    assert ledger.given_back > 0
    await clock.sleep(60)
    return limiter


def test_conserves_permits(randomness: Randomness) -> None:
    """
    Over 10,000 interleavings what was granted is what was used and what came back.
    """
    with asyncio.Runner(loop_factory=lambda: SimLoop(seed=randomness.seed)) as runner:
        limiter = runner.run(_interleave(randomness))

    assert limiter.waiting == 0
    assert limiter._queued == [0.0]
    assert limiter._timer is None
