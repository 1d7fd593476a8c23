"""
The sender over real sockets, with a real writer thread.
"""

import asyncio
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from harness.bus import EventBus
from harness.clock import LoopClock
from harness.events import WebhookDelivered
from harness.ids import IdMint, MessageId
from harness.randomness import Randomness
from harness.stores import NewMessage, SqliteStore
from harness.testing import Recorder
from harness.webhooks import (
    EgressPolicy,
    Endpoint,
    RetrySchedule,
    Secret,
    WebhookSender,
    exchange,
    open_session,
)

pytestmark = pytest.mark.sockets

SECRET = Secret.parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
LOOPBACK = EgressPolicy.parse(["127.0.0.0/8"])


async def post(session: aiohttp.ClientSession, url: str) -> str:
    """
    Return what one exchange came to.
    """
    answer = await exchange(
        session, url, headers={}, body=b"{}", timeout_s=5.0, clock=LoopClock()
    )
    return answer.reason


async def test_delivers_over_loopback(
    tmp_path: Path,
    open_endpoint: Callable[..., Any],
    clock: LoopClock,
    bus: EventBus,
    recorder: Recorder,
) -> None:
    """
    Enqueued by many callers at once, every message arrives once and is delivered.
    """
    endpoint = await open_endpoint()
    ids, randomness = IdMint(), Randomness()
    store = SqliteStore(
        tmp_path / "live.db", clock=clock, ids=ids, randomness=randomness
    )
    await store.open()
    async with open_session(LOOPBACK) as session, asyncio.TaskGroup() as tasks:
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

        async def enqueue(name: str) -> None:
            await store.enqueue(
                NewMessage(
                    message_id=MessageId(f"msg_{name}"),
                    event_type="a.b",
                    body=b"{}",
                    endpoint="default",
                    dedupe_key=name,
                )
            )
            sender.wake()

        async with asyncio.TaskGroup() as callers:
            for number in range(100):
                callers.create_task(enqueue(str(number)))
        await recorder.wait_recorded(WebhookDelivered, count=100)
        assert await sender.drain(5.0) == 0
    await store.close()

    seen = [each.headers["webhook-id"] for each in endpoint.seen]
    assert sorted(seen) == sorted(f"msg_{number}" for number in range(100))


async def speak_plainly(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """
    Answer before anything is asked, and not in TLS.
    """
    writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    writer.close()


async def test_tells_the_classes_of_failures_apart() -> None:
    """
    Bad TLS, a refused connection and a denied address each have their own reason.
    """
    plain = await asyncio.start_server(speak_plainly, "127.0.0.1", 0)
    plain_port = plain.sockets[0].getsockname()[1]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]

    async with open_session(LOOPBACK) as session:
        reasons = [
            await post(session, f"https://127.0.0.1:{plain_port}/"),
            await post(session, f"http://127.0.0.1:{port}/"),
            await post(session, "http://10.0.0.1/"),
        ]
    plain.close()

    assert reasons == ["tls", "refused", "egress_denied"]


class NoSuchName(aiohttp.abc.AbstractResolver):
    """
    Knows no name.
    """

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[aiohttp.abc.ResolveResult]:
        """
        Fail as a look-up does.
        """
        del port, family
        raise socket.gaierror(socket.EAI_NONAME, f"no such name: {host}")

    async def close(self) -> None:
        """
        Nothing is held.
        """


async def test_a_name_that_does_not_exist_has_its_reason() -> None:
    """
    A failed look-up is told apart from a failed dial.
    """
    connector = aiohttp.TCPConnector(
        resolver=NoSuchName(), socket_factory=LOOPBACK.make_socket
    )
    async with aiohttp.ClientSession(connector=connector) as session:
        assert await post(session, "http://nowhere.invalid/") == "dns"
