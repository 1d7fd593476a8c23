"""
The service as a process of its own: signals, ports, ``kill -9``.
"""

import asyncio
import base64
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from harness.clock import LoopClock
from harness.randomness import Randomness
from harness.service.serving import seeded_ids
from harness.settings import ServiceSettings
from harness.webhooks import Secret, verify

pytestmark = pytest.mark.sockets

_SECRET = f"whsec_{base64.b64encode(bytes(32)).decode()}"
Start = Callable[..., Coroutine[Any, Any, asyncio.subprocess.Process]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """
    Start a service; what is left of it is killed at the end.
    """
    started: list[asyncio.subprocess.Process] = []

    async def begin(**environment: str) -> asyncio.subprocess.Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "harness",
            "serve",
            env={
                "PATH": os.environ["PATH"],
                "PORT": "0",
                "DATA_DIR": str(tmp_path / "data"),
                "HARNESS_EVENT_LOG": str(tmp_path / "events.jsonl"),
                # Nobody listens there: what is sent waits for its retry.
                "WEBHOOK_URL": "http://127.0.0.1:1024/hook",
                "WEBHOOK_SECRET": _SECRET,
                "OPENAI_BASE_URL": "http://127.0.0.1:9/v1",
                **environment,
            },
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def listening(process: asyncio.subprocess.Process) -> str:
    """
    Return the URL that a process prints first.
    """
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    if not line.startswith("listening on http://127.0.0.1:"):
        assert process.stderr is not None
        pytest.fail(f"{line!r}: {(await process.stderr.read()).decode()}")
    return line.removeprefix("listening on ").strip()


@asynccontextmanager
async def accepted(url: str) -> AsyncIterator[str]:
    """
    Accept a chat and give its callback id.
    """
    async with (
        aiohttp.ClientSession() as session,
        session.post(
            f"{url}/chat",
            json={"message": "hi", "user_id": "u"},
            headers={"Prefer": "respond-async"},
        ) as response,
    ):
        assert response.status == 202
        yield (await response.json())["callback_id"]


@pytest.fixture
async def endpoint() -> AsyncIterator[tuple[str, asyncio.Future[tuple[Any, bytes]]]]:
    """
    A webhook endpoint on loopback: its address, and the first webhook that it gets.
    """
    first: asyncio.Future[tuple[Any, bytes]] = (
        asyncio.get_running_loop().create_future()
    )

    async def take(request: web.Request) -> web.Response:
        body = await request.read()
        if not first.done():
            first.set_result((request.headers.copy(), body))
        return web.Response(status=204)

    app = web.Application()
    app.router.add_post("/webhooks/default", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/webhooks/default", first
    await runner.cleanup()


async def test_the_documented_variables_are_enough(
    start: Start, endpoint: tuple[str, asyncio.Future[tuple[Any, bytes]]]
) -> None:
    """
    Told nothing but what the bench tells any service, it delivers to loopback, signed.
    """
    webhook_url, first = endpoint
    url = await listening(await start(WEBHOOK_URL=webhook_url))
    async with accepted(url) as callback_id:
        headers, body = await first

    verify(headers, body, secrets=[Secret.parse(_SECRET)], now_s=LoopClock().wall())
    sent = json.loads(body)
    assert (sent["type"], sent["data"]["callback_id"]) == ("chat.failed", callback_id)


async def test_signal_ends_it_in_order(start: Start, tmp_path: Path) -> None:
    """
    SIGTERM ends the process with 0, and its last event says that all was released.
    """
    process = await start()
    await listening(process)

    process.send_signal(signal.SIGTERM)

    assert await process.wait() == 0
    lines = (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()
    kinds = [json.loads(line)["kind"] for line in lines]
    assert kinds == ["service_started", "service_stopping", "service_stopped"]


async def test_interrupt_is_130(start: Start) -> None:
    """
    Ctrl-C ends the process in order and says so.
    """
    process = await start()
    await listening(process)

    process.send_signal(signal.SIGINT)

    assert await process.wait() == 130


async def test_taken_port_is_4(start: Start, tmp_path: Path) -> None:
    """
    A taken port ends the process with one line that names it.
    """
    first = await start()
    port = (await listening(first)).rpartition(":")[2]

    second = await start(PORT=port, DATA_DIR=str(tmp_path / "other"))
    output, errors = await second.communicate()

    assert second.returncode == 4
    assert output == b""
    assert errors.decode().count("\n") == 1
    assert f"127.0.0.1:{port}" in errors.decode()


@pytest.mark.parametrize(
    ("environment", "told"),
    [
        ({"WEBHOOK_SECRET": "whsec_tooshort"}, "WEBHOOK_SECRET): a signing secret"),
        ({"WEBHOOK_SECRET": ""}, "WEBHOOK_SECRET): needed"),
        ({"PORT": "many", "OPENAI_BASE_URL": "nowhere"}, "PORT: "),
        ({"HARNESS_SEED": "lucky"}, "HARNESS_SEED: 'lucky' is no whole number"),
        ({"HARNESS_EVENT_LOG": "/dev/null/events"}, "event log /dev/null/events: "),
        ({"STORE_URL": "redis://127.0.0.1:9"}, "Redis"),
    ],
    ids=["secret", "no secret", "port", "seed", "event log", "store"],
)
async def test_mistakes_are_2(
    start: Start, environment: dict[str, str], told: str
) -> None:
    """
    What cannot be used ends the process with a line that names it, and no traceback.
    """
    process = await start(**environment)
    output, errors = await process.communicate()

    assert process.returncode == 2
    assert output == b""
    assert told in errors.decode()
    assert "Traceback" not in errors.decode()
    assert "tooshort" not in errors.decode()


async def test_kill_loses_no_accepted_chat(start: Start, tmp_path: Path) -> None:
    """
    What was accepted before ``kill -9`` ends after the restart, under ids of its own.
    """
    first = await start(HARNESS_SEED="7")
    url = await listening(first)
    async with accepted(url) as one, accepted(url) as other:
        callback_ids = {one, other}
    first.kill()
    await first.wait()

    second = await start(HARNESS_SEED="7")
    url = await listening(second)

    async with accepted(url) as later, aiohttp.ClientSession() as session:
        assert later not in callback_ids
        states: dict[str, str] = {}
        for callback_id in callback_ids:
            while states.get(callback_id) in {None, "pending"}:
                async with session.get(f"{url}/callbacks/{callback_id}") as response:
                    states[callback_id] = (await response.json())["state"]
    second.send_signal(signal.SIGTERM)
    await second.wait()
    assert set(states.values()) == {"failed"}
    lines = (tmp_path / "events.jsonl").read_text(encoding="utf-8").splitlines()
    enqueued = {
        record["callback_id"]
        for record in map(json.loads, lines)
        if record["kind"] == "webhook_enqueued"
    }
    assert callback_ids <= enqueued


def test_seeded_ids_differ_from_life_to_life(tmp_path: Path) -> None:
    """
    The same seed gives the same ids, but never those of an earlier life.
    """

    def first_ids(folder: str, lives: int) -> list[str]:
        settings = ServiceSettings(data_dir=str(tmp_path / folder))
        return [seeded_ids(settings, Randomness(7)).mint("cb") for _ in range(lives)]

    assert first_ids("a", 3) == first_ids("b", 3)
    assert len(set(first_ids("c", 3))) == 3
