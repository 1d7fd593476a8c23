"""
What every store promises about chats, sessions, keys, and for how long.
"""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from harness.ids import CallbackId, SessionId, ToolCallId
from harness.stores import (
    AnsweredKey,
    CallbackState,
    Delivered,
    DeliveryAttempt,
    IdempotencyBegun,
    IdempotencyMismatch,
    IdempotencyRunning,
    IdempotentAnswer,
    Store,
    StoreOptions,
)

CALLBACK = CallbackId("cb_1")
ATTEMPT = DeliveryAttempt(
    started_s=1_700_000_000.0, duration_s=0.1, outcome="success", reason="ok"
)


async def deliver_all(store: Store) -> None:
    """
    Deliver whatever is due.
    """
    for claimed in await store.claim(owner="me", lease_s=30.0, room={"default": 99}):
        await store.finish_delivery(claimed, attempt=ATTEMPT, step=Delivered())


async def finish(
    store: Store, message: Any = None, state: CallbackState = CallbackState.COMPLETED
) -> bool:
    """
    End the chat of these tests.
    """
    return await store.finish_chat(
        CALLBACK, state=state, result_json="{}", error_json=None, message=message
    )


async def test_keeps_an_accepted_chat(store: Store, builder: Any) -> None:
    """
    An accepted chat is there with what it needs to go on.
    """
    await store.accept_chat(builder.chat())
    await store.save_progress(CALLBACK, '{"turn":1}')

    found = await store.load_callback(CALLBACK)

    assert found == replace(builder.chat(), progress_json='{"turn":1}')
    assert await store.load_callback(CallbackId("cb_none")) is None
    assert (await store.counts()).pending_chats == 1


async def test_ends_a_chat_once_with_its_webhook(store: Store, builder: Any) -> None:
    """
    The first end of a chat counts, and its webhook is committed with it.
    """
    await store.accept_chat(builder.chat())

    assert await finish(store, builder.message("first"))
    assert not await finish(store, builder.message("second"))

    claimed = await store.claim(owner="me", lease_s=30.0, room={"default": 9})
    assert [each.message_id for each in claimed] == ["msg_first"]
    found = await store.load_callback(CALLBACK)
    assert found is not None
    assert (found.state, found.result_json) == (CallbackState.COMPLETED, "{}")


async def test_cancel_and_answer_have_one_winner(store: Store, builder: Any) -> None:
    """
    Of a cancellation and an answer at once exactly one takes effect.
    """
    await store.accept_chat(builder.chat())

    async with asyncio.TaskGroup() as tasks:
        rivals = [
            tasks.create_task(finish(store, state=state))
            for state in (CallbackState.CANCELLED, CallbackState.COMPLETED)
        ]

    assert [task.result() for task in rivals].count(True) == 1


async def test_progress_of_an_ended_chat_changes_nothing(
    store: Store, builder: Any
) -> None:
    """
    Only a pending chat has progress.
    """
    await store.accept_chat(builder.chat())
    await finish(store)

    await store.save_progress(CALLBACK, "{}")

    found = await store.load_callback(CALLBACK)
    assert found is not None
    assert found.progress_json is None


async def test_remembers_a_session(store: Store) -> None:
    """
    The last saved conversation of a session is the one that is loaded.
    """
    session = SessionId("ses_1")

    assert await store.load_session(session) is None
    await store.save_session(session, "[1]")
    await store.save_session(session, "[1,2]")

    assert await store.load_session(session) == "[1,2]"


async def test_an_idempotency_key_belongs_to_one_request(store: Store) -> None:
    """
    A key is free, then running, then answered, always for the same body.
    """
    answer = IdempotentAnswer(
        status=200, body=b'{"success":true}', content_type="application/json"
    )

    assert await store.begin_idempotent("k", body_sha256="aa") == IdempotencyBegun()
    assert await store.begin_idempotent("k", body_sha256="aa") == IdempotencyRunning()
    assert await store.begin_idempotent("k", body_sha256="bb") == IdempotencyMismatch()
    await store.finish_idempotent("k", answer)
    assert await store.begin_idempotent("k", body_sha256="aa") == answer
    assert await store.begin_idempotent("k", body_sha256="bb") == IdempotencyMismatch()


async def test_accepting_a_chat_answers_its_key(store: Store, builder: Any) -> None:
    """
    A chat is accepted together with the answer to its idempotency key, or not at all.
    """
    answer = IdempotentAnswer(status=202, body=b"{}", content_type="application/json")
    answered = AnsweredKey(key="k", answer=answer)
    await store.begin_idempotent("k", body_sha256="b")
    await store.accept_chat(builder.chat(), answered=answered)

    assert await store.begin_idempotent("k", body_sha256="b") == answer
    # The same chat once more cannot be written, and leaves the other key alone.
    await store.begin_idempotent("other", body_sha256="b")
    with pytest.raises(Exception, match="callback_id"):
        await store.accept_chat(
            builder.chat(), answered=AnsweredKey(key="other", answer=answer)
        )
    state = await store.begin_idempotent("other", body_sha256="b")
    assert state == IdempotencyRunning()


async def test_a_released_key_is_free_again(store: Store) -> None:
    """
    A key whose request came to nothing may be used again; one with an answer stays.
    """
    await store.begin_idempotent("k", body_sha256="aa")
    await store.release_idempotent("k")
    assert await store.begin_idempotent("k", body_sha256="bb") == IdempotencyBegun()
    answer = IdempotentAnswer(status=200, body=b"", content_type="text/plain")
    await store.finish_idempotent("k", answer)

    await store.release_idempotent("k")

    assert await store.begin_idempotent("k", body_sha256="bb") == answer


@pytest.mark.parametrize("is_delivered", [True, False])
async def test_keeps_a_result_for_an_hour_after_its_delivery(
    store: Store, builder: Any, set_clock: Any, *, is_delivered: bool
) -> None:
    """
    Calls and chats are forgotten an hour after their webhook ended, and not before.
    """
    await store.accept_chat(builder.chat())
    await finish(store, builder.message("chat", callback_id="cb_1"))
    await store.finish_call(
        builder.ended(), message=builder.message("call", tool_call_id="call_1")
    )
    set_clock.advance(7200.0)
    if is_delivered:
        await deliver_all(store)
    set_clock.advance(3600.0)
    await store.sweep()
    assert await store.load_callback(CALLBACK) is not None
    assert await store.load_call(ToolCallId("call_1")) is not None

    set_clock.advance(0.001)
    await store.sweep()

    is_kept = not is_delivered
    assert (await store.load_callback(CALLBACK) is not None) is is_kept
    assert (await store.load_call(ToolCallId("call_1")) is not None) is is_kept


async def test_keeps_a_result_without_webhook_for_an_hour(
    store: Store, builder: Any, set_clock: Any
) -> None:
    """
    What is not told by webhook is kept for an hour after its end.
    """
    await store.accept_chat(builder.chat())
    await finish(store, state=CallbackState.CANCELLED)
    set_clock.advance(3600.0)
    await store.sweep()
    assert await store.load_callback(CALLBACK) is not None

    set_clock.advance(0.001)
    await store.sweep()

    assert await store.load_callback(CALLBACK) is None


async def test_looks_for_old_rows_once_an_interval(builder: Any) -> None:
    """
    Sweeps come more often than rows get old; a clock set back does not end that.
    """
    options = StoreOptions(session_keep_s=1.0, forget_interval_s=60.0)
    session_id = SessionId("ses_1")
    async with builder.opened(options) as (store, _):
        await store.sweep()
        await store.save_session(session_id, "[]")
        builder.clock.advance(59.0)
        await store.sweep()
        assert await store.load_session(session_id) is not None
        builder.clock.advance(1.0)
        await store.sweep()
        assert await store.load_session(session_id) is None

        builder.clock.advance(-3600.0)
        await store.save_session(session_id, "[]")
        builder.clock.advance(2.0)
        await store.sweep()

        assert await store.load_session(session_id) is None


async def test_goes_on_forgetting_what_was_too_much_for_one_sweep(builder: Any) -> None:
    """
    A sweep that forgot as many rows as it may is followed by one that forgets the rest.
    """
    options = StoreOptions(session_keep_s=1.0, sweep_rows_max=2)
    names = [SessionId(f"ses_{number}") for number in range(3)]
    async with builder.opened(options) as (store, _):
        for name in names:
            await store.save_session(name, "[]")
        builder.clock.advance(2.0)

        left = []
        for _ in range(2):
            await store.sweep()
            kept = [await store.load_session(name) for name in names]
            left.append(len(kept) - kept.count(None))

        assert left == [1, 0]


async def test_remembers_dedupe_keys_longer_than_any_schedule(
    store: Store, builder: Any, set_clock: Any
) -> None:
    """
    A delivered message keeps its key taken for seven days.
    """
    message = builder.message("a")
    await store.enqueue(message)
    await deliver_all(store)
    set_clock.advance(6.9 * 86_400)
    await store.sweep()
    assert not await store.enqueue(message)

    set_clock.advance(0.2 * 86_400)
    await store.sweep()

    assert await store.enqueue(message)
