"""
What the loop needs of asyncio's private parts, pinned.
"""

import asyncio
import collections
import contextvars
import weakref

import pytest

from harness.simulation import SimLoop


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("_ready", collections.deque),
        ("_scheduled", list),
        ("_stopping", bool),
        ("_timer_cancelled_count", int),
        ("_asyncgens", weakref.WeakSet),
    ],
)
def test_a_loop_has_the_parts_that_are_used(name: str, kind: type) -> None:
    """
    The loop of asyncio still keeps its state where the jump looks for it.
    """
    loop = asyncio.BaseEventLoop()
    try:
        assert isinstance(getattr(loop, name), kind)
    finally:
        loop.close()


def test_a_loop_goes_round_in_one_place() -> None:
    """
    The loop of asyncio still goes round by ``_run_once``, and nothing else does.
    """
    callers = [
        name
        for name, value in vars(asyncio.BaseEventLoop).items()
        if "_run_once" in getattr(getattr(value, "__code__", None), "co_names", ())
    ]

    assert callers == ["run_forever"]


async def test_handles_have_the_parts_that_are_used() -> None:
    """
    A handle still knows its callback, arguments and context, a timer its time.
    """
    loop = asyncio.get_running_loop()

    timer = loop.call_later(60, print, "never")
    timer.cancel()
    handle = loop.call_soon(len, "")

    assert vars(asyncio.TimerHandle)["_scheduled"] is not None
    assert isinstance(
        vars(asyncio.Handle)["_context"].__get__(handle), contextvars.Context
    )
    assert vars(asyncio.Handle)["_callback"].__get__(handle) is len
    assert vars(asyncio.Handle)["_args"].__get__(handle) == ("",)
    assert vars(asyncio.Handle)["_cancelled"].__get__(timer) is True
    assert callable(vars(asyncio.Handle)["_run"])


async def test_tasks_have_the_parts_that_are_used(virtual_time: SimLoop) -> None:
    """
    A waiting task still shows what it waits for, and can be taken off the list.
    """
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(asyncio.Event().wait())
        await asyncio.get_running_loop().create_task(_nothing())

        assert isinstance(waiting._fut_waiter, asyncio.Future)  # type: ignore[attr-defined]
        assert waiting in asyncio.all_tasks(virtual_time)
        asyncio._unregister_task(waiting)
        assert waiting not in asyncio.all_tasks(virtual_time)
        waiting.cancel()


async def _nothing() -> None:
    pass
