"""
Sums over the last while, against lists that keep everything.
"""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.resilience.windows import CountWindow, TimeWindow

STEPS = st.lists(
    st.one_of(
        st.tuples(st.integers(0, 40), st.integers(0, 5)),
        st.tuples(st.integers(0, 40), st.none()),
    ),
    max_size=60,
)


@pytest.mark.parametrize("buckets", [1, 4, 10])
@given(steps=STEPS)
def test_time_window_sums_its_buckets(
    buckets: int, steps: list[tuple[int, int | None]]
) -> None:
    """
    A window of time holds what was added in its last buckets; clearing empties it.
    """
    now_s = start_s = 1000.3
    window = TimeWindow(duration_s=2, buckets=buckets, columns=2, start_s=start_s)
    kept: list[tuple[float, int]] = []

    for tenths, value in steps:
        now_s += tenths / 10
        if value is None:
            window.clear(now_s)
            kept, start_s = [], now_s
        else:
            window.add(now_s, 1, value)
            kept.append((now_s, value))

        now_s += 0.3

        def bucket(at_s: float, start_s: float = start_s) -> int:
            return math.floor((at_s - start_s) / (2 / buckets) + 1e-6)

        inside = [
            value for at_s, value in kept if bucket(at_s) > bucket(now_s) - buckets
        ]
        assert list(window.sums(now_s)) == [len(inside), sum(inside)]


@given(
    steps=st.lists(
        st.integers(-1, 9).map(lambda value: None if value < 0 else value),
        max_size=60,
    )
)
def test_count_window_sums_its_last_samples(steps: list[int | None]) -> None:
    """
    A window of a count holds that many of the last samples; clearing empties it.
    """
    window = CountWindow(size=7, columns=2)
    kept: list[int] = []

    for value in steps:
        if value is None:
            window.clear(0.0)
            kept = []
        else:
            window.add(0.0, 1, value)
            kept = [*kept, value][-7:]

        assert list(window.sums(0.0)) == [len(kept), sum(kept)]
