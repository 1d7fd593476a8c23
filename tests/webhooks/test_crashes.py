"""
A service that dies at the worst moments, and one that lives with a clock that is set.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from harness.bus import EventBus
from harness.clock import Clock, LoopClock
from harness.events import WebhookAttemptEnded, WebhookDelivered
from harness.ids import IdMint, MessageId
from harness.randomness import Randomness
from harness.simulation import WALL_EPOCH_S
from harness.stores import (
    Durability,
    NewMessage,
    SqliteStore,
    StoreOptions,
)
from harness.testing import Recorder
from harness.webhooks import (
    EgressPolicy,
    Endpoint,
    RetrySchedule,
    Secret,
    WebhookSender,
    open_session,
)

pytestmark = pytest.mark.virtual_time

SECRET = Secret.parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
MESSAGE = NewMessage(
    message_id=MessageId("msg_a"),
    event_type="a.b",
    body=b"{}",
    endpoint="default",
    dedupe_key="a",
)


class Doomed:
    """
    A store whose process dies right before or after one of its methods.
    """

    def __init__(self, store: SqliteStore, *, method: str, is_before: bool) -> None:
        self.died = asyncio.Event()
        self._store = store
        self._method = method
        self._is_before = is_before

    def __getattr__(self, name: str) -> Callable[..., Awaitable[Any]]:
        method: Callable[..., Awaitable[Any]] = getattr(self._store, name)

        async def guarded(*args: Any, **values: Any) -> Any:
            if name == self._method and self._is_before:
                await self._die()
            result = await method(*args, **values)
            if name == self._method and result:
                await self._die()
            return result

        return guarded

    async def _die(self) -> None:
        self._store.abandon()
        self.died.set()
        await asyncio.Event().wait()


@pytest.mark.parametrize(
    ("method", "is_before", "requests"),
    [
        pytest.param("claim", True, 1, id="enqueued"),
        pytest.param("claim", False, 1, id="claimed"),
        pytest.param("finish_delivery", True, 2, id="answered"),
        pytest.param("finish_delivery", False, 1, id="finished"),
    ],
)
async def test_a_crash_loses_nothing(
    tmp_path: Path,
    open_endpoint: Any,
    clock: Clock,
    randomness: Randomness,
    ids: IdMint,
    bus: EventBus,
    method: str,
    *,
    is_before: bool,
    requests: int,
) -> None:
    """
    Killed anywhere, a message is delivered after the restart, at most once too often.
    """

    def build() -> SqliteStore:
        return SqliteStore(
            tmp_path / "crash.db",
            clock=clock,
            ids=ids,
            randomness=randomness,
            options=StoreOptions(durability=Durability.SIMULATED),
            is_inline=True,
        )

    endpoint = await open_endpoint()

    async with open_session(EgressPolicy.parse(["127.0.0.0/8"])) as session:

        def sender(store: Any) -> WebhookSender:
            return WebhookSender(
                store=store,
                session=session,
                endpoints={
                    "default": Endpoint(
                        name="default", url=endpoint.url, secrets=(SECRET,)
                    )
                },
                schedule=RetrySchedule.doubling(),
                clock=clock,
                randomness=randomness,
                ids=ids,
                bus=bus,
            )

        first = build()
        await first.open()
        await first.enqueue(MESSAGE)
        doomed = Doomed(first, method=method, is_before=is_before)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(sender(doomed).run())
            await doomed.died.wait()
            running.cancel()
        second = build()
        recovery = await second.open()
        async with asyncio.TaskGroup() as tasks:
            alive = sender(second)
            tasks.create_task(alive.run())
            await clock.sleep(60.0)
            await alive.drain(1.0)
        counts = await second.counts()
        await second.close()

    assert len(endpoint.seen) == requests
    assert {seen.headers["webhook-id"] for seen in endpoint.seen} == {"msg_a"}
    assert (counts.waiting_deliveries, counts.dead_letters) == (0, 0)
    was_leased = (method, is_before) in {("claim", False), ("finish_delivery", True)}
    assert recovery.released_deliveries == int(was_leased)


class SteppedClock(LoopClock):
    """
    A clock whose wall can be set by others, as machines' clocks are.
    """

    def __init__(self) -> None:
        super().__init__(WALL_EPOCH_S)
        self.step_s = 0.0

    def wall(self) -> float:
        """
        Return the time as it was set.
        """
        return super().wall() + self.step_s


@pytest.mark.parametrize("step_s", [3600.0, -3600.0])
async def test_a_clock_that_is_set_makes_no_storm(
    tmp_path: Path,
    open_endpoint: Any,
    randomness: Randomness,
    ids: IdMint,
    bus: EventBus,
    recorder: Recorder,
    step_s: float,
) -> None:
    """
    The wall clock goes an hour either way; every message is still delivered, once.
    """
    clock = SteppedClock()
    endpoint = await open_endpoint()
    store = SqliteStore(
        tmp_path / "stepped.db",
        clock=clock,
        ids=ids,
        randomness=randomness,
        options=StoreOptions(durability=Durability.SIMULATED),
        is_inline=True,
    )
    await store.open()
    async with (
        open_session(EgressPolicy.parse(["127.0.0.0/8"])) as session,
        asyncio.TaskGroup() as tasks,
    ):
        sender = WebhookSender(
            store=store,
            session=session,
            endpoints={
                "default": Endpoint(name="default", url=endpoint.url, secrets=(SECRET,))
            },
            schedule=RetrySchedule.doubling(),
            clock=clock,
            randomness=randomness,
            ids=ids,
            bus=bus,
        )
        tasks.create_task(sender.run())
        await store.enqueue(MESSAGE)
        clock.step_s = step_s
        with contextlib.suppress(TimeoutError):
            async with clock.timeout(2 * 3600.0):
                await recorder.wait_recorded(WebhookDelivered)
                await clock.sleep(2 * 3600.0)
        await sender.drain(1.0)
    await store.close()

    assert len(endpoint.seen) == 1
    assert len(recorder.of(WebhookAttemptEnded)) == 1
