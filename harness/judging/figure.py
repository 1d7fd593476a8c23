"""
A figure and what it rests on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from harness.judging.entities import Call

_EVIDENCE_MAX: Final = 20
"""So many records show a figure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """
    A figure, and what it rests on.
    """

    value: float | None
    """None: it cannot be told."""

    samples: int
    """0: there was nothing to measure."""

    why: str = ""
    """Why there is no value or no sample."""

    events: tuple[int, ...] = ()
    """Records that show it, the most telling first."""


def unknown(why: str) -> Figure:
    """
    Return a figure that nobody can tell.
    """
    return Figure(value=None, samples=0, why=why)


def counted(
    value: int,
    samples: int,
    *,
    events: Sequence[int | None] = (),
    why: str = "no call was due in the window",
) -> Figure:
    """
    Return a count over so many samples.
    """
    return Figure(value=value, samples=samples, why=why, events=known(events))


def known(events: Sequence[int | None]) -> tuple[int, ...]:
    """
    Return the first of the records that there are.
    """
    return tuple(event for event in events if event is not None)[:_EVIDENCE_MAX]


def call_events(calls: Sequence[Call]) -> list[int]:
    """
    Return the record that tells most of each call.
    """
    return [call.ended_seq or call.dropped_seq or call.offered_seq for call in calls]
