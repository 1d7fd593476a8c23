"""
The sender while its store is out.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from harness.clock import Clock
from harness.errors import StoreUnavailableError
from harness.events import WebhookAttemptStarted, WebhookDelivered
from harness.ids import MessageId
from harness.stores import ClaimedDelivery, SqliteStore
from harness.testing import Recorder

pytestmark = pytest.mark.virtual_time


class FlakyStore:
    """
    A store of which some methods are out for as long as a test says.
    """

    def __init__(self, store: SqliteStore) -> None:
        self.out: set[str] = set()
        self.refused = 0
        self._store = store

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method: Callable[..., Awaitable[Any]] = getattr(self._store, name)

        async def guarded(*args: Any, **values: Any) -> Any:
            if name in self.out:
                self.refused += 1
                raise StoreUnavailableError(reason="test")
            return await method(*args, **values)

        return guarded


async def test_goes_on_when_claims_work_again(
    open_endpoint: Any,
    open_desk: Any,
    clock: Clock,
    recorder: Recorder,
    store: SqliteStore,
) -> None:
    """
    While nothing can be claimed nothing is sent; afterwards everything is.
    """
    flaky = FlakyStore(store)
    flaky.out = {"claim"}
    endpoint = await open_endpoint()

    async with open_desk(endpoint, through=flaky) as desk:
        await desk.send()
        await clock.sleep(60.0)
        assert endpoint.seen == []
        flaky.out = set()
        await recorder.wait_recorded(WebhookDelivered)

    assert len(endpoint.seen) == 1
    # It asks again now and then; it does not spin.
    assert 60 <= flaky.refused <= 130


async def test_an_outcome_is_written_once_the_store_is_back(
    open_endpoint: Any,
    open_desk: Any,
    clock: Clock,
    recorder: Recorder,
    store: SqliteStore,
) -> None:
    """
    An acknowledgement that cannot be written is kept, not asked for again.
    """
    flaky = FlakyStore(store)
    flaky.out = {"finish_delivery"}
    endpoint = await open_endpoint()

    async with open_desk(endpoint, through=flaky) as desk:
        await desk.send("a")
        await recorder.wait_recorded(WebhookAttemptStarted)
        # Longer than the lease: it runs out while its owner waits for the store.
        await clock.sleep(120.0)
        await desk.send("b")
        await clock.sleep(5.0)
        assert len(endpoint.seen) == 1
        flaky.out = set()
        await recorder.wait_recorded(WebhookDelivered, count=2)
        await clock.sleep(60.0)

    assert len(endpoint.seen) == 2
    assert [each.attempt_number for each in recorder.of(WebhookDelivered)] == [1, 1]
    (attempt,) = await store.load_attempts(MessageId("msg_a"))
    assert attempt.outcome == "success"


async def test_an_overtaken_outcome_decides_nothing(
    open_endpoint: Any,
    open_desk: Any,
    clock: Clock,
    recorder: Recorder,
    store: SqliteStore,
) -> None:
    """
    A sender that lost its lease to another says nothing about the delivery.
    """
    flaky = FlakyStore(store)
    flaky.out = {"finish_delivery", "claim"}
    endpoint = await open_endpoint()
    flaky.out = {"finish_delivery"}

    async with open_desk(endpoint, through=flaky) as desk:
        await desk.send()
        await recorder.wait_recorded(WebhookAttemptStarted)
        await clock.sleep(120.0)
        taken: list[ClaimedDelivery] = list(
            await store.claim(owner="other", lease_s=600.0, room={"default": 1})
        )
        flaky.out = set()
        await clock.sleep(10.0)

    assert [each.fence for each in taken] == [2]
    assert recorder.of(WebhookDelivered) == []
