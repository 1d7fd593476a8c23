"""
The loop: time, order, and the two ways in which a program never ends.
"""

import asyncio

import pytest

from harness.clock import LoopClock
from harness.errors import DeadlockError, EscapeError, StepLimitError
from harness.simulation import START_S, SimLoop


def test_time_moves_only_when_nothing_can_run() -> None:
    """
    Callbacks that are ready run before the clock jumps to the next timer.
    """
    seen: list[tuple[str, float]] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(5, lambda: seen.append(("timer", loop.time())))
        for _turn in range(3):
            await LoopClock().sleep(0)
            seen.append(("turn", loop.time()))
        await LoopClock().sleep(10)
        seen.append(("end", loop.time()))

    with asyncio.Runner(loop_factory=SimLoop) as runner:
        runner.run(main())

    assert seen == [
        ("turn", START_S),
        ("turn", START_S),
        ("turn", START_S),
        ("timer", START_S + 5),
        ("end", START_S + 10),
    ]


async def test_timers_for_the_same_time_keep_their_order(virtual_time: SimLoop) -> None:
    """
    A hundred timers for one moment come in the order in which they were set.
    """
    seen: list[int] = []
    for number in range(100):
        virtual_time.call_at(2_000.0, seen.append, number)

    await LoopClock().sleep(1_500)

    assert seen == list(range(100))


async def test_tasks_are_numbered(virtual_time: SimLoop) -> None:
    """
    Tasks in a set come in the order of their making, not of their addresses.
    """
    async with asyncio.TaskGroup() as tasks:
        made = [tasks.create_task(LoopClock().sleep(1)) for _ in range(50)]

        names = [task.get_name() for task in set(made)]

    assert sorted(names, key=names.index) == [task.get_name() for task in made]
    assert virtual_time.waiting()


def test_deadlock_says_who_waits_for_what() -> None:
    """
    With nothing ready and no timer the loop raises at once and names who waits.
    """

    async def wait_for_nothing() -> None:
        await asyncio.Event().wait()

    async def main() -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(wait_for_nothing(), name="the waiter")

    with (
        asyncio.Runner(loop_factory=SimLoop) as runner,
        pytest.raises(DeadlockError) as caught,
    ):
        runner.run(main())

    assert caught.value.time_s == START_S
    assert any(
        line.startswith("the waiter waits in Event.wait") and "wait_for_nothing" in line
        for line in caught.value.waiting
    )


def test_step_limit_stops_a_program_that_spins() -> None:
    """
    A program that never waits is stopped at the step limit, with its tasks named.
    """

    async def spin() -> None:
        while True:
            await LoopClock().sleep(0)

    with (
        asyncio.Runner(loop_factory=lambda: SimLoop(steps_max=1_000)) as runner,
        pytest.raises(StepLimitError, match="spin") as caught,
    ):
        runner.run(spin())

    assert caught.value.steps_max == 1_000


async def test_executors_run_inline(virtual_time: SimLoop) -> None:
    """
    What asks for a thread pool runs at once in the loop's own thread.
    """
    assert await asyncio.to_thread(asyncio._get_running_loop) is virtual_time


def test_second_simulation_is_refused() -> None:
    """
    A simulation inside a simulation is refused with the reason.
    """

    async def main() -> None:
        inner = SimLoop()
        try:
            inner.run_forever()
        finally:
            inner.close()

    with (
        asyncio.Runner(loop_factory=SimLoop) as runner,
        pytest.raises(EscapeError, match="second simulation"),
    ):
        runner.run(main())
