"""
Running a coroutine in virtual time from code that is not on a loop.
"""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from harness.simulation.jumping import STEPS_MAX
from harness.simulation.links import LinkOptions
from harness.simulation.loop import SimLoop

P = ParamSpec("P")
T = TypeVar("T")


def run_virtual(
    main: Callable[[], Coroutine[Any, Any, T]],
    *,
    seed: int = 0,
    links: LinkOptions | None = None,
    steps_max: int = STEPS_MAX,
) -> T:
    """
    Run ``main`` on a simulated loop of its own and return what it returns.

    Whatever it raises carries a note with the seed.

    Args:
        main: Called on the loop; the first task.
        seed: Decides latencies and what libraries draw.
        links: What links are like that nobody described.
        steps_max: How often the loop may go round.
    """

    def make_loop() -> SimLoop:
        return SimLoop(seed=seed, links=links, steps_max=steps_max)

    try:
        with asyncio.Runner(loop_factory=make_loop) as runner:
            return runner.run(main())
    except BaseException as error:
        error.add_note(f"in virtual time with seed {seed}")
        raise


def in_virtual_time(
    *, seed: int = 0, links: LinkOptions | None = None, steps_max: int = STEPS_MAX
) -> Callable[[Callable[P, Coroutine[Any, Any, T]]], Callable[P, T]]:
    """
    Turn a coroutine function into a function that runs in virtual time.

    For tests where no pytest-asyncio is at hand; its arguments stay what they were,
    so fixtures reach it.
    """

    def decorate(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, T]:
        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            return run_virtual(
                functools.partial(function, *args, **kwargs),
                seed=seed,
                links=links,
                steps_max=steps_max,
            )

        return run

    return decorate
