"""
Waiting for what is resolved elsewhere.
"""

import asyncio

import pytest

from harness.clock import LoopClock
from harness.ids import ToolCallId
from harness.orchestrator import PendingCalls
from harness.stores import CallState, ToolCallRecord

pytestmark = pytest.mark.virtual_time

_CALL = ToolCallId("call_1")


class Calls:
    """
    A store of one call, which counts how often it is read.
    """

    def __init__(self) -> None:
        self.state = CallState.PENDING
        self.reads = 0

    async def load_call(self, tool_call_id: ToolCallId) -> ToolCallRecord | None:
        """
        Return the call.
        """
        self.reads += 1
        return ToolCallRecord(
            tool_call_id=tool_call_id,
            chat_id="chat_1",
            tool="approve_refund",
            arguments_json="{}",
            state=self.state,
        )


async def test_a_hint_ends_the_wait_at_once(clock: LoopClock) -> None:
    """
    Whoever waits is told without delay.
    """
    calls = Calls()
    pending = PendingCalls(store=calls, clock=clock, reread_s=1.5)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(
            pending.wait_ended(_CALL, deadline_s=clock.monotonic() + 60)
        )
        await clock.sleep(1)
        calls.state = CallState.COMPLETED
        pending.notify(_CALL)
        told_s = clock.monotonic()
        record = await waiting

    assert record is not None
    assert record.state is CallState.COMPLETED
    assert clock.monotonic() == told_s


async def test_a_lost_hint_costs_at_most_two_seconds(clock: LoopClock) -> None:
    """
    A result that nobody told of is found by reading again.
    """
    calls = Calls()
    pending = PendingCalls(store=calls, clock=clock, reread_s=1.5)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(
            pending.wait_ended(_CALL, deadline_s=clock.monotonic() + 60)
        )
        await clock.sleep(10)
        calls.state = CallState.COMPLETED
        resolved_s = clock.monotonic()
        await waiting

    assert clock.monotonic() - resolved_s <= 2


async def test_the_deadline_ends_the_wait(clock: LoopClock) -> None:
    """
    At the deadline nothing is returned, exactly then.
    """
    pending = PendingCalls(store=Calls(), clock=clock, reread_s=1.5)
    started_s = clock.monotonic()

    record = await pending.wait_ended(_CALL, deadline_s=started_s + 10)

    assert record is None
    assert clock.monotonic() - started_s == pytest.approx(10)


async def test_a_hint_without_a_result_is_not_believed(clock: LoopClock) -> None:
    """
    The row is the truth: a hint alone ends nothing.
    """
    pending = PendingCalls(store=Calls(), clock=clock, reread_s=1.5)
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(
            pending.wait_ended(_CALL, deadline_s=clock.monotonic() + 5)
        )
        await clock.sleep(1)
        pending.notify(_CALL)
        await clock.sleep(1)
        is_waiting = not waiting.done()

    assert is_waiting
    assert waiting.result() is None


async def test_nothing_is_left_behind(clock: LoopClock) -> None:
    """
    Waits that ended, or were given up, leave neither timers nor entries.
    """
    calls = Calls()
    pending = PendingCalls(store=calls, clock=clock, reread_s=1.5)
    async with asyncio.TaskGroup() as tasks:
        waits = [
            tasks.create_task(
                pending.wait_ended(_CALL, deadline_s=clock.monotonic() + 60)
            )
            for _ in range(10)
        ]
        await clock.sleep(0.1)
        assert len(pending) == 10
        for wait in waits:
            wait.cancel()
    reads = calls.reads

    await clock.sleep(120)

    assert len(pending) == 0
    assert calls.reads == reads


async def test_hints_for_nobody_are_harmless(clock: LoopClock) -> None:
    """
    A hint for a call that nobody waits for wakes nobody.
    """
    pending = PendingCalls(store=Calls(), clock=clock, reread_s=1.5)

    pending.notify(_CALL)

    assert len(pending) == 0
