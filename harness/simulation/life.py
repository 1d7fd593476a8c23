"""
Which simulated host the running code belongs to.

A host is a context variable, so every task and every callback that a host starts
belongs to it without being told. The variable holds one *life* of the host: from
its start to its crash. After a restart the name is the same and the life is not,
so nothing of the old life is ever taken for the new one.
"""

import contextvars
from dataclasses import dataclass
from typing import Final


@dataclass(eq=False, slots=True)
class Life:
    """
    One life of a host.
    """

    host: str
    """Name of the host; the same over all its lives."""

    number: int = 1
    """Counts the lives of the host."""

    is_alive: bool = True
    """False from the crash on."""


OUTSIDE: Final = Life(host="outside")
"""Whose life code leads that was started on no host: tests, the driver of a run."""

LIFE: Final[contextvars.ContextVar[Life]] = contextvars.ContextVar(
    "harness_simulated_life", default=OUTSIDE
)


def current_life() -> Life:
    """
    Return the life that the running code belongs to.
    """
    return LIFE.get()


def life_of(context: contextvars.Context | None) -> Life:
    """
    Return the life that a context belongs to; None stands for the current one.
    """
    return LIFE.get() if context is None else context.get(LIFE, OUTSIDE)
