"""
The schedule is computed beforehand and depends on phases and seed alone.
"""

from itertools import pairwise
from typing import Any

import pytest
from pydantic import TypeAdapter

from harness.errors import UsageError
from harness.scenario import Arrival, Phase, arrivals, expected_arrivals

_PHASE: TypeAdapter[Any] = TypeAdapter(Phase)


def _phase(**values: Any) -> Any:
    base = {"arrivals": "20/s", "for": "30s", "send": {"message": "hello"}}
    return _PHASE.validate_python(base | values)


def _between(schedule: tuple[Arrival, ...], from_s: float, to_s: float) -> int:
    return sum(from_s <= arrival.intended_s < to_s for arrival in schedule)


def test_the_same_seed_gives_the_same_schedule() -> None:
    """
    Times, messages, tags, users and traces all repeat with the seed.
    """
    sends = [{"message": "a"}, {"message": "b", "weight": 2}]
    workload = [_phase(send=sends)]

    assert arrivals(workload, 7) == arrivals(workload, 7)
    assert arrivals(workload, 7) != arrivals(workload, 8)


def test_a_later_phase_moves_nothing_earlier() -> None:
    """
    Each phase draws from streams of its own.
    """
    first = arrivals([_phase()], 7)
    both = arrivals([_phase(), _phase(arrivals="5/s")], 7)

    assert both[: len(first)] == first
    assert all(arrival.intended_s >= 30 for arrival in both[len(first) :])


def test_a_schedule_is_in_order_and_unique() -> None:
    """
    Times ascend; call ids, tags and traces are each met once.
    """
    schedule = arrivals([_phase(arrivals="200/s"), _phase(arrivals="50/s")], 3)

    times_s = [arrival.intended_s for arrival in schedule]
    assert times_s == sorted(times_s)
    for name in ("call_id", "tag", "trace_id", "message"):
        assert len({getattr(arrival, name) for arrival in schedule}) == len(schedule)
    assert schedule[0].call_id == "call-000001"
    assert schedule[0].message == f"hello [#{schedule[0].tag}]"


@pytest.mark.parametrize("spacing", ["poisson", "even"])
def test_a_constant_rate_is_kept(spacing: str) -> None:
    """
    About as many arrivals come as the rate says, in each half alike.
    """
    schedule = arrivals([_phase(arrivals="100/s", spacing=spacing)], 5)

    assert len(schedule) == pytest.approx(3000, rel=0.06)
    assert _between(schedule, 0, 15) == pytest.approx(1500, rel=0.1)


def test_even_spacing_is_even() -> None:
    """
    Distances differ from the mean by the jitter alone.
    """
    schedule = arrivals([_phase(arrivals="10/s", spacing="even")], 5)

    gaps_s = [
        after.intended_s - before.intended_s for before, after in pairwise(schedule)
    ]
    assert min(gaps_s) >= 0.09
    assert max(gaps_s) <= 0.11


def test_a_ramp_climbs() -> None:
    """
    A ramp from 0+ to 40/s has a quarter of its arrivals in its first half.
    """
    phase = _phase(arrivals="0.001/s", to="40/s", shape="ramp")
    schedule = arrivals([phase], 5)

    assert expected_arrivals(phase) == pytest.approx(600, rel=0.01)
    assert len(schedule) == pytest.approx(600, rel=0.12)
    assert _between(schedule, 0, 15) / len(schedule) == pytest.approx(0.25, abs=0.05)


def test_steps_climb_at_once() -> None:
    """
    Three steps from 10/s to 30/s stand at 10, 20 and 30.
    """
    phase = _phase(arrivals="10/s", to="30/s", shape="step", steps=3)
    schedule = arrivals([phase], 5)

    for start_s, rate in ((0, 10), (10, 20), (20, 30)):
        count = _between(schedule, start_s, start_s + 10)
        assert count == pytest.approx(rate * 10, rel=0.25)


def test_a_spike_comes_and_goes() -> None:
    """
    The top is reached between its moments and nowhere else.
    """
    spike = {"at": "10s", "lasts": "5s"}
    phase = _phase(arrivals="5/s", to="100/s", shape="spike", spike=spike)
    schedule = arrivals([phase], 5)

    assert _between(schedule, 10, 15) == pytest.approx(500, rel=0.15)
    assert _between(schedule, 0, 10) == pytest.approx(50, rel=0.4)
    assert _between(schedule, 15, 30) == pytest.approx(75, rel=0.4)


def test_messages_come_by_weight_and_with_their_mode() -> None:
    """
    A message's own mode replaces that of its phase.
    """
    sends = [{"message": "a"}, {"message": "b", "weight": 3, "mode": "async"}]
    schedule = arrivals([_phase(arrivals="100/s", send=sends, mode="stream")], 5)

    later = [each for each in schedule if each.mode == "async"]
    assert len(later) / len(schedule) == pytest.approx(0.75, abs=0.05)
    assert all(each.message.startswith("b ") for each in later)
    assert {each.mode for each in schedule} == {"async", "stream"}


def test_warmup_is_marked() -> None:
    """
    Arrivals of a warm-up phase say so.
    """
    warmup = {"for": "5s", "warmup": True}
    schedule = arrivals([_phase(**warmup), _phase()], 5)

    assert all(each.warmup == (each.intended_s < 5) for each in schedule)


def test_a_schedule_is_bounded() -> None:
    """
    A workload that would not fit in memory is refused before it is built.
    """
    with pytest.raises(UsageError, match="at most 1000000 are held"):
        arrivals([_phase(arrivals="1000/s", **{"for": "1h"})], 1)
