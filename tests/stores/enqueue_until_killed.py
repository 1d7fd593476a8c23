"""
Enqueues with many callers until it is killed, and names what was acknowledged.

Run by the kill tests as a process of its own: the first argument is the store. Each
acknowledged id is one line on standard output, written without a buffer.
"""

import asyncio
import os
import sys
from pathlib import Path

from harness.clock import LoopClock
from harness.ids import IdMint, MessageId
from harness.randomness import Randomness
from harness.stores import NewMessage, SqliteStore

CALLERS = 1000


async def enqueue_for_ever(store: SqliteStore, ids: IdMint) -> None:
    """
    Enqueue one message after the other.
    """
    while True:
        name = ids.mint("msg")
        await store.enqueue(
            NewMessage(
                message_id=MessageId(name),
                event_type="function_call.completed",
                body=name.encode() * 10,
                endpoint="default",
                dedupe_key=name,
            )
        )
        os.write(1, f"{name}\n".encode())


async def main() -> None:
    """
    Let many callers enqueue at once.
    """
    ids = IdMint()
    store = SqliteStore(
        Path(sys.argv[1]), clock=LoopClock(), ids=ids, randomness=Randomness()
    )
    await store.open()
    async with asyncio.TaskGroup() as tasks:
        for _ in range(CALLERS):
            tasks.create_task(enqueue_for_ever(store, ids))


asyncio.run(main())
