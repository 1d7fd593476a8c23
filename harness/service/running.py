"""
Running the graph: what starts and ends in which order.

Order matters twice. At the start the store is opened and what an earlier process left
is recovered, and only then does the port open. At the end chats are refused first.
Those that are under way get most of the grace time, with the port open, because they
may wait for a webhook. Then the sender ends, the port closes, and the store last.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
from aiohttp import web

from harness import __version__
from harness.bus import EventBus
from harness.clock import Clock
from harness.errors import HarnessError, SubjectError
from harness.events import ServiceStarted, ServiceStopped, ServiceStopping
from harness.ids import IdMint
from harness.orchestrator import first_error
from harness.randomness import Randomness
from harness.resilience import Deadline
from harness.service.graph import Outside, Service
from harness.settings import ServiceSettings
from harness.stores import Recovery, StoreCounts
from harness.upstream import open_session as open_calls
from harness.webhooks import open_session as open_webhooks

_CHATS_SHARE = 0.8
"""Of the grace time, how much chats have; the sender has what they leave."""

_CLOSING_SHARE = 0.1
"""Of the grace time, how much is left for closing connections."""


@contextlib.asynccontextmanager
async def running_service(
    settings: ServiceSettings,
    *,
    clock: Clock,
    randomness: Randomness,
    ids: IdMint,
    bus: EventBus | None = None,
    is_simulated: bool = False,
) -> AsyncIterator[Service]:
    """
    Run the service while inside; it accepts requests when this is entered.

    Args:
        settings: What it is told.
        clock: Time, for all of it.
        randomness: Jitter.
        ids: Identity; never one that repeats the ids of an earlier life.
        bus: Where its events go; None for a bus of its own.
        is_simulated: Keep to what a loop with simulated time allows: no threads.

    Raises:
        UsageError: The settings make no sense together.
        StoreLockedError: Another process writes to the store.
        SubjectError: The port is taken.
    """
    try:
        async with _open_outside(settings) as outside:
            service = Service(
                settings,
                outside=outside,
                clock=clock,
                randomness=randomness,
                ids=ids,
                bus=bus or EventBus(clock=clock),
                is_simulated=is_simulated,
            )
            recovery = await service.store.open()
            try:
                async with _running(service, recovery, clock):
                    yield service
            finally:
                await service.store.close()
    except BaseExceptionGroup as group:
        raise first_error(group) from group


@contextlib.asynccontextmanager
async def _open_outside(settings: ServiceSettings) -> AsyncIterator[Outside]:
    def session() -> aiohttp.ClientSession:
        return open_calls(
            connections_max=settings.upstream.connections_max,
            kept_alive_max=settings.upstream.kept_alive_max,
            keep_alive_s=settings.upstream.keep_alive,
        )

    async with (
        session() as upstream,
        session() as tools,
        open_webhooks(
            settings.webhook.egress_policy(bound_host=settings.host)
        ) as webhooks,
    ):
        yield Outside(upstream=upstream, tools=tools, webhooks=webhooks)


@contextlib.asynccontextmanager
async def _running(
    service: Service, recovery: Recovery, clock: Clock
) -> AsyncIterator[None]:
    owners = (service.callbacks, service.owned, service.approver)
    with service.bus.listening(service.metrics.hear):
        async with asyncio.TaskGroup() as tasks:
            for owner in owners:
                tasks.create_task(owner.run(), name="owner of chats")
            tasks.create_task(service.sender.run(), name="webhook sender")
            sweeper = tasks.create_task(service.sweeper.run(), name="sweeper")
            await service.owned.wait_ready()
            await service.approver.wait_ready()
            await service.callbacks.resume(recovery.unfinished_chats)
            grace_s = service.settings.limits.grace
            runner = service.make_runner(shutdown_timeout_s=grace_s * _CLOSING_SHARE)
            try:
                await _listen(service, runner)
                _publish_started(service, recovery)
                yield
            finally:
                await _stop(service, runner, clock)
                sweeper.cancel()


async def _listen(service: Service, runner: web.AppRunner) -> None:
    settings = service.settings
    await runner.setup()
    site = web.TCPSite(runner, settings.host, settings.port)
    try:
        await site.start()
    except OSError as error:
        reason = error.strerror or str(error)
        message = f"cannot listen on {settings.host}:{settings.port}: {reason}"
        raise SubjectError(message) from error
    host, port = runner.addresses[0][:2]
    shown = f"[{host}]" if ":" in host else host
    service.url = f"http://{shown}:{port}"
    service.is_ready = True


async def _stop(service: Service, runner: web.AppRunner, clock: Clock) -> None:
    """
    End in the order in which nothing gets lost, all of it within the grace time.
    """
    service.is_ready = False
    if service.url:
        service.bus.publish(ServiceStopping(reason="stop"))
    grace_s = service.settings.limits.grace
    port_closes = Deadline.after(clock, grace_s * (1 - _CLOSING_SHARE))
    for_chats_s = grace_s * _CHATS_SHARE
    async with asyncio.TaskGroup() as tasks:
        chats = tasks.create_task(service.callbacks.stop(grace_s=for_chats_s))
        tasks.create_task(service.orchestrator.stop(grace_s=for_chats_s))
    # What the last chats committed is sent now or after the next start.
    await service.sender.drain(max(port_closes.remaining_s(), 0.0))
    await service.owned.stop(grace_s=max(port_closes.remaining_s(), 0.0))
    await service.approver.stop()
    await runner.cleanup()
    if service.url:
        counts = await _counts(service)
        service.bus.publish(
            ServiceStopped(
                unfinished_chats=chats.result(),
                unfinished_deliveries=counts.waiting_deliveries,
            )
        )


async def _counts(service: Service) -> StoreCounts:
    try:
        return await service.store.counts()
    except HarnessError:
        return StoreCounts(
            waiting_deliveries=0, dead_letters=0, pending_calls=0, pending_chats=0
        )


def _publish_started(service: Service, recovery: Recovery) -> None:
    service.bus.publish(
        ServiceStarted(
            version=__version__,
            store=service.settings.store_url.partition("://")[0],
            recovered_deliveries=recovery.released_deliveries,
            recovered_chats=len(recovery.unfinished_chats),
            expired_calls=recovery.expired_calls,
        )
    )
