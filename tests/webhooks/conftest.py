"""
Endpoints that behave badly, and senders and receivers to meet them.
"""

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from harness.bus import EventBus
from harness.clock import Clock
from harness.ids import IdMint, MessageId
from harness.randomness import Randomness
from harness.stores import (
    Durability,
    NewMessage,
    SqliteStore,
    Store,
    StoreOptions,
)
from harness.webhooks import (
    EgressPolicy,
    Endpoint,
    RetrySchedule,
    Secret,
    SenderOptions,
    WebhookSender,
    build_body,
    open_session,
)

SECRET = Secret.parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")

Behaviour = Callable[[asyncio.StreamWriter], Awaitable[None]]


def answering(
    status: int, *, headers: Sequence[str] = (), body: bytes = b"{}"
) -> Behaviour:
    """
    Return a behaviour that answers at once and closes.
    """

    async def answer(writer: asyncio.StreamWriter) -> None:
        head = [
            f"HTTP/1.1 {status} Word",
            f"content-length: {len(body)}",
            "connection: close",
            *headers,
        ]
        writer.write("\r\n".join([*head, "", ""]).encode() + body)
        await writer.drain()

    return answer


@dataclass(slots=True, kw_only=True)
class Seen:
    """
    A request as an endpoint saw it.
    """

    time_s: float
    line: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class FakeEndpoint:
    """
    An endpoint that answers as told, one behaviour per request, the last for ever.
    """

    clock: Clock
    behaviours: list[Behaviour] = field(default_factory=lambda: [answering(200)])
    seen: list[Seen] = field(default_factory=list)
    connections: int = 0
    url: str = ""

    async def serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """
        Take one request and behave.
        """
        self.connections += 1
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            pairs = (line.split(": ", 1) for line in head[1:] if line)
            headers = {name.lower(): value for name, value in pairs}
            body = await reader.readexactly(int(headers.get("content-length", "0")))
            self.seen.append(
                Seen(
                    time_s=self.clock.monotonic(),
                    line=head[0],
                    headers=headers,
                    body=body,
                )
            )
            number = min(len(self.seen), len(self.behaviours)) - 1
            await self.behaviours[number](writer)
        except (OSError, asyncio.IncompleteReadError):
            return
        finally:
            writer.close()

    @property
    def gaps_s(self) -> list[float]:
        """
        The waits between requests.
        """
        times = [seen.time_s for seen in self.seen]
        return [round(after - before, 3) for before, after in itertools.pairwise(times)]


@pytest.fixture
async def open_endpoint(
    clock: Clock,
) -> AsyncIterator[Callable[..., Awaitable[FakeEndpoint]]]:
    """
    Opens endpoints that behave as told.
    """
    servers: list[asyncio.Server] = []

    async def open_one(*behaviours: Behaviour) -> FakeEndpoint:
        endpoint = FakeEndpoint(clock)
        if behaviours:
            endpoint.behaviours = list(behaviours)
        server = await asyncio.start_server(endpoint.serve, "127.0.0.1", 0)
        servers.append(server)
        port = server.sockets[0].getsockname()[1]
        endpoint.url = f"http://127.0.0.1:{port}/webhooks/default"
        return endpoint

    yield open_one
    for server in servers:
        server.close()


@pytest.fixture
async def store(
    tmp_path: Path, clock: Clock, ids: IdMint, randomness: Randomness
) -> AsyncIterator[SqliteStore]:
    """
    A store without threads.
    """
    opened = SqliteStore(
        tmp_path / "store.db",
        clock=clock,
        ids=ids,
        randomness=randomness,
        options=StoreOptions(durability=Durability.SIMULATED),
        is_inline=True,
    )
    await opened.open()
    yield opened
    await opened.close()


@dataclass(slots=True, kw_only=True)
class Desk:
    """
    A running sender, and what puts messages before it.
    """

    sender: WebhookSender
    store: Store
    endpoints: dict[str, Endpoint]
    ids: IdMint

    async def send(self, name: str = "a", *, endpoint: str = "default") -> NewMessage:
        """
        Enqueue a message and wake the sender.
        """
        message = NewMessage(
            message_id=MessageId(f"msg_{name}"),
            event_type="function_call.completed",
            body=build_body(
                "function_call.completed",
                occurred_at_s=1_700_000_000.0,
                data={"call_id": name, "function": "get_weather", "result": "é"},
            ),
            endpoint=endpoint,
            dedupe_key=name,
        )
        await self.store.enqueue(message)
        self.sender.wake()
        return message


@pytest.fixture
def open_desk(
    store: SqliteStore,
    clock: Clock,
    randomness: Randomness,
    ids: IdMint,
    bus: EventBus,
) -> Callable[..., object]:
    """
    Runs a sender to some endpoints, as a context manager.
    """

    @asynccontextmanager
    async def opened(
        *fakes: FakeEndpoint,
        schedule: RetrySchedule | None = None,
        options: SenderOptions | None = None,
        through: Store | None = None,
        policy: EgressPolicy | None = None,
        **urls: str,
    ) -> AsyncIterator[Desk]:
        names = ["default", "other", "third"]
        addresses = {
            name: fake.url for name, fake in zip(names, fakes, strict=False)
        } | urls
        endpoints = {
            name: Endpoint(name=name, url=url, secrets=(SECRET,))
            for name, url in addresses.items()
        }
        async with open_session(
            policy or EgressPolicy.parse(["127.0.0.0/8"])
        ) as session:
            sender = WebhookSender(
                store=through or store,
                session=session,
                endpoints=endpoints,
                schedule=schedule or RetrySchedule.doubling(),
                clock=clock,
                randomness=randomness,
                ids=ids,
                bus=bus,
                options=options,
            )
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(sender.run(), name="sender")
                try:
                    yield Desk(
                        sender=sender,
                        store=through or store,
                        endpoints=endpoints,
                        ids=ids,
                    )
                finally:
                    await sender.drain(0.0)

    return opened
