"""
The sixteen properties that a circuit breaker has to keep.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable

import pytest

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.errors import CircuitOpenError, UsageError
from harness.events import Envelope, ProbeExpired, StaleOutcomeIgnored
from harness.randomness import Randomness
from harness.resilience import (
    Attempt,
    CircuitBreaker,
    CircuitBreakerOptions,
    CircuitPermit,
    CircuitState,
    Outcome,
    Pipeline,
)
from harness.testing import WALL_EPOCH_S, Recorder

pytestmark = pytest.mark.virtual_time

MakeBreaker = Callable[..., CircuitBreaker]
MakePipeline = Callable[..., Pipeline]
Trip = Callable[[CircuitBreaker], None]
Call = Callable[[Attempt], Awaitable[str]]


def breaker_of(pipeline: Pipeline) -> CircuitBreaker:
    """
    Return the breaker among the strategies of a pipeline.
    """
    (breaker,) = [
        strategy
        for strategy in pipeline.strategies
        if isinstance(strategy, CircuitBreaker)
    ]
    return breaker


async def cancel_one(pipeline: Pipeline, call: Call, clock: LoopClock) -> None:
    """
    Start a call and cancel it while it runs.
    """
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(pipeline.execute(call, operation="chat"))
        await clock.sleep(1)
        task.cancel()


async def half_open(breaker: CircuitBreaker, trip: Trip, clock: LoopClock) -> None:
    """
    Open a circuit and wait until its break is over.
    """
    trip(breaker)
    await clock.sleep(30)


async def test_cancelled_call_is_neutral_when_closed(
    make_pipeline: MakePipeline,
    answers: Callable[..., Call],
    hang: Call,
    clock: LoopClock,
) -> None:
    """
    A call that we cancel neither ends a run of failures nor lengthens it.
    """
    pipeline = make_pipeline(circuit_breaker=CircuitBreakerOptions())
    for _ in range(4):
        with pytest.raises(ConnectionResetError):
            await pipeline.execute(answers(ConnectionResetError()), operation="chat")

    await cancel_one(pipeline, hang, clock)

    assert breaker_of(pipeline).snapshot().failures == 4
    with pytest.raises(ConnectionResetError):
        await pipeline.execute(answers(ConnectionResetError()), operation="chat")
    assert breaker_of(pipeline).state is CircuitState.OPEN


async def test_ignored_error_is_neutral_when_closed(
    make_pipeline: MakePipeline, answers: Callable[..., Call]
) -> None:
    """
    A storm of the caller's own mistakes hides no failure of the peer.
    """
    pipeline = make_pipeline(circuit_breaker=CircuitBreakerOptions())
    breaker = breaker_of(pipeline)
    for _ in range(4):
        breaker.settle(breaker.admit(), Outcome.FAILURE)

    for _ in range(10):
        with pytest.raises(UsageError):
            await pipeline.execute(answers(UsageError("mine")), operation="chat")

    assert breaker.snapshot().failures == 4
    assert breaker.state is CircuitState.CLOSED


async def test_half_open_admits_as_many_probes_as_allowed(
    make_pipeline: MakePipeline, trip: Trip, clock: LoopClock
) -> None:
    """
    Of fifty calls at once a half-open circuit lets three through.
    """
    pipeline = make_pipeline(circuit_breaker=CircuitBreakerOptions())
    await half_open(breaker_of(pipeline), trip, clock)
    made = 0

    async def call(attempt: Attempt) -> str:
        nonlocal made
        del attempt
        made += 1
        await clock.sleep(1)
        return "hello"

    async def try_one() -> bool:
        try:
            await pipeline.execute(call, operation="chat")
        except CircuitOpenError:
            return False
        return True

    async with asyncio.TaskGroup() as tasks:
        calls = [tasks.create_task(try_one()) for _ in range(50)]

    assert made == 3
    assert sum(call.result() for call in calls) == 3
    assert breaker_of(pipeline).state is CircuitState.CLOSED


async def test_cancelled_probe_is_neutral(
    make_pipeline: MakePipeline, trip: Trip, hang: Call, clock: LoopClock
) -> None:
    """
    A cancelled probe frees its slot and leaves the circuit half-open.
    """
    pipeline = make_pipeline(circuit_breaker=CircuitBreakerOptions())
    breaker = breaker_of(pipeline)
    await half_open(breaker, trip, clock)

    for _ in range(10):
        await cancel_one(pipeline, hang, clock)

    assert breaker.state is CircuitState.HALF_OPEN
    assert breaker.snapshot().probes == 0
    assert breaker.snapshot().successes == 0


async def test_ignored_probe_is_neutral(
    make_breaker: MakeBreaker, trip: Trip, clock: LoopClock
) -> None:
    """
    A probe that says nothing about the peer frees its slot, and nothing else.
    """
    breaker = make_breaker()
    await half_open(breaker, trip, clock)

    for _ in range(10):
        breaker.settle(breaker.admit(), Outcome.IGNORED)

    assert breaker.state is CircuitState.HALF_OPEN
    assert breaker.snapshot().probes == 0
    assert breaker.snapshot().successes == 0


async def test_late_success_does_not_close(
    make_breaker: MakeBreaker, trip: Trip, recorder: Recorder
) -> None:
    """
    A success that was admitted before the circuit opened leaves it open.
    """
    breaker = make_breaker()
    late = breaker.admit()
    trip(breaker)

    breaker.settle(late, Outcome.SUCCESS)

    assert breaker.state is CircuitState.OPEN
    assert [event.outcome for event in recorder.of(StaleOutcomeIgnored)] == ["success"]


async def test_late_failure_does_not_extend_the_break(
    make_breaker: MakeBreaker, trip: Trip, clock: LoopClock
) -> None:
    """
    A failure that was admitted before the circuit opened does not make it wait longer.
    """
    breaker = make_breaker()
    late = breaker.admit()
    trip(breaker)
    await clock.sleep(20)

    breaker.settle(late, Outcome.FAILURE)

    assert breaker.snapshot().retry_after_s == pytest.approx(10)
    await clock.sleep(10)
    assert breaker.admit().is_probe


async def test_stale_probe_is_ignored(
    make_breaker: MakeBreaker, trip: Trip, clock: LoopClock, recorder: Recorder
) -> None:
    """
    A probe of an earlier half-open period frees no slot and decides nothing.
    """
    breaker = make_breaker()
    await half_open(breaker, trip, clock)
    stale = breaker.admit()
    breaker.settle(breaker.admit(), Outcome.FAILURE)
    await clock.sleep(30)
    held = [breaker.admit() for _ in range(3)]

    breaker.settle(stale, Outcome.FAILURE)

    assert breaker.state is CircuitState.HALF_OPEN
    assert breaker.snapshot().probes == len(held)
    assert len(recorder.of(StaleOutcomeIgnored)) == 1
    with pytest.raises(CircuitOpenError):
        breaker.admit()


@pytest.mark.parametrize("outcome", [Outcome.FAILURE, Outcome.SUCCESS])
async def test_call_from_before_the_trip_decides_nothing_when_half_open(
    make_breaker: MakeBreaker, trip: Trip, clock: LoopClock, outcome: Outcome
) -> None:
    """
    What was admitted before the trip neither reopens nor helps to close.
    """
    breaker = make_breaker()
    late = [breaker.admit() for _ in range(5)]
    await half_open(breaker, trip, clock)
    probe = breaker.admit()

    for permit in late:
        breaker.settle(permit, outcome)

    assert breaker.state is CircuitState.HALF_OPEN
    assert breaker.snapshot().successes == 0
    breaker.settle(probe, Outcome.SUCCESS)
    assert breaker.snapshot().successes == 1


class SteppedClock(LoopClock):
    """
    A clock whose wall time somebody sets.
    """

    def __init__(self) -> None:
        super().__init__(WALL_EPOCH_S)
        self.step_s = 0.0

    def wall(self) -> float:
        """
        Return wall time as somebody set it.
        """
        return super().wall() + self.step_s


@pytest.mark.parametrize("step_s", [-3600.0, 3600.0])
async def test_wall_clock_is_harmless(
    bus: EventBus, randomness: Randomness, trip: Trip, step_s: float
) -> None:
    """
    A wall clock that is set by an hour neither shortens nor lengthens a break.
    """
    clock = SteppedClock()
    breaker = CircuitBreaker(
        "upstream",
        options=CircuitBreakerOptions(failure_ratio=0.5),
        clock=clock,
        bus=bus,
        draws=randomness.stream("breaker"),
    )
    trip(breaker)
    clock.step_s = step_s

    await clock.sleep(29.9)

    with pytest.raises(CircuitOpenError):
        breaker.admit()
    await clock.sleep(0.1)
    assert breaker.admit().is_probe


async def test_hung_probes_do_not_wedge_the_circuit(
    make_breaker: MakeBreaker, trip: Trip, clock: LoopClock, recorder: Recorder
) -> None:
    """
    Probes that never end lose their slots when their lease is over.
    """
    breaker = make_breaker(probe_lease_s=60)
    await half_open(breaker, trip, clock)
    hung = [breaker.admit() for _ in range(3)]
    await clock.sleep(59)
    with pytest.raises(CircuitOpenError) as full:
        breaker.admit()
    assert full.value.retry_after_s == 1

    await clock.sleep(1)
    for _ in range(3):
        breaker.settle(breaker.admit(), Outcome.SUCCESS)

    assert breaker.state is CircuitState.CLOSED
    assert len(recorder.of(ProbeExpired)) == 3
    breaker.settle(hung[0], Outcome.FAILURE)
    assert breaker.snapshot().failures == 0


async def test_rejection_carries_the_remaining_time(
    make_breaker: MakeBreaker, trip: Trip, clock: LoopClock
) -> None:
    """
    Whoever is refused learns who refused, why, and for how long; each in an own error.
    """
    breaker = make_breaker()
    trip(breaker)
    await clock.sleep(12)

    with pytest.raises(CircuitOpenError) as first:
        breaker.admit()
    with pytest.raises(CircuitOpenError) as second:
        breaker.admit()

    assert first.value.retry_after_s == pytest.approx(18)
    assert (first.value.circuit, first.value.state) == ("upstream", "open")
    assert first.value.reason == "circuit_open"
    assert first.value is not second.value


async def test_successes_are_counted_from_zero_each_time(
    make_breaker: MakeBreaker, trip: Trip, clock: LoopClock
) -> None:
    """
    Successes of one half-open period do not help to close the next.
    """
    breaker = make_breaker()
    await half_open(breaker, trip, clock)
    for outcome in (Outcome.SUCCESS, Outcome.SUCCESS, Outcome.FAILURE):
        breaker.settle(breaker.admit(), outcome)
    await clock.sleep(30)

    for _ in range(2):
        breaker.settle(breaker.admit(), Outcome.SUCCESS)

    assert breaker.state is CircuitState.HALF_OPEN
    breaker.settle(breaker.admit(), Outcome.SUCCESS)
    assert breaker.snapshot().state is CircuitState.CLOSED


async def test_listeners_harm_nobody(
    make_breaker: MakeBreaker, bus: EventBus, clock: LoopClock, trip: Trip
) -> None:
    """
    A listener that raises, that never reads, or that calls back breaks nothing.
    """
    breaker = make_breaker()

    def raises(envelope: Envelope) -> None:
        raise RuntimeError(envelope.number)

    def calls_back(envelope: Envelope) -> None:
        del envelope
        breaker.snapshot()
        if breaker.state is CircuitState.HALF_OPEN:
            breaker.isolate()

    with (
        bus.listening(raises),
        bus.listening(calls_back),
        bus.subscribed("sleepy", events_max=1) as sleepy,
    ):
        await half_open(breaker, trip, clock)
        probe = breaker.admit()

        assert breaker.state is CircuitState.ISOLATED
        breaker.settle(probe, Outcome.FAILURE)
        assert breaker.state is CircuitState.ISOLATED
    assert sleepy.dropped_events > 0
    assert bus.failed_listeners > 0


async def test_admission_conserves_permits(
    make_breaker: MakeBreaker, randomness: Randomness, clock: LoopClock
) -> None:
    """
    Over 10,000 random interleavings no slot is lost, doubled or given twice.
    """
    draws: random.Random = randomness.stream("interleavings")
    breaker = make_breaker(failure_threshold=2, break_duration_s=3, probe_lease_s=5)
    held: list[CircuitPermit] = []
    admitted = settled = refused = 0

    for _ in range(10_000):
        match draws.randrange(8):
            case 0 | 1 | 2:
                try:
                    held.append(breaker.admit())
                    admitted += 1
                except CircuitOpenError:
                    refused += 1
            case 3 | 4 | 5 | 6 if held:
                permit = held.pop(draws.randrange(len(held)))
                breaker.settle(permit, draws.choice(list(Outcome)))
                settled += 1
            case _:
                await clock.sleep(draws.choice([0, 0.1, 1, 3]))
        probes = [
            permit
            for permit in held
            if permit.is_probe
            and not permit.has_expired
            and permit.generation == breaker.snapshot().generation
        ]
        assert breaker.snapshot().probes == len(probes) <= 3

    assert admitted == settled + len(held)
    assert len(set(map(id, held))) == len(held)
    assert refused > 0
