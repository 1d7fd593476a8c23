"""
Durations and rates carry units.
"""

import pytest

from mock_server.units import parse_duration_s, parse_rate_per_s


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("250ms", 0.25), ("1.5s", 1.5), ("5m", 300), ("2h", 7200), ("10us", 1e-5), (" 3 min ", 180), ("1d", 86400), ("0s", 0)],
)  # fmt: skip
def test_durations(text: str, seconds: float) -> None:
    """
    A number and a unit are seconds.
    """
    assert parse_duration_s(text) == pytest.approx(seconds)


@pytest.mark.parametrize(("text", "rate"), [("40/s", 40), ("600/min", 10), ("1/h", 1 / 3600)])  # fmt: skip
def test_rates(text: str, rate: float) -> None:
    """
    A number per unit is so many a second.
    """
    assert parse_rate_per_s(text) == pytest.approx(rate)


@pytest.mark.parametrize(
    "value", [5, 1.5, None, "5", "s", "-1s", "1 parsec", "", "1s2", True]
)
def test_what_has_no_unit_is_refused(value: object) -> None:
    """
    A bare number could be anything, so it is nothing.
    """
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration_s(value)
    with pytest.raises(ValueError, match="is no rate"):
        parse_rate_per_s(value)
