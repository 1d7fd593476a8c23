"""
A program whose every byte is looked at: many chats, an outage, retries, a crash.

Prints what happened, one JSON object per line; the argument is the seed.
"""

import asyncio
import hashlib
import json
import random
import sys
import uuid

import aiohttp
from aiohttp import web

from harness.clock import LoopClock
from harness.simulation import Host, LinkOptions, Segment, SimLoop, run_virtual

URL = "http://upstream.test:4010/chat"
CHATS = 60
CLOCK = LoopClock()


def note(kind: str, **facts: object) -> None:
    """
    Print a fact with its time.
    """
    fact = {"at": CLOCK.monotonic(), "kind": kind, **facts}
    sys.stdout.write(json.dumps(fact, sort_keys=True) + "\n")


def note_segment(segment: Segment) -> None:
    """
    Print what was put on the wire.
    """
    digest = hashlib.sha256(segment.data).hexdigest()[:16]
    note(segment.kind.value, connection=segment.connection, data=digest)


async def serve() -> None:
    """
    Answer chats, slowly and sometimes with an error.
    """
    chance = random.Random()  # noqa: S311 - unseeded on purpose: the loop seeds it

    async def answer(request: web.Request) -> web.Response:
        question = await request.json()
        await CLOCK.sleep(chance.uniform(0.05, 3.0))
        if chance.random() < 0.3:
            return web.json_response({"error": str(uuid.uuid4())}, status=503)  # noqa: TID251 - as libraries do
        return web.json_response(question)

    app = web.Application()
    app.router.add_post("/chat", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 4_010).start()
    await asyncio.Event().wait()


async def chat(
    session: aiohttp.ClientSession, number: int, *, attempts_max: int = 7
) -> str:
    """
    Ask until there is an answer.
    """
    for attempt in range(1, attempts_max + 1):
        try:
            async with session.post(URL, json={"number": number}) as response:
                await response.read()
                outcome = str(response.status)
        except (aiohttp.ClientError, TimeoutError) as error:
            outcome = type(error).__name__
        note("attempt", number=number, attempt=attempt, outcome=outcome)
        if outcome == "200":
            return outcome
        await CLOCK.sleep(random.uniform(0, 2**attempt))  # noqa: S311, TID251 - as libraries do
    return "gave up"


async def main() -> None:
    """
    Run the chats, with a crash of the service in the middle.
    """
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SimLoop)
    loop.network.taps.append(note_segment)
    loop.network.names.add("upstream.test")
    service = Host(loop=loop, name="service")
    service.start(serve)
    await CLOCK.sleep(1)
    loop.call_later(2, service.crash)
    loop.call_later(4, service.start, serve)
    connector = aiohttp.TCPConnector(limit=30)
    timeout = aiohttp.ClientTimeout(total=2.5)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        for ended in asyncio.as_completed(
            [chat(session, number) for number in range(CHATS)]
        ):
            note("ended", outcome=await ended)
    await leave_in_the_middle(aiohttp.ClientSession())
    await service.stop()


async def leave_in_the_middle(session: aiohttp.ClientSession) -> None:
    """
    Close a session with chats under way, all at once.
    """
    async with asyncio.TaskGroup() as tasks:
        for number in range(20):
            tasks.create_task(chat(session, CHATS + number, attempts_max=1))
        await CLOCK.sleep(0.2)
        await session.close()


if __name__ == "__main__":
    run_virtual(
        main,
        seed=int(sys.argv[1]),
        links=LinkOptions(latency_min_s=0.0005, latency_max_s=0.02),
    )
