"""
What every store promises about outgoing webhooks.
"""

from typing import Any

import pytest

from harness.ids import MessageId
from harness.stores import (
    ClaimedDelivery,
    Delivered,
    DeliveryAttempt,
    GiveUp,
    NextStep,
    RetryAt,
    Store,
    StoreOptions,
)

FAILED = DeliveryAttempt(
    started_s=1_700_000_000.0,
    duration_s=0.25,
    outcome="failure",
    reason="status_500",
    status=500,
)
ROOM = {"default": 10}


async def claim(store: Store, **room: int) -> list[ClaimedDelivery]:
    """
    Claim with room for ten at ``default``, or as given.
    """
    return list(await store.claim(owner="me", lease_s=30.0, room=room or ROOM))


async def test_sends_the_bytes_that_were_stored(store: Store, builder: Any) -> None:
    """
    A claim carries the message as it was enqueued, and its first attempt is counted.
    """
    message = builder.message("a")

    assert await store.enqueue(message)
    (claimed,) = await claim(store)

    assert claimed.body == message.body
    assert (claimed.message_id, claimed.event_type) == (
        message.message_id,
        message.event_type,
    )
    assert (claimed.attempt_number, claimed.fence) == (1, 1)
    assert claimed.created_s == builder.clock.wall()


async def test_keeps_one_message_per_dedupe_key(store: Store, builder: Any) -> None:
    """
    A second message with a known key is dropped, whatever its body.
    """
    message = builder.message("a")
    await store.enqueue(message)
    other = builder.message("b").__class__(
        message_id=MessageId("msg_other"),
        event_type=message.event_type,
        body=b"{}",
        endpoint="default",
        dedupe_key=message.dedupe_key,
    )

    assert not await store.enqueue(other)

    assert [each.body for each in await claim(store)] == [message.body]


async def test_leases_oldest_first_and_only_once(
    store: Store, builder: Any, set_clock: Any
) -> None:
    """
    What waits longest is leased first, and nothing is leased twice.
    """
    for name in "abc":
        await store.enqueue(builder.message(name))
        set_clock.advance(1.0)

    first = await claim(store, default=2)
    second = await claim(store)

    assert [each.message_id for each in first] == ["msg_a", "msg_b"]
    assert [each.message_id for each in second] == ["msg_c"]
    assert await claim(store) == []


async def test_leaves_other_endpoints_alone(store: Store, builder: Any) -> None:
    """
    A claim takes from the endpoints that have room, and no more than they have.
    """
    for name in "abc":
        await store.enqueue(builder.message(f"slow_{name}", endpoint="slow"))
    await store.enqueue(builder.message("fast", endpoint="fast"))

    claimed = await claim(store, slow=1, fast=5)

    assert sorted(each.message_id for each in claimed) == ["msg_fast", "msg_slow_a"]


async def test_retries_when_due(store: Store, builder: Any, set_clock: Any) -> None:
    """
    A delivery to be retried is leased at its time and not before.
    """
    await store.enqueue(builder.message("a"))
    (claimed,) = await claim(store)
    due_s = set_clock.wall() + 2.0

    assert await store.finish_delivery(
        claimed, attempt=FAILED, step=RetryAt(due_s=due_s)
    )

    assert await store.next_due_s(endpoints=["default"]) == due_s
    set_clock.advance(1.999)
    assert await claim(store) == []
    set_clock.advance(0.001)
    (again,) = await claim(store)
    assert (again.attempt_number, again.fence) == (2, 2)


@pytest.mark.parametrize("step", [Delivered(), GiveUp(reason="attempts_max")])
async def test_ends_for_good(store: Store, builder: Any, step: NextStep) -> None:
    """
    What was delivered or given up is never due again.
    """
    await store.enqueue(builder.message("a"))
    (claimed,) = await claim(store)

    await store.finish_delivery(claimed, attempt=FAILED, step=step)

    assert await claim(store) == []
    assert await store.next_due_s(endpoints=["default"]) is None
    assert not await store.finish_delivery(claimed, attempt=FAILED, step=Delivered())


async def test_lists_dead_letters_with_their_reason(store: Store, builder: Any) -> None:
    """
    What was given up is listed with why, how often it was tried, and the last error.
    """
    await store.enqueue(builder.message("a"))
    (claimed,) = await claim(store)
    await store.finish_delivery(claimed, attempt=FAILED, step=GiveUp(reason="gone"))

    (letter,) = await store.dead_letters(letters_max=10)

    assert (letter.message_id, letter.endpoint) == ("msg_a", "default")
    assert (letter.reason, letter.attempts) == ("gone", 1)
    assert letter.last_error == "status_500"


async def test_redelivers_with_a_fresh_count(store: Store, builder: Any) -> None:
    """
    A redelivered dead letter is due at once and starts its attempts again.
    """
    await store.enqueue(builder.message("a"))
    (claimed,) = await claim(store)
    await store.finish_delivery(claimed, attempt=FAILED, step=GiveUp(reason="gone"))

    letter = await store.redeliver(MessageId("msg_a"))

    assert letter is not None
    assert letter.reason == "gone"
    assert await store.dead_letters(letters_max=10) == []
    (again,) = await claim(store)
    assert again.attempt_number == 1
    assert again.fence == 2
    assert again.body == claimed.body


async def test_redelivers_dead_letters_only(store: Store, builder: Any) -> None:
    """
    What is unknown, waiting, in flight or delivered cannot be redelivered.
    """
    await store.enqueue(builder.message("a"))

    assert await store.redeliver(MessageId("msg_none")) is None
    assert await store.redeliver(MessageId("msg_a")) is None
    (claimed,) = await claim(store)
    assert await store.redeliver(MessageId("msg_a")) is None
    await store.finish_delivery(claimed, attempt=FAILED, step=Delivered())
    assert await store.redeliver(MessageId("msg_a")) is None


async def test_purges_dead_letters_only(store: Store, builder: Any) -> None:
    """
    A purged dead letter is gone for good; what is waiting, in flight or done stays.
    """
    for name in ("dead", "waiting"):
        await store.enqueue(builder.message(name))
    claimed, other = await claim(store)
    assert await store.purge(claimed.message_id) is None
    await store.finish_delivery(claimed, attempt=FAILED, step=GiveUp(reason="gone"))
    await store.finish_delivery(other, attempt=FAILED, step=RetryAt(due_s=9e9))

    letter = await store.purge(claimed.message_id)

    assert letter is not None
    assert letter.message_id == claimed.message_id
    assert await store.purge(claimed.message_id) is None
    assert await store.redeliver(claimed.message_id) is None
    assert await store.load_attempts(claimed.message_id) == []
    assert await store.purge(other.message_id) is None
    assert (await store.counts()).waiting_deliveries == 1


async def test_fences_off_a_sender_past_its_lease(
    store: Store, builder: Any, set_clock: Any
) -> None:
    """
    Once a lease ran out, another sender takes over and the old one changes nothing.
    """
    await store.enqueue(builder.message("a"))
    (old,) = await claim(store)
    set_clock.advance(30.0)

    (new,) = await claim(store)

    assert new.fence > old.fence
    assert not await store.finish_delivery(old, attempt=FAILED, step=Delivered())
    assert await store.finish_delivery(new, attempt=FAILED, step=Delivered())
    attempts = await store.load_attempts(MessageId("msg_a"))
    assert [each.outcome for each in attempts] == ["unknown_crash", "failure"]
    assert attempts[0].duration_s == 30.0


async def test_gives_back_as_if_it_had_not_been_claimed(
    store: Store, builder: Any, set_clock: Any
) -> None:
    """
    What was not sent after all is due as it was, before what came later; nothing counts.
    """
    await store.enqueue(builder.message("a"))
    due_s = await store.next_due_s(endpoints=["default"])
    (first,) = await claim(store)
    set_clock.advance(1.0)
    await store.enqueue(builder.message("b"))

    assert await store.give_back(first)

    assert await store.next_due_s(endpoints=["default"]) == due_s
    again, later = await claim(store)
    assert (again.message_id, later.message_id) == ("msg_a", "msg_b")
    assert (again.attempt_number, again.fence) == (1, 2)
    assert await store.load_attempts(again.message_id) == []


async def test_gives_back_only_what_is_still_claimed(
    store: Store, builder: Any, set_clock: Any
) -> None:
    """
    Who was overtaken, has given it back before or has ended it changes nothing.
    """
    await store.enqueue(builder.message("a"))
    (lost,) = await claim(store)
    set_clock.advance(31.0)
    (ours,) = await claim(store)

    assert not await store.give_back(lost)
    assert await store.give_back(ours)
    assert not await store.give_back(ours)
    assert not await store.finish_delivery(ours, attempt=FAILED, step=Delivered())

    (last,) = await claim(store)
    assert last.attempt_number == 2
    assert await store.finish_delivery(last, attempt=FAILED, step=Delivered())
    assert not await store.give_back(last)


async def test_records_every_attempt(
    store: Store, builder: Any, set_clock: Any
) -> None:
    """
    Each attempt is on record with its status, its time and its reason.
    """
    await store.enqueue(builder.message("a"))
    for _ in range(2):
        (claimed,) = await claim(store)
        await store.finish_delivery(
            claimed, attempt=FAILED, step=RetryAt(due_s=set_clock.wall())
        )

    assert await store.load_attempts(MessageId("msg_a")) == [FAILED, FAILED]


async def test_gives_up_on_what_crashes_its_sender(builder: Any) -> None:
    """
    A delivery whose attempts were cut off again and again is a dead letter.
    """
    async with builder.opened(StoreOptions(crashes_max=3)) as (store, _):
        await store.enqueue(builder.message("a"))
        for _ in range(3):
            assert len(await claim(store)) == 1
            builder.clock.advance(30.0)

        assert await claim(store) == []

        (letter,) = await store.dead_letters(letters_max=10)
        assert (letter.reason, letter.attempts) == ("crashes", 3)


async def test_counts_crashes_in_a_row_only(builder: Any) -> None:
    """
    An attempt that ended, however badly, shows that the delivery crashes nobody.
    """
    async with builder.opened(StoreOptions(crashes_max=2)) as (store, _):
        await store.enqueue(builder.message("a"))
        for _ in range(3):
            await claim(store)
            builder.clock.advance(30.0)
            (claimed,) = await claim(store)
            step = RetryAt(due_s=builder.clock.wall())
            await store.finish_delivery(claimed, attempt=FAILED, step=step)

        assert await store.dead_letters(letters_max=10) == []


async def test_says_when_a_lease_runs_out(
    store: Store, builder: Any, set_clock: Any
) -> None:
    """
    The end of a lease counts as the time when there is something to do.
    """
    await store.enqueue(builder.message("a"))
    await claim(store)

    assert await store.next_due_s(endpoints=["default"]) == set_clock.wall() + 30.0


async def test_counts_what_is_left(store: Store, builder: Any) -> None:
    """
    The counts name what waits, those in flight included, and what is dead.
    """
    for name in "abc":
        await store.enqueue(builder.message(name))
    first, _second = await claim(store, default=2)
    await store.finish_delivery(first, attempt=FAILED, step=GiveUp(reason="gone"))

    counts = await store.counts()

    assert (counts.waiting_deliveries, counts.dead_letters) == (2, 1)
