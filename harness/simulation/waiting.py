"""
Who waits for what, in words.
"""

import asyncio
import inspect
from types import CodeType, FrameType
from typing import Any, Final

_DEPTH_MAX: Final = 50
_FRAMES_SHOWN: Final = 6


def describe_waiting(task: asyncio.Task[Any], awaited: object) -> str:
    """
    Say where a task waits, innermost call first, and for which other task.
    """
    calls = _calls(task.get_coro())
    trail = " < ".join(reversed(calls[-_FRAMES_SHOWN:])) or "a coroutine"
    other = f", for {awaited.get_name()}" if isinstance(awaited, asyncio.Task) else ""
    return f"{task.get_name()} waits in {trail}{other}"


def _calls(outermost: object) -> list[str]:
    calls: list[str] = []
    current = outermost
    for _depth in range(_DEPTH_MAX):
        frame, code, current = _suspended(current)
        if code is None:
            break
        line = frame.f_lineno if frame else code.co_firstlineno
        where = "/".join(code.co_filename.split("/")[-2:])
        calls.append(f"{code.co_qualname} ({where}:{line})")
    return calls


def _suspended(
    thing: object,
) -> tuple[FrameType | None, CodeType | None, object]:
    if inspect.iscoroutine(thing):
        return thing.cr_frame, thing.cr_code, thing.cr_await
    if inspect.isgenerator(thing):
        return thing.gi_frame, thing.gi_code, thing.gi_yieldfrom
    return None, None, None
