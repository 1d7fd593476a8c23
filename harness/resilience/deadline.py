"""
The end of the time for a whole call.

A deadline is a point on the monotonic clock. It travels in a context variable, so
that everything done for a call can ask how much time is left without being told.
"""

import contextlib
import contextvars
import math
from collections.abc import Iterator
from dataclasses import dataclass

from harness.clock import Clock
from harness.errors import DeadlineExceededError

_CURRENT: contextvars.ContextVar["Deadline | None"] = contextvars.ContextVar(
    "harness_deadline", default=None
)


@dataclass(frozen=True, slots=True)
class Deadline:
    """
    A point in time at which a call has to be over.
    """

    clock: Clock
    at_s: float
    """On the scale of the clock's ``monotonic``."""

    @classmethod
    def after(cls, clock: Clock, duration_s: float) -> "Deadline":
        """
        Return the deadline that is ``duration_s`` away.
        """
        return cls(clock, clock.monotonic() + duration_s)

    @property
    def expired(self) -> bool:
        """
        Whether no time is left.
        """
        return self.clock.monotonic() >= self.at_s

    def remaining_s(self) -> float:
        """
        Return the seconds that are left; negative once the deadline has passed.
        """
        return self.at_s - self.clock.monotonic()

    def remaining_ms(self) -> int:
        """
        Return the whole milliseconds that are left, as sent on in a header.
        """
        return max(math.floor(self.remaining_s() * 1000), 0)

    def check(self) -> None:
        """
        Refuse to start anything once the deadline has passed.

        Raises:
            DeadlineExceededError: No time is left.
        """
        left_s = self.remaining_s()
        if left_s <= 0:
            raise DeadlineExceededError(deadline_in_s=left_s)


def earlier(one: Deadline | None, other: Deadline | None) -> Deadline | None:
    """
    Return the deadline that comes first, None if there is none.
    """
    if one is None or other is None:
        return one or other
    return one if one.at_s <= other.at_s else other


def current_deadline() -> Deadline | None:
    """
    Return the deadline of the call that the running code works for, if it has one.
    """
    return _CURRENT.get()


def enter_deadline(
    deadline: Deadline | None,
) -> "contextvars.Token[Deadline | None]":
    """
    Work towards this deadline, whatever the outer one is, until the token is left.
    """
    return _CURRENT.set(deadline)


def leave_deadline(token: "contextvars.Token[Deadline | None]") -> None:
    """
    Work towards the outer deadline again.
    """
    _CURRENT.reset(token)


@contextlib.contextmanager
def deadline_scope(deadline: Deadline | None) -> Iterator[Deadline | None]:
    """
    Let everything inside work towards this deadline, or the outer one if it is earlier.
    """
    effective = earlier(deadline, _CURRENT.get())
    token = _CURRENT.set(effective)
    try:
        yield effective
    finally:
        _CURRENT.reset(token)
