"""
Stores on a folder of the test, with a clock that can be set.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from harness.clock import LoopClock
from harness.ids import CallbackId, IdMint, MessageId, ToolCallId, TraceId
from harness.randomness import Randomness
from harness.stores import (
    CallbackRecord,
    CallbackState,
    CallState,
    MessageFor,
    NewMessage,
    OnEnqueued,
    Recovery,
    SqliteStore,
    StoreOptions,
    ToolCallRecord,
)

START_S = 1_700_000_000.0
TRACE = TraceId("0af7651916cd43dd8448eb211c80319c")


class SetClock(LoopClock):
    """
    The loop's clock, with a wall that stands still until it is moved.
    """

    def __init__(self) -> None:
        super().__init__()
        self.wall_s = START_S

    def wall(self) -> float:
        """
        Return the time that was set.
        """
        return self.wall_s

    def advance(self, seconds: float) -> None:
        """
        Move the wall clock.
        """
        self.wall_s += seconds


class Builder:
    """
    Opens the stores of a test and makes what is put into them.
    """

    def __init__(self, path: Path, *, is_inline: bool) -> None:
        self.clock = SetClock()
        self.path = path
        self.is_inline = is_inline
        self.ids = IdMint(Randomness(1).stream("ids"))

    def build(
        self,
        options: StoreOptions | None = None,
        expiry_message: MessageFor | None = None,
        on_enqueued: OnEnqueued | None = None,
    ) -> SqliteStore:
        """
        Return a store that is not open yet.
        """
        return SqliteStore(
            self.path,
            clock=self.clock,
            ids=self.ids,
            randomness=Randomness(1),
            options=options,
            is_inline=self.is_inline,
            expiry_message=expiry_message,
            on_enqueued=on_enqueued,
        )

    @asynccontextmanager
    async def opened(
        self, options: StoreOptions | None = None
    ) -> AsyncIterator[tuple[SqliteStore, Recovery]]:
        """
        Open a store, and close it at the end.
        """
        store = self.build(options)
        recovery = await store.open()
        try:
            yield store, recovery
        finally:
            await store.close()

    def message(
        self,
        name: str,
        *,
        endpoint: str = "default",
        tool_call_id: str | None = None,
        callback_id: str | None = None,
    ) -> NewMessage:
        """
        Return a message whose id and key follow from its name.
        """
        return NewMessage(
            message_id=MessageId(f"msg_{name}"),
            event_type="function_call.completed",
            body=f'{{"name":"{name}"}}'.encode(),
            endpoint=endpoint,
            dedupe_key=f"key:{name}",
            tool_call_id=None if tool_call_id is None else ToolCallId(tool_call_id),
            callback_id=None if callback_id is None else CallbackId(callback_id),
        )

    def call(self, name: str = "call_1", *, timeout_s: float = 60.0) -> ToolCallRecord:
        """
        Return a pending call.
        """
        return ToolCallRecord(
            tool_call_id=ToolCallId(name),
            chat_id="chat_1",
            tool="approve_refund",
            arguments_json='{"order_id":"ORD-20260101-AAAAA"}',
            state=CallState.PENDING,
            deadline_s=self.clock.wall() + timeout_s,
            trace_id=TRACE,
        )

    def ended(self, name: str = "call_1") -> ToolCallRecord:
        """
        Return the same call with a result.
        """
        return replace(
            self.call(name), state=CallState.COMPLETED, result_json='{"ok":true}'
        )

    def chat(self, name: str = "cb_1") -> CallbackRecord:
        """
        Return a chat that was accepted.
        """
        return CallbackRecord(
            callback_id=CallbackId(name),
            request_json='{"message":"hi"}',
            state=CallbackState.PENDING,
            expires_s=self.clock.wall() + 120.0,
            trace_id=TRACE,
        )


@pytest.fixture(params=["thread", "inline"])
def builder(request: pytest.FixtureRequest, tmp_path: Path) -> Builder:
    """
    What builds stores over one file, with and without a writer thread.
    """
    return Builder(tmp_path / "store.db", is_inline=request.param == "inline")


@pytest.fixture
async def store(builder: Builder) -> AsyncIterator[SqliteStore]:
    """
    An open store that forgets in every sweep.
    """
    async with builder.opened(StoreOptions(forget_interval_s=0)) as (opened, _):
        yield opened


@pytest.fixture
def set_clock(builder: Builder) -> SetClock:
    """
    The clock of the test's stores.
    """
    return builder.clock
