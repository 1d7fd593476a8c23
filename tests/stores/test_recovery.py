"""
What a store finds when it is opened after its owner died.
"""

from typing import Any

import apsw

from harness.ids import MessageId, ToolCallId
from harness.stores import CallState, IdempotencyBegun

ROOM = {"default": 100}


async def test_releases_what_a_dead_owner_held(builder: Any) -> None:
    """
    Leases of a dead owner are released on record, and due again over five seconds.
    """
    dead = builder.build()
    await dead.open()
    for number in range(50):
        await dead.enqueue(builder.message(str(number)))
    await dead.claim(owner="me", lease_s=3600.0, room=ROOM)
    dead.abandon()

    async with builder.opened() as (store, recovery):
        assert recovery.released_deliveries == 50
        (attempt,) = await store.load_attempts(MessageId("msg_0"))
        assert attempt.outcome == "unknown_crash"
        due_at_once = await store.claim(owner="me", lease_s=30.0, room=ROOM)
        builder.clock.advance(2.5)
        due_later = await store.claim(owner="me", lease_s=30.0, room=ROOM)
        builder.clock.advance(2.5)
        rest = await store.claim(owner="me", lease_s=30.0, room=ROOM)

    assert len(due_at_once) <= 2
    assert 10 < len(due_later) < 40
    assert len(due_at_once) + len(due_later) + len(rest) == 50
    assert {each.attempt_number for each in due_later} == {2}


async def test_closing_releases_without_blame(builder: Any) -> None:
    """
    What is leased when a store is closed is due at once, and no crash is counted.
    """
    async with builder.opened() as (store, _):
        await store.enqueue(builder.message("a"))
        await store.claim(owner="me", lease_s=3600.0, room=ROOM)

    async with builder.opened() as (store, recovery):
        assert recovery.released_deliveries == 0
        (claimed,) = await store.claim(owner="me", lease_s=30.0, room=ROOM)
        assert claimed.attempt_number == 2
        (attempt,) = await store.load_attempts(MessageId("msg_a"))
        assert attempt.reason == "shutdown"


async def test_closes_while_it_is_out(builder: Any) -> None:
    """
    A store that cannot write is closed all the same; the next start releases leases.
    """
    store = builder.build()
    await store.open()
    await store.enqueue(builder.message("a"))
    await store.claim(owner="me", lease_s=3600.0, room=ROOM)
    other = apsw.Connection(str(builder.path))
    other.execute("BEGIN IMMEDIATE")

    await store.close()
    other.execute("ROLLBACK")
    other.close()

    async with builder.opened() as (_, recovery):
        assert recovery.released_deliveries == 1


async def test_finds_chats_that_were_not_finished(builder: Any) -> None:
    """
    Accepted chats that have no end are handed over, with their progress.
    """
    dead = builder.build()
    await dead.open()
    await dead.accept_chat(builder.chat())
    await dead.save_progress(builder.chat().callback_id, '{"turn":1}')
    dead.abandon()

    async with builder.opened() as (_, recovery):
        (chat,) = recovery.unfinished_chats

    assert chat.progress_json == '{"turn":1}'


async def test_frees_the_keys_of_dead_requests(builder: Any) -> None:
    """
    An idempotency key whose request died with its process may be used again.
    """
    dead = builder.build()
    await dead.open()
    await dead.begin_idempotent("k", body_sha256="aa")
    dead.abandon()

    async with builder.opened() as (store, _):
        assert await store.begin_idempotent("k", body_sha256="aa") == IdempotencyBegun()


async def test_expires_calls_whose_deadline_passed_meanwhile(builder: Any) -> None:
    """
    Deadlines that passed while nobody was there are swept at the start.
    """
    dead = builder.build()
    await dead.open()
    await dead.open_call(builder.call("call_short", timeout_s=10.0))
    await dead.open_call(builder.call("call_long", timeout_s=1000.0))
    dead.abandon()
    builder.clock.advance(60.0)

    async with builder.opened() as (store, recovery):
        assert recovery.expired_calls == 1
        short = await store.load_call(ToolCallId("call_short"))
        long = await store.load_call(ToolCallId("call_long"))

    assert short is not None
    assert short.state is CallState.EXPIRED
    assert long is not None
    assert long.state is CallState.PENDING
