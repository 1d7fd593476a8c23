"""
The doors to time, chance and identity, and the units people write.
"""

import os
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import OptionsError, check_options
from harness.ids import IdMint
from harness.randomness import Randomness
from harness.units import format_duration, parse_duration_s, parse_rate_per_s


@pytest.mark.parametrize(
    ("text", "expected_s"),
    [
        ("250ms", 0.25),
        ("1.5s", 1.5),
        ("30 s", 30.0),
        ("5m", 300.0),
        ("5min", 300.0),
        ("2h", 7200.0),
        ("7d", 604_800.0),
        ("0s", 0.0),
        ("10us", 1e-5),
    ],
)
def test_durations_carry_their_unit(text: str, expected_s: float) -> None:
    """
    A number with a unit is read as seconds.
    """
    assert parse_duration_s(text) == pytest.approx(expected_s)


@pytest.mark.parametrize(
    "text", ["5", 5, 2.5, "", "s", "-1s", "1 fortnight", None, "1s2", "1e3s"]
)
def test_what_is_no_duration_is_refused(text: object) -> None:
    """
    A bare number, a sign or an unknown unit is no duration.
    """
    with pytest.raises(ValueError, match="is no duration"):
        parse_duration_s(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("40/s", 40.0), ("600/min", 10.0), ("3600/h", 1.0), ("0.5/s", 0.5)],
)
def test_rates_are_per_second(text: str, expected: float) -> None:
    """
    A number per unit is read as events per second.
    """
    assert parse_rate_per_s(text) == pytest.approx(expected)


@pytest.mark.parametrize("text", ["40", "40/", "/s", "40/week", 40])
def test_what_is_no_rate_is_refused(text: object) -> None:
    """
    A rate without its unit is refused.
    """
    with pytest.raises(ValueError, match="is no rate"):
        parse_rate_per_s(text)


@given(st.floats(min_value=0, max_value=1e7, allow_nan=False))
def test_a_formatted_duration_reads_back(duration_s: float) -> None:
    """
    What is shown can be typed in again and means nearly the same.
    """
    text = format_duration(duration_s)

    assert parse_duration_s(text) == pytest.approx(duration_s, rel=6e-3, abs=1e-8)


def test_a_draw_depends_on_its_keys_alone() -> None:
    """
    Neither the order of draws nor other draws move a draw.
    """
    first, second = Randomness(7), Randomness(7)
    a = first.draw("fault", "world", 3)
    second.draw("something", "else")
    second.stream("arrivals").random()

    assert second.draw("fault", "world", 3) == a
    assert first.draw("fault", "world", 4) != a
    assert Randomness(8).draw("fault", "world", 3) != a
    assert 0 <= a < 1


def test_keys_are_told_apart_from_their_concatenation() -> None:
    """
    ``("ab", "c")`` and ``("a", "bc")`` are different keys.
    """
    assert Randomness(1).draw("ab", "c") != Randomness(1).draw("a", "bc")


def test_streams_do_not_move_each_other() -> None:
    """
    A draw added to one stream leaves the others as they were.
    """
    quiet, busy = Randomness(7), Randomness(7)
    for _ in range(100):
        busy.stream("network").random()

    assert busy.stream("jitter").random() == quiet.stream("jitter").random()
    assert busy.stream("jitter") is busy.stream("jitter")


def test_an_unseeded_run_can_be_repeated() -> None:
    """
    Without a seed one is chosen, and it can be read.
    """
    chosen = Randomness()

    assert Randomness(chosen.seed).draw("x") == chosen.draw("x")


def test_chance_does_not_depend_on_the_hash_seed() -> None:
    """
    Another process with another ``PYTHONHASHSEED`` draws the same.
    """
    code = (
        "from harness.randomness import Randomness; r = Randomness(7); "
        "print(r.draw('a', 1), r.stream('s').random())"
    )
    printed = {
        subprocess.run(  # noqa: S603 - our own code
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            check=True,
        ).stdout
        for hash_seed in ("1", "2")
    }

    assert len(printed) == 1


def test_seeded_ids_repeat_and_others_do_not() -> None:
    """
    The bench's ids follow the seed; production's come from the operating system.
    """
    seeded = [IdMint(Randomness(7).stream("ids")).mint("msg") for _ in range(2)]

    assert seeded[0] == seeded[1]
    assert IdMint().mint("msg") != IdMint().mint("msg")


def test_ids_have_their_form() -> None:
    """
    An id is its prefix and 22 characters; trace and span ids are hex.
    """
    mint = IdMint(Randomness(7).stream("ids"))

    assert mint.mint("msg").startswith("msg_")
    assert len(mint.mint("msg")) == 26
    assert len(mint.trace_id()) == 32
    assert int(mint.trace_id(), 16) > 0
    assert len(mint.span_id()) == 16


def test_options_refuse_all_mistakes_at_once() -> None:
    """
    Every setting that makes no sense is named with its value.
    """

    class Options:
        rate = -1.0
        burst = 0
        name = "fine"

    with pytest.raises(
        OptionsError, match=r"Options refuses rate=-1\.0, burst=0"
    ) as caught:
        check_options(Options(), rate=False, burst=False, name=True)

    assert caught.value.fields == {"rate": -1.0, "burst": 0}
