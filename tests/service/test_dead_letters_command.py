"""
``harness dead-letters``: what operators do about webhooks that were given up.
"""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from harness.bus import EventBus
from harness.cli import main
from harness.clock import LoopClock
from harness.events import WebhookDead, WebhookDelivered, WebhookPurged
from harness.ids import IdMint, MessageId
from harness.randomness import Randomness
from harness.service import Service, running_service
from harness.settings import ServiceSettings
from harness.stores import NewMessage
from harness.testing import Recorder

pytestmark = pytest.mark.sockets

Run = Callable[..., Coroutine[Any, Any, tuple[int, str]]]


class Desk:
    """
    A service with dead letters, and the command that asks it.
    """

    def __init__(self, service: Service, recorder: Recorder) -> None:
        self.service = service
        self.recorder = recorder
        self.status = 410

    async def give_up(self, *names: str) -> None:
        """
        Make a dead letter of each name.
        """
        for name in names:
            message = NewMessage(
                message_id=MessageId(f"msg_{name}"),
                event_type=f"test.{name}",
                body=b"{}",
                endpoint="default",
                dedupe_key=name,
            )
            await self.service.store.enqueue(message)
        self.service.sender.wake()
        await self.recorder.wait_recorded(WebhookDead, count=len(names))

    async def left(self) -> set[str]:
        """
        Return the ids of the dead letters that are left.
        """
        letters = await self.service.store.dead_letters(letters_max=10)
        return {letter.message_id for letter in letters}


@pytest.fixture
async def desk(
    tmp_path: Path, clock: LoopClock, bus: EventBus, recorder: Recorder
) -> AsyncIterator[Desk]:
    """
    A service whose endpoint says 410, until it is told otherwise.
    """
    desks: list[Desk] = []

    async def take(_: web.Request) -> web.Response:
        return web.Response(status=desks[0].status)

    async with serving(take) as url:
        settings = ServiceSettings.model_validate(
            {
                "port": 0,
                "data_dir": str(tmp_path),
                "webhook": {
                    "url": url,
                    "secret": f"whsec_{base64.b64encode(bytes(32)).decode()}",
                },
            }
        )
        async with running_service(
            settings, clock=clock, randomness=Randomness(1), ids=IdMint(), bus=bus
        ) as service:
            desks.append(Desk(service, recorder))
            yield desks[0]


@asynccontextmanager
async def serving(handler: Any) -> AsyncIterator[str]:
    """
    Serve one path on a free port and give its address.
    """
    app = web.Application()
    app.router.add_post("/hook", handler)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    await runner.cleanup()


@pytest.fixture
def run(desk: Desk, capsys: pytest.CaptureFixture[str]) -> Run:
    """
    Run the command beside the service, and return its exit code and all it said.
    """

    def call(arguments: tuple[str, ...]) -> int:
        try:
            main(["dead-letters", *arguments])
        except SystemExit as end:
            return int(end.code or 0)

    async def begin(*arguments: str, at: str | None = None) -> tuple[int, str]:
        given = (*arguments, "--service", at or desk.service.url)
        code = await asyncio.to_thread(call, given)
        said = capsys.readouterr()
        return code, said.out + said.err

    return begin


async def test_lists_what_was_given_up(desk: Desk, run: Run, tmp_path: Path) -> None:
    """
    Every letter is a line with all that is known of it, and an entry of the file.
    """
    await desk.give_up("a", "b")
    file = tmp_path / "letters.json"

    code, said = await run("list", "--json", str(file))
    _, filtered = await run("list", "--type", "test.b")

    assert code == 0
    lines = said.splitlines()
    assert lines[0] == "msg_a  test.a  default  gone  1  status_410"
    assert lines[-1] == "dead letters: 2"
    assert [each["message_id"] for each in json.loads(file.read_bytes())] == [
        "msg_a",
        "msg_b",
    ]
    assert filtered.splitlines()[0].startswith("msg_b")


async def test_redelivers_one_or_all(desk: Desk, run: Run) -> None:
    """
    A letter goes out again under its own id; a dry run only says which would.
    """
    await desk.give_up("a", "b", "c")
    desk.status = 204

    dry = await run("redeliver", "--all", "--type", "test.b", "--dry-run")
    one = await run("redeliver", "msg_a")
    rest = await run("redeliver", "--all", "--rate", "1000/s")

    assert dry == (0, "msg_b\nwould be redelivered: 1\n")
    assert one == (0, "msg_a\nredelivered: 1\n")
    assert rest == (0, "msg_b\nmsg_c\nredelivered: 2\n")
    delivered = await desk.recorder.wait_recorded(WebhookDelivered, count=3)
    assert {event.message_id for event in delivered} == {"msg_a", "msg_b", "msg_c"}
    assert await desk.left() == set()


async def test_purges_for_good(desk: Desk, run: Run) -> None:
    """
    What is purged is gone, and only that.
    """
    await desk.give_up("a", "b")

    assert await run("purge", "msg_a") == (0, "msg_a\npurged: 1\n")
    assert await desk.left() == {"msg_b"}
    assert [event.message_id for event in desk.recorder.of(WebhookPurged)] == ["msg_a"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("redeliver",), "name messages, or say --all"),
        (("purge", "msg_a", "--all"), "name messages, or say --all"),
        (("redeliver", "msg_x", "msg_y"), "msg_x: no such dead letter\nmsg_y: no such"),
        (("redeliver", "--all", "--rate", "fast"), "--rate: "),
    ],
    ids=["nothing", "both", "unknown", "rate"],
)
async def test_mistakes_change_nothing(
    desk: Desk, run: Run, arguments: tuple[str, ...], told: str
) -> None:
    """
    A mistake in the words is 2, names every unknown id, and nothing is done.
    """
    await desk.give_up("a")

    code, said = await run(*arguments)

    assert code == 2
    assert told in said
    assert await desk.left() == {"msg_a"}


async def test_no_service_is_4(run: Run) -> None:
    """
    Where no service answers, the address is named.
    """
    code, said = await run("list", at="http://127.0.0.1:9")

    assert code == 4
    assert "http://127.0.0.1:9" in said
