"""
Ends attempts that take too long, with one timer for all of them.

All attempts of a pipeline have the same time, so the one that began first is due
first: only for that one a timer is set, and an attempt that ends in time costs no
timer at all.
"""

import asyncio
from typing import Final

from harness.clock import Clock

_ROUNDING_S: Final = 1e-9


class Guarded:
    """
    An attempt that must not take too long.
    """

    __slots__ = ("cancellations", "due_s", "is_overdue", "task")

    def __init__(self, task: "asyncio.Task[object]", *, due_s: float) -> None:
        self.task = task
        self.due_s = due_s
        self.cancellations = task.cancelling()
        self.is_overdue = False


class AttemptTimer:
    """
    The time of the attempts of one pipeline.

    Args:
        timeout_s: How long each may take.
    """

    def __init__(self, *, timeout_s: float, clock: Clock) -> None:
        self.timeout_s = timeout_s
        self._clock = clock
        self._guarded: dict[Guarded, None] = {}
        self._timer: asyncio.TimerHandle | None = None

    def guard(self, started_s: float) -> Guarded:
        """
        Watch over the current task; to be followed by :meth:`release` on every way out.
        """
        task = asyncio.current_task()
        if task is None:
            message = "an attempt is made inside a task"
            raise RuntimeError(message)
        guarded = Guarded(task, due_s=started_s + self.timeout_s)
        self._guarded[guarded] = None
        if self._timer is None:
            self._timer = self._clock.call_at(guarded.due_s, self._end_overdue)
        return guarded

    def release(self, guarded: Guarded) -> bool:
        """
        Watch no longer; return whether a cancellation that came in was ours alone.
        """
        self._guarded.pop(guarded, None)
        # Whoever else has cancelled the task meanwhile goes first.
        return guarded.is_overdue and guarded.task.uncancel() <= guarded.cancellations

    def _end_overdue(self) -> None:
        self._timer = None
        now_s = self._clock.monotonic()
        for guarded in list(self._guarded):
            if guarded.due_s > now_s + _ROUNDING_S:
                self._timer = self._clock.call_at(guarded.due_s, self._end_overdue)
                return
            del self._guarded[guarded]
            guarded.is_overdue = True
            guarded.task.cancel()
