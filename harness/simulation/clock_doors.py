"""
The doors to time: every clock of the standard library, and blocking sleep.
"""

import ctypes
import datetime as dt
import gc
import time
from typing import Any, Final

from harness.errors import EscapeError
from harness.simulation.doors import Door, inside

_NANOSECONDS: Final = 1_000_000_000

_REAL_SLEEP: Final = time.sleep  # noqa: TID251 - the door that is replaced
_REAL_TIME: Final = time.time  # noqa: TID251 - the door that is replaced
_REAL_TIME_NS: Final = time.time_ns
_REAL_MONOTONIC: Final = time.monotonic  # noqa: TID251 - the door that is replaced
_REAL_MONOTONIC_NS: Final = time.monotonic_ns
_REAL_PERF_COUNTER: Final = time.perf_counter
_REAL_PERF_COUNTER_NS: Final = time.perf_counter_ns
_REAL_GMTIME: Final = time.gmtime
_REAL_LOCALTIME: Final = time.localtime
_REAL_NOW: Final = vars(dt.datetime)["now"]
_REAL_UTCNOW: Final = vars(dt.datetime)["utcnow"]


def _sleep(seconds: float, /) -> None:
    if inside() is not None:
        raise EscapeError(
            what=f"time.sleep({seconds!r})",
            instead="it would stop every host at once: await clock.sleep()",
        )
    _REAL_SLEEP(seconds)


def _time() -> float:
    world = inside()
    return _REAL_TIME() if world is None else world.wall()


def _time_ns() -> int:
    world = inside()
    return _REAL_TIME_NS() if world is None else round(world.wall() * _NANOSECONDS)


def _monotonic() -> float:
    world = inside()
    return _REAL_MONOTONIC() if world is None else world.time()


def _monotonic_ns() -> int:
    world = inside()
    return _REAL_MONOTONIC_NS() if world is None else round(world.time() * _NANOSECONDS)


def _perf_counter() -> float:
    world = inside()
    return _REAL_PERF_COUNTER() if world is None else world.time()


def _perf_counter_ns() -> int:
    world = inside()
    if world is None:
        return _REAL_PERF_COUNTER_NS()
    return round(world.time() * _NANOSECONDS)


def _gmtime(seconds: float | None = None, /) -> time.struct_time:
    world = inside()
    if seconds is None and world is not None:
        seconds = world.wall()
    return _REAL_GMTIME(seconds)


def _localtime(seconds: float | None = None, /) -> time.struct_time:
    world = inside()
    if seconds is None and world is not None:
        seconds = world.wall()
    return _REAL_LOCALTIME(seconds)


def _now(cls: type[dt.datetime], tz: dt.tzinfo | None = None) -> dt.datetime:
    world = inside()
    if world is None:
        moment: dt.datetime = _REAL_NOW.__get__(None, cls)(tz)
        return moment
    return cls.fromtimestamp(world.wall(), tz)


def _utcnow(cls: type[dt.datetime]) -> dt.datetime:
    world = inside()
    if world is None:
        moment: dt.datetime = _REAL_UTCNOW.__get__(None, cls)()
        return moment
    return cls.fromtimestamp(world.wall(), dt.UTC).replace(tzinfo=None)


CLOCK_DOORS: Final[tuple[Door, ...]] = (
    (time, "sleep", _sleep),
    (time, "time", _time),
    (time, "time_ns", _time_ns),
    (time, "monotonic", _monotonic),
    (time, "monotonic_ns", _monotonic_ns),
    (time, "perf_counter", _perf_counter),
    (time, "perf_counter_ns", _perf_counter_ns),
    (time, "gmtime", _gmtime),
    (time, "localtime", _localtime),
)

BOUND_CLOCKS: Final[tuple[tuple[Any, Any], ...]] = (
    (_REAL_SLEEP, _sleep),
    (_REAL_TIME, _time),
    (_REAL_TIME_NS, _time_ns),
    (_REAL_MONOTONIC, _monotonic),
    (_REAL_MONOTONIC_NS, _monotonic_ns),
    (_REAL_PERF_COUNTER, _perf_counter),
    (_REAL_PERF_COUNTER_NS, _perf_counter_ns),
    (_REAL_GMTIME, _gmtime),
    (_REAL_LOCALTIME, _localtime),
)
"""What modules may have bound by ``from time import …``, and the replacement."""


def set_dates(*, are_virtual: bool) -> None:
    """
    Let ``datetime.now`` and ``datetime.utcnow`` ask the doors, or the machine again.

    They are C code that reads the machine's clock directly, in a class that takes no
    other methods; a class in its place would not be the one that pydantic and others
    look for. So the methods are exchanged in the class's own table.
    """
    table = gc.get_referents(vars(dt.datetime))[0]
    table["now"] = classmethod(_now) if are_virtual else _REAL_NOW
    table["utcnow"] = classmethod(_utcnow) if are_virtual else _REAL_UTCNOW
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(dt.datetime))
