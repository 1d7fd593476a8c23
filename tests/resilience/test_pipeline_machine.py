"""
A whole pipeline against a naive one, over scripts that hypothesis makes up.

Callers come and go, the operator interferes and changes settings while calls are under
way, and somebody sets the wall clock. Both have to agree on what becomes of every call,
and when.
"""

import asyncio
import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.errors import (
    AttemptTimeoutError,
    BulkheadFullError,
    CircuitOpenError,
    RateLimitedError,
    UpstreamStatusError,
)
from harness.events import AttemptEnded, AttemptStarted
from harness.resilience import (
    Attempt,
    BackoffOptions,
    Bulkhead,
    BulkheadOptions,
    CircuitBreaker,
    CircuitBreakerOptions,
    Classified,
    Jitter,
    Outcome,
    Pipeline,
    RateLimiter,
    RateLimiterOptions,
    Retry,
    RetryOptions,
    classify_error,
    classify_status,
)
from harness.testing import Recorder, SimLoop

ATTEMPTS_MAX, BACKOFF_S, TIMEOUT_S = 2, 0.70019, 3.00023
THRESHOLD, BREAK_S, PROBES_MAX, SUCCESSES, LEASE_S = 2, 6.0, 1, 2, 2.5
PERMITS, QUEUE_MAX, QUEUE_S = 2, 2, 2.00029
RATE, BURST, RATE_WAIT_S = 1.01, 2.0, 1.7
TOLERANCE_S = 1e-4

OUTCOMES = {
    200: Outcome.SUCCESS,
    404: Outcome.IGNORED,
    429: Outcome.BACKPRESSURE,
    503: Outcome.FAILURE,
}
RETRYABLE = {429, 503}


@dataclass(frozen=True)
class Come:
    """
    A call comes; its attempts take so long and are answered so.
    """

    attempts: tuple[tuple[float, int], ...]


@dataclass(frozen=True)
class Leave:
    """
    The caller of one of the calls goes away, wherever the call is.
    """

    number: int


@dataclass(frozen=True)
class ByHand:
    """
    The operator takes the circuit in hand.
    """

    what: str


@dataclass(frozen=True)
class Rules:
    """
    The rules of the circuit are changed.
    """

    threshold: int
    break_s: float
    probes_max: int


@dataclass(frozen=True)
class Limits:
    """
    Rate and concurrency are changed.
    """

    rate: float
    permits: int


@dataclass(frozen=True)
class SetWall:
    """
    Somebody sets the wall clock.
    """

    by_s: float


Op = Come | Leave | ByHand | Rules | Limits | SetWall
Fates = dict[int, tuple[str, float]]


@dataclass
class Naive:
    """
    The circuit alone, said as plainly as possible.
    """

    rules: Rules = Rules(THRESHOLD, BREAK_S, PROBES_MAX)
    state: str = "closed"
    era: int = 0
    failures: int = 0
    successes: int = 0
    until_s: float = 0.0
    probes: dict[int, float] = field(default_factory=dict)

    def enter(self, state: str, now_s: float) -> None:
        """
        Begin a new era.
        """
        self.state, self.era = state, self.era + 1
        self.successes, self.probes = 0, {}
        if state == "open":
            self.until_s = now_s + self.rules.break_s
        elif state != "half_open":
            self.failures = 0

    def admits(self, key: int, now_s: float) -> bool:
        """
        Return whether a call gets in; a probe that waits has no lease.
        """
        if self.state == "open" and now_s >= self.until_s:
            self.enter("half_open", now_s)
        if self.state != "half_open":
            return self.state == "closed"
        self.probes = {
            probe: start_s
            for probe, start_s in self.probes.items()
            if now_s < start_s + LEASE_S
        }
        if len(self.probes) >= self.rules.probes_max:
            return False
        self.probes[key] = math.inf
        return True

    def settle(self, key: int, era: int, outcome: Outcome, now_s: float) -> None:
        """
        Take in how a call ended.
        """
        if era != self.era:
            return
        if self.state == "half_open" and self.probes.pop(key, None) is None:
            return
        if outcome in {Outcome.IGNORED, Outcome.BACKPRESSURE}:
            return
        failed = outcome is Outcome.FAILURE
        self.failures = self.failures + 1 if failed else 0
        if self.state == "half_open":
            self.successes += not failed
            if failed:
                self.enter("open", now_s)
            elif self.successes >= SUCCESSES:
                self.enter("closed", now_s)
        elif (
            self.state == "closed" and failed and self.failures >= self.rules.threshold
        ):
            self.enter("open", now_s)


@dataclass
class Call:
    """
    A call, where it is and until when.
    """

    come: Come
    number: int = 1
    era: int = 0
    place: str = "new"
    due_s: float = math.inf


@dataclass
class World:
    """
    Everything that a pipeline has to do, as a list of calls and what is due next.
    """

    circuit: Naive = field(default_factory=Naive)
    calls: dict[int, Call] = field(default_factory=dict)
    fates: Fates = field(default_factory=dict)
    limits: Limits = Limits(RATE, PERMITS)
    queue: list[int] = field(default_factory=list)
    line: list[tuple[int, float]] = field(default_factory=list)
    inside: set[int] = field(default_factory=set)
    tokens: float = BURST
    filled_s: float = 0.0
    granted: int = 0

    def run_until(self, end_s: float) -> None:
        """
        Let everything happen that is due, in order.
        """
        while True:
            due = [(call.due_s, key) for key, call in self.calls.items()]
            if self.line:
                due.append((self._grant_s(0, self.filled_s), self.line[0][0]))
            now_s, key = min(due, default=(math.inf, 0))
            if now_s > end_s or math.isinf(now_s):
                return
            self._fill(now_s)
            call = self.calls[key]
            match call.place:
                case "queue":
                    self._refuse(key, "bulkhead", now_s)
                case "line":
                    self.line.pop(0)
                    self._take(key, now_s)
                case "running":
                    self._end(key, now_s)
                case _:
                    call.number += 1
                    self._ask(key, now_s)

    def play(self, key: int, op: Op, now_s: float) -> None:
        """
        Do one step of the script.
        """
        self._fill(now_s)
        match op:
            case Come():
                self.calls[key] = Call(op)
                self._ask(key, now_s)
            case Leave(number=number) if number in self.calls:
                self._leave(number, Outcome.IGNORED, now_s)
                self._close(number, "cancelled", now_s)
            case ByHand(what="reset"):
                self.circuit.enter("closed", now_s)
            case ByHand(what=what) if self.circuit.state != what:
                self.circuit.enter(what, now_s)
            case Rules():
                self.circuit.rules = op
            case Limits():
                self.limits = op
                for place, (waiting, latest_s) in enumerate(list(self.line)):
                    gone = len(self.line)
                    if self._grant_s(place, now_s) > latest_s + TOLERANCE_S / 10:
                        self._refuse(waiting, "rate", now_s)
                    if len(self.line) < gone:
                        # Those behind have moved up: look at all of them again.
                        self.play(key, op, now_s)
                        return
                self._hand_on(now_s)
            case _:
                pass

    # Where a call goes ----------------------------------------------------------------

    def _ask(self, key: int, now_s: float) -> None:
        call = self.calls[key]
        call.due_s = math.inf
        if not self.circuit.admits(key, now_s):
            self._close(key, "circuit", now_s)
            return
        call.era = self.circuit.era
        if len(self.inside) < self.limits.permits and not self.queue:
            self._enter(key, now_s)
        elif len(self.queue) < QUEUE_MAX:
            call.place, call.due_s = "queue", now_s + QUEUE_S
            self.queue.append(key)
        else:
            self._refuse(key, "bulkhead", now_s)

    def _enter(self, key: int, now_s: float) -> None:
        self.inside.add(key)
        call = self.calls[key]
        call.place, call.due_s = "line", math.inf
        if not self.line and self.tokens >= 1 - TOLERANCE_S / 10:
            self._take(key, now_s)
        elif self._grant_s(len(self.line), now_s) > now_s + RATE_WAIT_S:
            self._refuse(key, "rate", now_s)
        else:
            self.line.append((key, now_s + RATE_WAIT_S))

    def _take(self, key: int, now_s: float) -> None:
        self.tokens -= 1
        self.granted += 1
        call, circuit = self.calls[key], self.circuit
        if call.era != circuit.era and circuit.state != "closed":
            self._refuse(key, "circuit", now_s)
            return
        duration_s, _status = call.come.attempts[call.number - 1]
        call.place, call.due_s = "running", now_s + min(duration_s, TIMEOUT_S)
        if key in circuit.probes and call.era == circuit.era:
            circuit.probes[key] = now_s

    def _end(self, key: int, now_s: float) -> None:
        call, circuit = self.calls[key], self.circuit
        duration_s, status = call.come.attempts[call.number - 1]
        is_late = duration_s > TIMEOUT_S
        outcome = Outcome.FAILURE if is_late else OUTCOMES[status]
        call.place = "deciding"
        self._leave(key, outcome, now_s, hands_on=False)
        wait_s = BACKOFF_S
        is_blocked = False
        if circuit.state == "open":
            blocked_s = max(circuit.until_s - now_s, 0.0)
            is_blocked = wait_s < blocked_s
        if outcome is Outcome.SUCCESS:
            self._close(key, "done", now_s)
        elif not is_late and status not in RETRYABLE:
            self._close(key, f"status {status}", now_s)
        elif call.number >= ATTEMPTS_MAX or is_blocked:
            self._close(key, "timeout" if is_late else f"status {status}", now_s)
        else:
            call.place, call.due_s = "backoff", now_s + wait_s
        self._hand_on(now_s)

    def _refuse(self, key: int, why: str, now_s: float) -> None:
        self._leave(key, Outcome.IGNORED, now_s)
        self._close(key, why, now_s)

    def _leave(
        self, key: int, outcome: Outcome, now_s: float, *, hands_on: bool = True
    ) -> None:
        call = self.calls[key]
        if call.place == "backoff":
            return
        self.queue = [waiting for waiting in self.queue if waiting != key]
        self.line = [waiting for waiting in self.line if waiting[0] != key]
        self.inside.discard(key)
        self.circuit.settle(key, call.era, outcome, now_s)
        if hands_on:
            self._hand_on(now_s)

    def _hand_on(self, now_s: float) -> None:
        while self.queue and len(self.inside) < self.limits.permits:
            self._enter(self.queue.pop(0), now_s)

    def _close(self, key: int, fate: str, now_s: float) -> None:
        self.fates[key] = (fate, now_s)
        del self.calls[key]

    # The bucket -----------------------------------------------------------------------

    def _fill(self, now_s: float) -> None:
        gained = (now_s - self.filled_s) * self.limits.rate
        self.tokens = min(BURST, self.tokens + gained)
        self.filled_s = now_s

    def _grant_s(self, place: int, now_s: float) -> float:
        return now_s + max(place + 1 - self.tokens, 0.0) / self.limits.rate


# The real one -------------------------------------------------------------------------


class SettableClock(LoopClock):
    """
    A clock whose wall time can be set.
    """

    offset_s = 0.0

    def wall(self) -> float:
        """
        Return what somebody made of the time.
        """
        return super().wall() + self.offset_s


def classify(error: BaseException | None) -> Classified:
    """
    Read statuses from errors.
    """
    if isinstance(error, UpstreamStatusError):
        return classify_status(error.status)
    return classify_error(error)


class Bench:
    """
    A pipeline with everything on, and a hand on each strategy.
    """

    def __init__(self, clock: SettableClock, bus: EventBus) -> None:
        self.clock = clock
        self.rules = CircuitBreakerOptions(
            failure_threshold=THRESHOLD,
            break_duration_s=BREAK_S,
            probes_max=PROBES_MAX,
            successes_to_close=SUCCESSES,
            probe_lease_s=LEASE_S,
        )
        draws = random.Random(0)  # noqa: S311 - no jitter is asked for
        self.breaker = CircuitBreaker(
            "upstream", options=self.rules, clock=clock, bus=bus, draws=draws
        )
        self.bulkhead = Bulkhead(
            "upstream",
            options=BulkheadOptions(
                permits_max=PERMITS, waiting_max=QUEUE_MAX, wait_max_s=QUEUE_S
            ),
            clock=clock,
            bus=bus,
        )
        self.limiter = RateLimiter(
            "upstream",
            options=RateLimiterOptions(
                rate_per_s=RATE, burst=BURST, wait_max_s=RATE_WAIT_S
            ),
            clock=clock,
            bus=bus,
        )
        retry = Retry(
            options=RetryOptions(
                attempts_max=ATTEMPTS_MAX,
                backoff=BackoffOptions(base_s=BACKOFF_S, jitter=Jitter.NONE),
            ),
            budget=None,
            clock=clock,
            bus=bus,
            draws=draws,
        )
        self.pipeline = Pipeline(
            "upstream",
            strategies=[retry, self.breaker, self.bulkhead, self.limiter],
            classify=classify,
            clock=clock,
            bus=bus,
            attempt_timeout_s=TIMEOUT_S,
        )

    async def call(self, come: Come) -> str:
        """
        Make a call and say what became of it.
        """

        async def make(attempt: Attempt) -> str:
            duration_s, status = come.attempts[attempt.number - 1]
            await self.clock.sleep(duration_s)
            if status != 200:
                raise UpstreamStatusError(status=status)
            return "done"

        try:
            return await self.pipeline.execute(make, operation="chat")
        except UpstreamStatusError as error:
            return f"status {error.status}"
        except AttemptTimeoutError:
            return "timeout"
        except CircuitOpenError:
            return "circuit"
        except BulkheadFullError:
            return "bulkhead"
        except RateLimitedError:
            return "rate"

    def interfere(self, op: Op) -> None:
        """
        Do what the operator does.
        """
        breaker = self.breaker
        by_hand: dict[str, Callable[[], None]] = {
            "reset": breaker.reset,
            "isolated": breaker.isolate,
            "closed": breaker.close,
            "open": breaker.open,
        }
        match op:
            case ByHand(what=what):
                by_hand[what]()
            case Rules(threshold=threshold, break_s=break_s, probes_max=probes_max):
                self.rules = replace(
                    self.rules,
                    failure_threshold=threshold,
                    break_duration_s=break_s,
                    probes_max=probes_max,
                )
                breaker.change(self.rules)
            case Limits(rate=rate, permits=permits):
                self.limiter.change(rate_per_s=rate, burst=BURST)
                self.bulkhead.change(permits_max=permits)
            case SetWall(by_s=by_s):
                self.clock.offset_s += by_s
            case _:
                pass


async def play(
    script: Sequence[tuple[float, Op]], recorder: Recorder
) -> tuple[Fates, World]:
    """
    Play a script to both, and return what became of each call.
    """
    clock = SettableClock(1_700_000_000.0)
    bus = EventBus(clock=clock)
    bench, world, fates = Bench(clock, bus), World(), Fates()
    started_s = clock.monotonic()
    calls: dict[int, asyncio.Task[None]] = {}

    async def call(key: int, come: Come) -> None:
        fate = "cancelled"
        try:
            fate = await bench.call(come)
        finally:
            fates[key] = (fate, clock.monotonic() - started_s)

    with bus.listening(recorder.record):
        async with asyncio.TaskGroup() as tasks:
            for key, (delay_s, op) in enumerate(script):
                await clock.sleep(delay_s)
                now_s = clock.monotonic() - started_s
                world.run_until(now_s)
                match op:
                    case Come():
                        calls[key] = tasks.create_task(call(key, op))
                    case Leave(number=number) if number in calls:
                        calls[number].cancel()
                    case _:
                        bench.interfere(op)
                world.play(key, op, now_s)
                for _ in range(10):
                    await clock.sleep(0)
                assert bench.breaker.state == world.circuit.state
                assert bench.breaker.snapshot().failures == world.circuit.failures
                assert bench.bulkhead.waiting == len(world.queue)
                assert bench.bulkhead.in_use == len(world.inside)
                assert bench.limiter.waiting == len(world.line)
                assert bench.pipeline.in_flight == len(world.calls)
    world.run_until(math.inf)
    assert (bench.bulkhead.in_use, bench.bulkhead.waiting) == (0, 0)
    assert (bench.limiter.waiting, bench.pipeline.in_flight) == (0, 0)
    assert bench.breaker.snapshot().probes == 0
    limiter = bench.limiter
    assert limiter.granted_permits - limiter.returned_permits == world.granted
    return fates, world


# No two things happen at the same moment, so that both agree on their order.
DELAYS = st.sampled_from([0, 0, 1, 3, 12]).map(lambda tenths: tenths / 10 + 0.001371)
DURATIONS = st.sampled_from([0.10003, 0.90007, 2.70011, 7.0])
STATUSES = st.sampled_from([200, 200, 503, 503, 429, 404])
COMES = st.builds(
    Come,
    attempts=st.tuples(*[st.tuples(DURATIONS, STATUSES)] * ATTEMPTS_MAX),
)
LEAVES = st.builds(Leave, number=st.integers(0, 12))
DEEDS = st.one_of(
    st.builds(ByHand, what=st.sampled_from(["reset", "isolated", "closed", "open"])),
    st.builds(
        Rules,
        threshold=st.sampled_from([1, 2, 4]),
        break_s=st.sampled_from([1.0, 6.0]),
        probes_max=st.sampled_from([1, 2]),
    ),
    st.builds(
        Limits,
        rate=st.sampled_from([0.51, 2.03, 8.07]),
        permits=st.sampled_from([1, 2, 4]),
    ),
    st.builds(SetWall, by_s=st.sampled_from([-3600.0, 3600.0])),
)
OPS = st.sampled_from([COMES] * 3 + [LEAVES, DEEDS]).flatmap(lambda chosen: chosen)


@given(
    script=st.lists(st.tuples(DELAYS, OPS), min_size=5, max_size=40),
    seed=st.integers(0, 9),
)
@settings(max_examples=100, deadline=None)
def test_agrees_with_a_naive_pipeline(
    script: list[tuple[float, Op]], seed: int
) -> None:
    """
    Every call ends as the naive pipeline says, at the very time, whatever is changed.
    """
    recorder = Recorder()
    with asyncio.Runner(loop_factory=lambda: SimLoop(seed=seed)) as runner:
        fates, world = runner.run(play(script, recorder))

    expected = {key: fate for key, (fate, _at_s) in world.fates.items()}
    assert {key: fate for key, (fate, _at_s) in fates.items()} == expected
    for key, (_fate, at_s) in world.fates.items():
        assert abs(fates[key][1] - at_s) < TOLERANCE_S
    assert len(recorder.of(AttemptStarted)) == len(recorder.of(AttemptEnded))
