"""
The meter: a token bucket as one number.
"""

import pytest

from harness.resilience.meter import Meter


def test_meter_knows_when_behind_a_queue() -> None:
    """
    What is queued goes first, and a grant never lies in the past.
    """
    meter = Meter(rate_per_s=2, burst=4)

    assert meter.grant_at(10.0, 4) == 10.0
    assert meter.grant_at(10.0, 1, queued=5) == 11.0
    meter.take(10.0, 4)
    assert meter.grant_at(10.0, 3) == 11.5
    assert meter.grant_at(11.0, 3) == 11.5
    assert meter.grant_at(50.0, 3) == 50.0


def test_meter_lets_pass_exactly_what_is_there() -> None:
    """
    Up to the burst at once, then as much as time has brought.
    """
    meter = Meter(rate_per_s=2, burst=4)

    assert meter.take_nowait(10.0, 4)
    assert not meter.take_nowait(10.0, 1)
    assert not meter.take_nowait(10.49, 1)
    assert meter.take_nowait(10.5, 1)
    assert meter.available(11.0) == 1.0
    assert meter.full_at_s == 12.5


def test_meter_takes_back_and_never_shows_less_than_nothing() -> None:
    """
    What is given back is there again; a debt shows as nothing.
    """
    meter = Meter(rate_per_s=2, burst=4)
    meter.take(0.0, 6)
    assert meter.available(0.0) == 0.0

    meter.give_back(3)

    assert meter.available(0.0) == 1.0
    assert meter.available(1.0) == 3.0
    assert meter.available(9.0) == 4.0


@pytest.mark.parametrize(
    ("told", "left"), [(3.0, 3.0), (0.0, 0.0), (-5.0, 0.0), (99.0, 4.0)]
)
def test_meter_can_be_told_what_is_there(told: float, left: float) -> None:
    """
    Within nothing and the burst, and it refills from there.
    """
    meter = Meter(rate_per_s=2, burst=4)

    meter.set_available(10.0, told)

    assert meter.available(10.0) == left
    assert meter.available(10.5) == min(left + 1, 4)


def test_meter_goes_on_at_another_rate() -> None:
    """
    What is there stays, as far as the burst allows.
    """
    meter = Meter(rate_per_s=2, burst=4)
    meter.take(0.0, 1)

    meter.change(0.0, rate_per_s=10, burst=8)
    assert meter.available(0.0) == 3.0
    assert meter.available(0.1) == 4.0
    meter.change(0.1, rate_per_s=1, burst=2)

    assert (meter.available(0.1), meter.available(9.0)) == (2.0, 2.0)


def test_a_copy_is_for_planning() -> None:
    """
    What a copy lets pass is still there.
    """
    meter = Meter(rate_per_s=2, burst=4)
    meter.take(0.0, 1)
    copy = meter.copy()

    copy.take(0.0, 3)

    assert (meter.available(0.0), copy.available(0.0)) == (3.0, 0.0)
