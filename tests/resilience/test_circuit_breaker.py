"""
The circuit breaker beyond its sixteen properties.
"""

import itertools
from collections.abc import Callable

import pytest

from harness.clock import LoopClock
from harness.errors import CircuitOpenError, TransitionError
from harness.events import (
    CircuitChanged,
    CircuitWouldHaveOpened,
    ProbeEnded,
    ProbeStarted,
)
from harness.resilience import (
    TRANSITIONS,
    CircuitBreaker,
    CircuitEvent,
    CircuitState,
    Outcome,
)
from harness.testing import Recorder

pytestmark = pytest.mark.virtual_time

MakeBreaker = Callable[..., CircuitBreaker]
Trip = Callable[[CircuitBreaker], None]


def settle(breaker: CircuitBreaker, *outcomes: Outcome, duration_s: float = 0) -> None:
    """
    Make calls that end at once, with these outcomes.
    """
    for outcome in outcomes:
        breaker.settle(breaker.admit(), outcome, duration_s=duration_s)


async def test_opens_after_the_threshold_of_failures_in_a_row(
    make_breaker: MakeBreaker, recorder: Recorder
) -> None:
    """
    Five failures in a row open the circuit, and the event says why.
    """
    breaker = make_breaker()
    settle(breaker, *[Outcome.FAILURE] * 4, Outcome.SUCCESS, *[Outcome.FAILURE] * 4)
    assert breaker.state is CircuitState.CLOSED

    settle(breaker, Outcome.FAILURE)

    (event,) = recorder.of(CircuitChanged)
    assert (event.from_state, event.to_state) == ("closed", "open")
    assert (event.reason, event.failures) == ("consecutive_failures", 5)
    assert event.break_duration_s == 30


async def test_probes_close_the_circuit(
    make_breaker: MakeBreaker, trip: Trip, clock: LoopClock, recorder: Recorder
) -> None:
    """
    After exactly the break, three probes that succeed close the circuit.
    """
    breaker = make_breaker()
    trip(breaker)
    await clock.sleep(30)

    settle(breaker, *[Outcome.SUCCESS] * 3)

    path = [event.to_state for event in recorder.of(CircuitChanged)]
    assert path == ["open", "half_open", "closed"]
    assert [event.probes for event in recorder.of(ProbeStarted)] == [1, 1, 1]
    assert [event.successes for event in recorder.of(ProbeEnded)] == [1, 2, 3]
    assert [event.generation for event in recorder.of(CircuitChanged)] == [2, 3, 4]
    assert breaker.snapshot().failures == 0


async def test_judges_the_ratio_over_a_count_of_samples(
    make_breaker: MakeBreaker,
) -> None:
    """
    With enough samples the share of failures among the last ten opens the circuit.
    """
    breaker = make_breaker(
        failure_threshold=None, failure_ratio=0.5, window_calls=10, minimum_throughput=4
    )
    settle(breaker, Outcome.SUCCESS, Outcome.SUCCESS, Outcome.FAILURE)
    assert breaker.state is CircuitState.CLOSED

    settle(breaker, Outcome.FAILURE)

    assert breaker.snapshot().state is CircuitState.OPEN


async def test_judges_the_ratio_after_successes_too(make_breaker: MakeBreaker) -> None:
    """
    A success that completes the minimum of samples may open the circuit.
    """
    breaker = make_breaker(
        failure_threshold=None, failure_ratio=0.5, minimum_throughput=4
    )

    settle(breaker, *[Outcome.FAILURE] * 3, Outcome.SUCCESS)

    assert breaker.state is CircuitState.OPEN


async def test_old_samples_leave_the_window_of_time(
    make_breaker: MakeBreaker, clock: LoopClock
) -> None:
    """
    Samples older than the sampling duration are not judged.
    """
    breaker = make_breaker(
        failure_threshold=None,
        failure_ratio=0.5,
        minimum_throughput=4,
        sampling_duration_s=10,
    )
    settle(breaker, *[Outcome.FAILURE] * 3)
    await clock.sleep(10)

    settle(breaker, Outcome.FAILURE)

    assert breaker.state is CircuitState.CLOSED
    assert breaker.snapshot().samples == 1


async def test_slow_calls_open_the_circuit(
    make_breaker: MakeBreaker, recorder: Recorder, clock: LoopClock
) -> None:
    """
    Too large a share of slow calls opens the circuit, and a slow probe reopens it.
    """
    breaker = make_breaker(slow_ratio=0.5, slow_call_s=2, slow_minimum_throughput=4)

    settle(breaker, *[Outcome.SUCCESS] * 4, duration_s=2)
    assert breaker.snapshot().slow_samples == 0
    settle(breaker, *[Outcome.SUCCESS] * 3, duration_s=2.1)
    assert breaker.snapshot().state is CircuitState.CLOSED
    settle(breaker, Outcome.SUCCESS, duration_s=2.1)

    assert [event.reason for event in recorder.of(CircuitChanged)] == ["slow_ratio"]
    await clock.sleep(30)
    settle(breaker, Outcome.SUCCESS, duration_s=3)
    assert breaker.state is CircuitState.OPEN


async def test_break_grows_with_every_reopening(
    make_breaker: MakeBreaker, trip: Trip, clock: LoopClock, recorder: Recorder
) -> None:
    """
    Each probe that fails makes the next break longer, up to the limit; closing resets.
    """
    breaker = make_breaker(
        break_duration_s=1, break_factor=2, break_max_s=5, successes_to_close=1
    )
    trip(breaker)
    for break_s in (1, 2, 4):
        await clock.sleep(break_s)
        settle(breaker, Outcome.FAILURE)
    await clock.sleep(5)
    settle(breaker, Outcome.SUCCESS)
    trip(breaker)

    breaks = [
        event.break_duration_s
        for event in recorder.of(CircuitChanged)
        if event.to_state == "open"
    ]
    assert breaks == pytest.approx([1, 2, 4, 5, 1])


async def test_break_is_spread_but_never_shorter(
    make_breaker: MakeBreaker, recorder: Recorder
) -> None:
    """
    Jitter lengthens breaks by up to its share, so that instances do not probe together.
    """
    breaker = make_breaker(failure_threshold=1, break_duration_s=10, break_jitter=0.2)
    for _ in range(50):
        settle(breaker, Outcome.FAILURE)
        breaker.close()

    breaks = {
        event.break_duration_s
        for event in recorder.of(CircuitChanged)
        if event.break_duration_s is not None
    }
    assert len(breaks) == 50
    assert 10 <= min(breaks) < 10.5
    assert 11.5 < max(breaks) <= 12


@pytest.mark.parametrize(("asked_s", "break_s"), [(5, 30), (45, 45), (1800, 60)])
async def test_break_is_as_long_as_the_peer_asked_for(
    make_breaker: MakeBreaker, asked_s: float, break_s: float
) -> None:
    """
    A ``Retry-After`` of the answer that opens lengthens the break, within the limit.
    """
    breaker = make_breaker(failure_threshold=1, break_max_s=60)

    breaker.settle(breaker.admit(), Outcome.FAILURE, retry_after_s=asked_s)

    assert breaker.snapshot().retry_after_s == pytest.approx(break_s)


async def test_backpressure_does_not_touch_the_circuit(
    make_breaker: MakeBreaker,
) -> None:
    """
    Any number of 429 neither trips a circuit nor ends a run of failures.
    """
    breaker = make_breaker()
    settle(breaker, *[Outcome.FAILURE] * 4)

    settle(breaker, *[Outcome.BACKPRESSURE] * 50)

    assert breaker.state is CircuitState.CLOSED
    assert breaker.snapshot().failures == 4


async def test_backpressure_in_a_row_counts_if_asked_for(
    make_breaker: MakeBreaker,
) -> None:
    """
    With a threshold, so many 429 in a row are one failure, and others end the row.
    """
    breaker = make_breaker(backpressure_threshold=3)
    settle(breaker, *[Outcome.BACKPRESSURE] * 2, Outcome.FAILURE)
    settle(breaker, *[Outcome.BACKPRESSURE] * 2)
    assert breaker.snapshot().failures == 1

    settle(breaker, Outcome.IGNORED, Outcome.BACKPRESSURE)

    assert breaker.snapshot().failures == 2


@pytest.mark.parametrize("is_auto", [False, True])
async def test_half_open_by_timer_only_when_asked(
    make_breaker: MakeBreaker, trip: Trip, clock: LoopClock, *, is_auto: bool
) -> None:
    """
    Without the option an open circuit waits for a call; with it, for the time alone.
    """
    breaker = make_breaker(auto_half_open=is_auto)
    trip(breaker)

    await clock.sleep(30)

    expected = CircuitState.HALF_OPEN if is_auto else CircuitState.OPEN
    assert breaker.state is expected


async def test_timer_of_an_earlier_break_is_harmless(
    make_breaker: MakeBreaker, trip: Trip, clock: LoopClock
) -> None:
    """
    A circuit that was closed by hand and opened again serves its whole break.
    """
    breaker = make_breaker(auto_half_open=True)
    trip(breaker)
    await clock.sleep(20)
    breaker.close()
    trip(breaker)

    await clock.sleep(29)

    assert breaker.state is CircuitState.OPEN
    await clock.sleep(1)
    assert breaker.snapshot().state is CircuitState.HALF_OPEN


async def test_lease_runs_from_the_start_of_the_call(
    make_breaker: MakeBreaker, trip: Trip, clock: LoopClock
) -> None:
    """
    A probe that queues for other permits does not lose its slot meanwhile.
    """
    breaker = make_breaker(probes_max=1, probe_lease_s=10)
    trip(breaker)
    await clock.sleep(30)
    probe = breaker.admit(queued=True)
    await clock.sleep(100)
    with pytest.raises(CircuitOpenError):
        breaker.admit()

    breaker.start(probe)
    await clock.sleep(9)

    with pytest.raises(CircuitOpenError):
        breaker.admit()
    await clock.sleep(1)
    assert breaker.admit().is_probe


async def test_settling_twice_changes_nothing(
    make_breaker: MakeBreaker, trip: Trip, clock: LoopClock
) -> None:
    """
    Only the first outcome of a permit counts, and its slot is freed once.
    """
    breaker = make_breaker()
    trip(breaker)
    await clock.sleep(30)
    probe, other = breaker.admit(), breaker.admit()

    for _ in range(5):
        breaker.settle(probe, Outcome.SUCCESS)

    assert breaker.snapshot().successes == 1
    assert breaker.snapshot().probes == 1
    assert not other.is_over


async def test_permit_is_returned_on_every_way_out(
    make_breaker: MakeBreaker, trip: Trip, clock: LoopClock
) -> None:
    """
    A permit that is held with ``with`` is freed when the body raises.
    """
    breaker = make_breaker(probes_max=1)
    trip(breaker)
    await clock.sleep(30)

    for _ in range(10):
        with pytest.raises(KeyError), breaker.permit():
            raise KeyError

    assert breaker.snapshot().probes == 0
    assert breaker.state is CircuitState.HALF_OPEN


async def test_isolated_circuit_ignores_time_and_outcomes(
    make_breaker: MakeBreaker, clock: LoopClock
) -> None:
    """
    What was isolated by hand is let go by hand only.
    """
    breaker = make_breaker(auto_half_open=True)
    late = breaker.admit()
    breaker.isolate()
    await clock.sleep(86_400)

    with pytest.raises(CircuitOpenError) as caught:
        breaker.admit()
    breaker.settle(late, Outcome.SUCCESS)

    assert caught.value.state == "isolated"
    assert breaker.state is CircuitState.ISOLATED
    breaker.reset()
    settle(breaker, Outcome.SUCCESS)
    assert breaker.snapshot().state is CircuitState.CLOSED


async def test_disabled_circuit_lets_everything_through(
    make_breaker: MakeBreaker,
) -> None:
    """
    A disabled circuit never opens and keeps no figures.
    """
    breaker = make_breaker(failure_ratio=0.5, minimum_throughput=1)
    breaker.disable()

    settle(breaker, *[Outcome.FAILURE] * 50)

    assert breaker.state is CircuitState.DISABLED
    assert breaker.snapshot().failures == 0
    assert breaker.snapshot().samples == 0


async def test_observing_circuit_says_what_it_would_have_done(
    make_breaker: MakeBreaker, recorder: Recorder
) -> None:
    """
    An observing circuit lets everything through and names each broken rule once.
    """
    breaker = make_breaker(failure_ratio=0.5, minimum_throughput=2)
    breaker.observe()

    settle(breaker, *[Outcome.FAILURE] * 50)

    reasons = [event.reason for event in recorder.of(CircuitWouldHaveOpened)]
    assert reasons == ["failure_ratio", "consecutive_failures"]
    assert breaker.state is CircuitState.OBSERVING


async def test_reset_forgets_calls_under_way(make_breaker: MakeBreaker) -> None:
    """
    After a reset nothing counts that began before it.
    """
    breaker = make_breaker()
    settle(breaker, *[Outcome.FAILURE] * 4)
    late = breaker.admit()

    breaker.reset()
    breaker.settle(late, Outcome.FAILURE)

    assert breaker.snapshot().failures == 0


async def test_impossible_steps_are_refused(make_breaker: MakeBreaker) -> None:
    """
    A closed circuit cannot be half-opened by hand.
    """
    breaker = make_breaker()

    with pytest.raises(TransitionError, match="upstream"):
        breaker.half_open()

    assert breaker.state is CircuitState.CLOSED


async def test_staying_is_no_transition(
    make_breaker: MakeBreaker, trip: Trip, clock: LoopClock, recorder: Recorder
) -> None:
    """
    Opening an open circuit by hand neither restarts its break nor makes an event.
    """
    breaker = make_breaker()
    trip(breaker)
    await clock.sleep(20)

    breaker.open()

    assert breaker.snapshot().retry_after_s == pytest.approx(10)
    assert len(recorder.of(CircuitChanged)) == 1


def test_every_step_of_the_table_leads_on() -> None:
    """
    From every state people can reach closed, isolated, disabled and observing.
    """
    by_hand = {
        CircuitEvent.CLOSED_BY_HAND: CircuitState.CLOSED,
        CircuitEvent.ISOLATED_BY_HAND: CircuitState.ISOLATED,
        CircuitEvent.DISABLED_BY_HAND: CircuitState.DISABLED,
        CircuitEvent.OBSERVED_BY_HAND: CircuitState.OBSERVING,
        CircuitEvent.RESET: CircuitState.CLOSED,
    }

    for state, (event, target) in itertools.product(CircuitState, by_hand.items()):
        assert TRANSITIONS[state, event] is target


async def test_snapshot_says_since_when(
    make_breaker: MakeBreaker, trip: Trip, clock: LoopClock
) -> None:
    """
    A snapshot carries the wall time of the last change, and counts refusals since.
    """
    breaker = make_breaker()
    await clock.sleep(5)
    trip(breaker)
    opened_s = clock.wall()
    await clock.sleep(3)
    with pytest.raises(CircuitOpenError):
        breaker.admit()

    snapshot = breaker.snapshot()

    assert snapshot.since_s == pytest.approx(opened_s)
    assert snapshot.rejections == 1
    assert snapshot.failures == 5
