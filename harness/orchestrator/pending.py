"""
Waiting for the result of a deferred tool call.

The row in the store is the truth; being told is only a hint that it is worth reading.
A waiting chat registers for the hint, then reads the row, then waits, and reads again
every so often in case the hint was lost or meant for another process.
"""

import asyncio
from typing import Protocol

from harness.clock import Clock, wait_set
from harness.ids import ToolCallId
from harness.stores import CallState, ToolCallRecord


class CallReader(Protocol):
    """
    What waiting needs of the store.
    """

    async def load_call(self, tool_call_id: ToolCallId) -> ToolCallRecord | None:
        """
        Return a tool call, or None if it is unknown or no longer kept.
        """


class PendingCalls:
    """
    Lets chats wait for calls that are resolved elsewhere.

    Args:
        store: Where the calls are.
        clock: Bounds the waits.
        reread_s: How often the row is read without a hint.
    """

    def __init__(self, *, store: CallReader, clock: Clock, reread_s: float) -> None:
        self._store = store
        self._clock = clock
        self._reread_s = reread_s
        self._waiting: dict[ToolCallId, set[asyncio.Event]] = {}

    def __len__(self) -> int:
        return sum(len(events) for events in self._waiting.values())

    def notify(self, tool_call_id: ToolCallId) -> None:
        """
        Hint that a call has ended; waking nobody is fine.
        """
        for event in self._waiting.get(tool_call_id, ()):
            event.set()

    async def wait_ended(
        self, tool_call_id: ToolCallId, *, deadline_s: float
    ) -> ToolCallRecord | None:
        """
        Return the call once it has ended, or None at the deadline.

        Args:
            tool_call_id: The call; it is in the store.
            deadline_s: On the scale of the clock's ``monotonic``.
        """
        hint = asyncio.Event()
        self._waiting.setdefault(tool_call_id, set()).add(hint)
        try:
            while True:
                hint.clear()
                record = await self._store.load_call(tool_call_id)
                if record is None or record.state is not CallState.PENDING:
                    return record
                left_s = deadline_s - self._clock.monotonic()
                if left_s <= 0:
                    return None
                await wait_set(
                    hint, clock=self._clock, timeout_s=min(left_s, self._reread_s)
                )
        finally:
            waiting = self._waiting[tool_call_id]
            waiting.discard(hint)
            if not waiting:
                del self._waiting[tool_call_id]
