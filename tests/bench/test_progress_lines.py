"""
A run says where it stands, and says it once.
"""

from harness.bench import ProgressLines
from harness.scenario import load


def progress_of(*at_s: float) -> list[str]:
    """
    Return what is said of records at these times of a run of 70 s.
    """
    said: list[str] = []
    progress = ProgressLines(load("upstream-outage"), said.append, shows_latency=False)
    for seq, time_s in enumerate(at_s, start=1):
        progress(
            {
                "kind": "call_offered",
                "seq": seq,
                "time_us": round(time_s * 1e6),
                "host": "caller",
                "trace_id": None,
            }
        )
    return [line.split(" of ")[0].strip() for line in said]


def test_a_line_comes_every_few_seconds() -> None:
    """
    The first record of each interval is the occasion, later ones say nothing.
    """
    assert progress_of(1, 4.9, 5, 6, 9, 11, 12) == ["5", "11"]


def test_a_jump_over_several_intervals_is_told_once() -> None:
    """
    Where nothing happened there is nothing to say afterwards.
    """
    assert progress_of(1, 42, 42.5, 43, 46) == ["42", "46"]
