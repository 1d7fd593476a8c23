"""
What every store promises about tool calls and the webhooks that resolve them.
"""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from harness.ids import MessageId, ToolCallId
from harness.stores import (
    CallResolution,
    CallState,
    IncomingMessage,
    ReceiveOutcome,
    Store,
    StoreOptions,
    ToolCallRecord,
)

ROOM = {"default": 10}


def incoming(name: str = "in_1", body_sha256: str = "aa") -> IncomingMessage:
    """
    Return a verified message.
    """
    return IncomingMessage(
        message_id=MessageId(name),
        event_type="function_call.completed",
        body_sha256=body_sha256,
    )


def resolution(call: str = "call_1", result: str = '{"ok":true}') -> CallResolution:
    """
    Return the answer to a call.
    """
    return CallResolution(
        tool_call_id=ToolCallId(call), state=CallState.COMPLETED, result_json=result
    )


async def sent(store: Store) -> list[str]:
    """
    Return the ids of what is due.
    """
    claimed = await store.claim(owner="me", lease_s=30.0, room=ROOM)
    return [each.message_id for each in claimed]


async def test_opens_a_call_before_its_result(store: Store, builder: Any) -> None:
    """
    An opened call is pending, and opening it again returns it as it stands.
    """
    call = builder.call()

    assert await store.open_call(call) == call
    assert await store.open_call(call) == call
    assert await store.load_call(call.tool_call_id) == call
    assert await store.load_call(ToolCallId("call_none")) is None


async def test_leaves_an_id_with_the_chat_that_has_it(
    store: Store, builder: Any
) -> None:
    """
    An id that another chat uses is returned with that chat, and cannot be ended.
    """
    await store.open_call(builder.call())
    stranger = replace(builder.ended(), chat_id="chat_2")

    assert (await store.open_call(stranger)).chat_id == "chat_1"
    assert not await store.finish_call(stranger, message=None)

    found = await store.load_call(stranger.tool_call_id)
    assert found is not None
    assert found.state is CallState.PENDING


async def test_ends_a_call_once_with_its_webhook(store: Store, builder: Any) -> None:
    """
    The first end of a call counts, and its webhook is committed with it.
    """
    ended = builder.ended()
    await store.open_call(builder.call())

    assert await store.finish_call(ended, message=builder.message("first"))
    assert not await store.finish_call(ended, message=builder.message("second"))

    assert await store.load_call(ended.tool_call_id) == ended
    assert await sent(store) == ["msg_first"]


async def test_inserts_a_call_that_ends_at_once(store: Store, builder: Any) -> None:
    """
    A call that never was pending is written with its end.
    """
    assert await store.finish_call(builder.ended(), message=builder.message("a"))

    assert await store.load_call(ToolCallId("call_1")) == builder.ended()
    assert await sent(store) == ["msg_a"]


async def test_applies_a_result_once(store: Store, builder: Any) -> None:
    """
    A result resolves its call and enqueues its webhook; a repeat changes nothing.
    """
    await store.open_call(builder.call())

    first = await store.receive(
        incoming(), resolution=resolution(), message=builder.message("a")
    )
    again = await store.receive(
        incoming(), resolution=resolution(), message=builder.message("b")
    )

    assert first.outcome is ReceiveOutcome.APPLIED
    assert first.call == builder.ended()
    assert again.outcome is ReceiveOutcome.DUPLICATE
    assert again.call == builder.ended()
    (claimed,) = await store.claim(owner="me", lease_s=30.0, room=ROOM)
    assert claimed.message_id == "msg_a"
    assert claimed.trace_id == builder.call().trace_id


async def test_refuses_a_known_id_with_another_body(store: Store, builder: Any) -> None:
    """
    The same id with another body is a conflict and changes nothing.
    """
    await store.open_call(builder.call("call_1"))
    await store.open_call(builder.call("call_2"))
    await store.receive(incoming(), resolution=resolution(), message=None)

    result = await store.receive(
        incoming(body_sha256="bb"), resolution=resolution("call_2"), message=None
    )

    assert result.outcome is ReceiveOutcome.CONFLICT
    other = await store.load_call(ToolCallId("call_2"))
    assert other is not None
    assert other.state is CallState.PENDING


async def test_keeps_the_first_of_two_results(store: Store, builder: Any) -> None:
    """
    Two messages for one call: the first result stands, the second is late.
    """
    await store.open_call(builder.call())
    await store.receive(
        incoming("in_1"), resolution=resolution(), message=builder.message("a")
    )

    rival = await store.receive(
        incoming("in_2"),
        resolution=resolution(result='{"ok":false}'),
        message=builder.message("b"),
    )

    assert rival.outcome is ReceiveOutcome.LATE
    assert rival.call == builder.ended()
    assert await sent(store) == ["msg_a"]


async def test_applies_an_early_result_when_its_call_appears(
    store: Store, builder: Any
) -> None:
    """
    A result that overtakes its call is applied with its webhook once that is opened.
    """
    early = await store.receive(
        incoming(), resolution=resolution(), message=builder.message("a")
    )
    repeated = await store.receive(
        incoming(), resolution=resolution(), message=builder.message("b")
    )
    await store.receive(
        incoming("in_2"), resolution=resolution(result="1"), message=None
    )
    assert await sent(store) == []

    opened = await store.open_call(builder.call())

    assert early.outcome is ReceiveOutcome.UNKNOWN
    assert repeated.outcome is ReceiveOutcome.UNKNOWN
    assert opened == builder.ended()
    (claimed,) = await store.claim(owner="me", lease_s=30.0, room=ROOM)
    assert claimed.body == builder.message("a").body
    assert claimed.trace_id == builder.call().trace_id
    after = await store.receive(
        incoming(), resolution=resolution(), message=builder.message("c")
    )
    assert after.outcome is ReceiveOutcome.DUPLICATE


async def test_remembers_what_resolves_nothing(store: Store) -> None:
    """
    A message without a resolution has no effect but is known afterwards.
    """
    first = await store.receive(incoming(), resolution=None, message=None)
    again = await store.receive(incoming(), resolution=None, message=None)

    assert first.outcome is ReceiveOutcome.APPLIED
    assert again.outcome is ReceiveOutcome.DUPLICATE


async def test_applies_one_of_a_hundred_at_once(store: Store, builder: Any) -> None:
    """
    The same message a hundred times at once has one effect.
    """
    await store.open_call(builder.call())

    async with asyncio.TaskGroup() as tasks:
        received = [
            tasks.create_task(
                store.receive(
                    incoming(),
                    resolution=resolution(),
                    message=builder.message(str(number)),
                )
            )
            for number in range(100)
        ]

    outcomes = [task.result().outcome for task in received]
    assert outcomes.count(ReceiveOutcome.APPLIED) == 1
    assert outcomes.count(ReceiveOutcome.DUPLICATE) == 99
    assert len(await sent(store)) == 1


@pytest.mark.parametrize("is_result_first", [True, False])
async def test_expiry_and_result_have_one_winner(
    store: Store, builder: Any, set_clock: Any, *, is_result_first: bool
) -> None:
    """
    A result and the deadline race through one conditional change.
    """
    await store.open_call(builder.call(timeout_s=60.0))
    set_clock.advance(60.0)

    async def receive() -> ReceiveOutcome:
        result = await store.receive(
            incoming(), resolution=resolution(), message=builder.message("a")
        )
        return result.outcome

    if is_result_first:
        assert await receive() is ReceiveOutcome.APPLIED
        assert await store.sweep() == []
    else:
        (expired,) = await store.sweep()
        assert expired.state is CallState.EXPIRED
        assert await receive() is ReceiveOutcome.LATE


async def test_expires_no_call_before_its_deadline(
    store: Store, builder: Any, set_clock: Any
) -> None:
    """
    Sweeping leaves calls alone that still have time.
    """
    await store.open_call(builder.call(timeout_s=60.0))
    set_clock.advance(59.999)

    assert await store.sweep() == []
    assert (await store.counts()).pending_calls == 1


async def test_an_expired_call_has_its_webhook(builder: Any) -> None:
    """
    The end of a call that nobody resolved is committed together with its webhook.
    """

    def tell(call: ToolCallRecord) -> Any:
        assert call.state is CallState.EXPIRED
        return builder.message("expired", tool_call_id=call.tool_call_id)

    store = builder.build(expiry_message=tell)
    await store.open()
    try:
        await store.open_call(builder.call(timeout_s=60.0))
        builder.clock.advance(61.0)

        (expired,) = await store.sweep()

        assert expired.result_json is not None
        assert "tool_timeout" in expired.result_json
        assert await store.load_call(expired.tool_call_id) == expired
        assert await sent(store) == ["msg_expired"]
    finally:
        await store.close()


async def test_sweeps_a_bounded_number(builder: Any) -> None:
    """
    One sweep ends no more calls than it may, and the next goes on.
    """
    async with builder.opened(StoreOptions(sweep_rows_max=2)) as (store, _):
        for number in range(3):
            await store.open_call(builder.call(f"call_{number}", timeout_s=number))
        builder.clock.advance(10.0)

        swept = [len(await store.sweep()) for _ in range(3)]

        assert swept == [2, 1, 0]


async def test_tells_of_webhooks_that_it_wrote_on_its_own(builder: Any) -> None:
    """
    The webhooks of expired calls and early results are told of, each once.
    """

    def make(call: ToolCallRecord) -> Any:
        return builder.message("expired", tool_call_id=call.tool_call_id)

    told: list[Any] = []
    store = builder.build(expiry_message=make, on_enqueued=told.append)
    await store.open()
    await store.receive(
        incoming(), resolution=resolution("call_1"), message=builder.message("early")
    )
    await store.open_call(builder.call("call_1"))
    await store.open_call(builder.call("call_1"))
    await store.open_call(builder.call("call_2", timeout_s=60.0))
    await store.finish_call(builder.ended("call_3"), message=builder.message("known"))
    assert [message.message_id for message in told] == ["msg_early"]
    assert told[0].trace_id == builder.call().trace_id
    store.abandon()
    builder.clock.advance(61.0)

    again = builder.build(expiry_message=make, on_enqueued=told.append)
    await again.open()
    await again.sweep()
    await again.close()

    assert [message.message_id for message in told] == ["msg_early", "msg_expired"]
