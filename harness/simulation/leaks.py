"""
Keeps the real world out of a simulation while it runs.

Every door of :mod:`harness.simulation.doors` is led inside when the loop starts and
back when it stops, so that nothing of it is left between two runs.
"""

import asyncio
import contextlib
import random
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any, Final

from harness.errors import EscapeError
from harness.simulation.blocking_doors import (
    BLOCKING_DOORS,
    BOUND_BLOCKING,
    fork_doors,
    set_waiting,
)
from harness.simulation.clock_doors import BOUND_CLOCKS, CLOCK_DOORS, set_dates
from harness.simulation.doors import Door, World, enter, inside, is_occupied
from harness.simulation.jumping import SimTask
from harness.simulation.machine_doors import BOUND_MACHINE, MACHINE_DOORS

_KEEPS_REAL_NAMES: Final = frozenset(
    {
        "_pytest",
        "asyncio",
        "concurrent",
        "coverage",
        "execnet",
        "hypothesis",
        "multiprocessing",
        "pytest",
        "pytest_timeout",
        "queue",
        "selectors",
        "subprocess",
        "threading",
        "xdist",
    }
)
"""Packages that measure the machine, not the simulated world."""

_BY_REAL: Final[dict[int, tuple[Any, Any]]] = {
    id(real): (real, replacement)
    for real, replacement in (*BOUND_CLOCKS, *BOUND_MACHINE, *BOUND_BLOCKING)
}


class _BoundNames:
    """
    Names in imported modules that are bound to a door; each module is read once.
    """

    def __init__(self) -> None:
        self._read: set[str] = set()
        self._found: list[tuple[object, str, Any]] = []

    def find(self) -> list[tuple[object, str, Any]]:
        """
        Return module, name and replacement of every such name.
        """
        # Copied by one call of C, for to make a list of pairs may set off a collection,
        # and what is collected may import something.
        for name, module in sys.modules.copy().items():
            if name not in self._read and isinstance(module, ModuleType):
                self._read.add(name)
                is_ours = name.startswith(__package__)
                if not is_ours and name.partition(".")[0] not in _KEEPS_REAL_NAMES:
                    self._read_module(module)
        return self._found

    def _read_module(self, module: ModuleType) -> None:
        for name, value in list(vars(module).items()):
            door = _BY_REAL.get(id(value))
            if door is not None and door[0] is value:
                self._found.append((module, name, door[1]))


_bound_names = _BoundNames()


@contextlib.contextmanager
def contained(world: World) -> Iterator[None]:
    """
    Lead every door into ``world`` while inside.

    Raises:
        EscapeError: Another simulation runs in this process.
    """
    if is_occupied():
        raise EscapeError(
            what="a second simulation at the same time",
            instead="the doors are the process's own: run it afterwards, or in another process",
        )
    with contextlib.ExitStack() as restore:
        doors = [
            *CLOCK_DOORS,
            *MACHINE_DOORS,
            *BLOCKING_DOORS,
            *fork_doors(),
            # aiohttp makes tasks past the loop where it can start them eagerly.
            (asyncio, "Task", SimTask),
            *_aiohttp_doors(),
            *_textual_doors(),
            *_bound_names.find(),
        ]
        for door in doors:
            _replace(door, restore)
        set_dates(are_virtual=True)
        restore.callback(set_dates, are_virtual=False)
        set_waiting(is_refused=True)
        restore.callback(set_waiting, is_refused=False)
        _forget_date_header()
        restore.callback(_forget_date_header)
        restore.callback(_forget_handlers)
        outer_state = random.getstate()
        random.setstate(world.random_state)  # type: ignore[arg-type]
        enter(world)
        try:
            yield
        finally:
            enter(None)
            world.random_state = random.getstate()
            random.setstate(outer_state)


def _replace(door: Door, restore: contextlib.ExitStack) -> None:
    owner, name, replacement = door
    if name in vars(owner):
        restore.callback(setattr, owner, name, vars(owner)[name])
    else:
        restore.callback(delattr, owner, name)
    setattr(owner, name, replacement)


def _forget_date_header() -> None:
    # aiohttp keeps the Date header of the last second in its module.
    helpers = sys.modules.get("aiohttp.helpers")
    if helpers is not None:
        helpers._cached_current_datetime = None  # type: ignore[attr-defined]  # noqa: SLF001 - there is no other door


def _forget_handlers() -> None:
    # aiohttp keeps the handlers of the last thousand routes, and they keep their whole
    # world; who simulates many seeds in one process would hold hundreds of worlds.
    web_app = sys.modules.get("aiohttp.web_app")
    if web_app is not None:
        web_app._cached_build_middleware.cache_clear()  # noqa: SLF001 - there is no other door


def _aiohttp_doors() -> tuple[Door, ...]:
    # A connector keeps its connections, and what stands for them before they are
    # made, in a set and closes them in its order.
    protocols = sys.modules.get("aiohttp.client_proto")
    connector = sys.modules.get("aiohttp.connector")
    if protocols is None or connector is None:
        return ()
    return (
        (vars(protocols)["ResponseHandler"], "__hash__", _hash_by_number),
        (vars(connector)["_TransportPlaceholder"], "__hash__", _hash_by_future),
    )


def _textual_doors() -> tuple[Door, ...]:
    textual = sys.modules.get("textual.app")
    if textual is None:
        return ()
    app_class = vars(textual)["App"]
    real = app_class.run_async

    def run_async(self: object, *arguments: Any, **options: Any) -> Any:
        if inside() is not None:
            raise EscapeError(
                what="a Textual screen",
                instead="it reads the terminal in threads: run it headless, by run_test()",
            )
        return real(self, *arguments, **options)

    return ((app_class, "run_async", run_async),)


def _hash_by_number(self: object) -> int:
    facts = vars(self)
    number = facts.get("harness_number")
    if number is None:
        world = inside()
        if world is None:
            return object.__hash__(self)
        number = facts["harness_number"] = world.next_number()
    return int(number)


def _hash_by_future(self: Any) -> int:
    return hash(self.closed)
