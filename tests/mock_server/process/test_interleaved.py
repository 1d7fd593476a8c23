"""
A real mock under real load: what a conversation is answered is its own.
"""

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import aiohttp
import pytest
from yarl import URL

from mock_server.testing import Ending, RawAnswer

pytestmark = pytest.mark.sockets

SCRIPT: Final = """
upstream:
  script:
    - match: {last_message: {contains: other}}
      reply: {text: "one two three"}
    - match: {last_message: {role: tool}}
      reply: {text: "It is {{ tool.temperature }} degrees."}
    - match: {last_message: {role: user}}
      reply:
        - {tool_calls: [{name: get_weather, arguments: {city: Paris}}]}
        - {text: "one two three four five"}
        - {tool_calls: [{name: get_weather, arguments: {city: Rome}}, {name: get_weather, arguments: {city: Oslo}}]}
        - {text: "six seven eight"}
  latency: {time_to_first_token: {low: 0ms, high: 4ms}}
  faults:
    - {fault: status, injection_rate: 0.3}
    - {fault: truncate, injection_rate: 0.3}
    - {fault: disconnect, injection_rate: 0.3, match: {stream: true}}
"""
CONCURRENT: Final = 200
RUNS_OF_A_PROCESS: Final = 5
ATTEMPTS_MAX: Final = 40
SEED: Final = "20260115"


@dataclass(slots=True, kw_only=True)
class Talk:
    """
    A conversation that is had, turn by turn, and all that came back.
    """

    name: str
    """Its tag, which tells it from those that begin with the same words."""

    asks: str
    turns: int
    messages: list[dict[str, Any]] = field(default_factory=list)
    answers: list[tuple[int | None, bool, str]] = field(default_factory=list)
    """Of every attempt: the status, and the body as far as it came."""

    async def run(self, host: str, port: int) -> None:
        """
        Have it: calls are answered, what is broken is asked for again.
        """
        for turn in range(self.turns):
            text = f"{self.asks} {turn} [#{self.name}]"
            self.messages.append({"role": "user", "content": text})
            stream = turn % 2 == 1
            while (said := await self._ask(host, port, stream=stream))["tool_calls"]:
                self.messages.append({"role": "assistant", **said})
                self.messages += [
                    {
                        "role": "tool",
                        "tool_call_id": call["id"],
                        "content": json.dumps({"temperature": turn}),
                    }
                    for call in said["tool_calls"]
                ]
            self.messages.append({"role": "assistant", "content": said["content"]})

    async def _ask(self, host: str, port: int, *, stream: bool) -> dict[str, Any]:
        request = {"model": "gpt-4o", "messages": self.messages, "stream": stream}
        body = json.dumps(request).encode()
        for _ in range(ATTEMPTS_MAX):
            answer = await send(host, port, body)
            # The moment is the one thing that may differ.
            text = re.sub(r'"created":\d+', '"created":0', answer.body.decode())
            self.answers.append((answer.status, answer.is_whole, text))
            if answer.status == 200 and (said := _message_of(text, stream=stream)):
                return said
        message = f"{self.name}: no whole answer in {ATTEMPTS_MAX} attempts: {text}"
        raise AssertionError(message)


async def send(host: str, port: int, body: bytes) -> RawAnswer:
    """
    Ask on a connection of its own; no library's client is as quick.
    """
    reader, writer = await asyncio.open_connection(host, port)
    writer.write(
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\n"
        b"authorization: Bearer sk-live\r\nconnection: close\r\n"
        b"content-length: %d\r\n\r\n%b" % (len(body), body)
    )
    raw = await reader.read()
    writer.close()
    return RawAnswer(raw=raw, ending=Ending.CLOSED, first_byte_s=None, last_byte_s=0.0)


def _message_of(text: str, *, stream: bool) -> dict[str, Any] | None:
    """
    Return what was said, or None if it did not come whole.
    """
    if not stream:
        try:
            message = json.loads(text)["choices"][0]["message"]
        except ValueError:
            return None
        return {"content": message["content"], "tool_calls": message.get("tool_calls")}
    if not text.endswith("data: [DONE]\n\n"):
        return None
    content = ""
    calls: dict[int, dict[str, Any]] = {}
    for line in text.split("\n\n")[:-2]:
        delta = json.loads(line.removeprefix("data: "))["choices"][0]["delta"]
        content += delta.get("content") or ""
        for part in delta.get("tool_calls", ()):
            call = calls.setdefault(part["index"], part)
            if call is not part:
                call["function"]["arguments"] += part["function"]["arguments"]
    return {"content": content or None, "tool_calls": list(calls.values())}


@asynccontextmanager
async def mock_process(script: Path) -> AsyncIterator[str]:
    """
    Run the mock as a process of its own and yield where it is.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "mock_server", "--port", "0"),
        *("--script", str(script), "--seed", SEED),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        line = (await process.stdout.readline()).decode()
        yield line.removeprefix("listening on ").strip()
    finally:
        process.kill()
        await process.wait()


async def talk_at_once(url: str, run: int) -> list[Talk]:
    """
    Have 200 conversations at once, in another order each time; return the two long ones.
    """
    long = [Talk(name=name, asks="weather", turns=6) for name in ("first", "second")]
    others = [
        Talk(name=f"noise-{n}", asks="other", turns=1) for n in range(CONCURRENT - 2)
    ]
    shift = run * 37 % len(others)
    order = [*others[shift:], *long, *others[:shift]]
    if run % 2:
        order.reverse()
    address = URL(url)
    assert address.host is not None
    assert address.port is not None
    async with asyncio.TaskGroup() as tasks:
        for talk in order:
            tasks.create_task(talk.run(address.host, address.port))
    return long


async def journal_of(session: aiohttp.ClientSession) -> list[dict[str, Any]]:
    """
    Return the whole journal.
    """
    entries: list[dict[str, Any]] = []
    while True:
        after = entries[-1]["number"] if entries else 0
        query = {"after": after, "limit": 1000}
        async with session.get("/_mock/journal", params=query) as response:
            page = await response.json()
        assert page["dropped"] == 0
        if not page["entries"]:
            return entries
        entries += page["entries"]


def lived(talk: Talk, journal: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """
    Return the entries of a conversation.
    """
    entries = [e for e in journal if f"[#{talk.name}]" in e["request_body"]]
    assert len({entry["conversation"] for entry in entries}) == 1
    assert len(entries) == len(talk.answers)
    assert not any(entry["ambiguous"] for entry in entries)
    return entries


async def test_two_conversations_among_200_have_ten_times_the_same_run(
    tmp_path: Path,
) -> None:
    """
    The same seed gives each the same replies and faults, whatever else is asked.

    Replies are the same to the byte, and faults have the same draws.
    """
    script = tmp_path / "script.yaml"
    script.write_text(SCRIPT, encoding="utf-8")
    runs = []
    for process in range(2):
        async with (
            mock_process(script) as url,
            aiohttp.ClientSession(url) as session,
        ):
            for run in range(RUNS_OF_A_PROCESS):
                await session.post("/_mock/reset")
                talks = await talk_at_once(url, process * RUNS_OF_A_PROCESS + run)
                journal = await journal_of(session)
                entries = [lived(talk, journal) for talk in talks]
                places = [{entry["number"] for entry in each} for each in entries]
                # They went on side by side, not one after the other.
                assert max(min(numbers) for numbers in places) < min(
                    max(numbers) for numbers in places
                )
                faults = [[entry["faults"] for entry in each] for each in entries]
                runs.append(([talk.answers for talk in talks], faults))

    answers, faults = runs[0]
    assert len(runs) == 10
    assert all(run == runs[0] for run in runs)
    # Faults of every kind came, and each conversation had its own.
    hit = {fault["fault"] for each in faults for many in each for fault in many}
    assert hit == {"status", "truncate", "disconnect"}
    assert faults[0] != faults[1]
    assert answers[0] != answers[1]
