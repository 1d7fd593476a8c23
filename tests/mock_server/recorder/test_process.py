"""
The command, as a process, and the proxy where things go wrong.
"""

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from harness.clock import LoopClock
from mock_server import MockOptions, OptionsError, running_mock
from mock_server.documents import parse_document
from mock_server.recorder import (
    RecordingLimits,
    RecordOptions,
    convert_run,
    running_recorder,
)
from mock_server.script import script_of

Recording = Callable[[str], AbstractAsyncContextManager[Any]]

CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
KEY = {"authorization": "Bearer sk-test"}


@asynccontextmanager
async def harness(*arguments: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """
    Run the command, and end it if it has not ended.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "harness",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.sockets
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_stopping_keeps_what_was_recorded(
    number: signal.Signals, out: Path, written: Callable[[], str]
) -> None:
    """
    Ctrl-C writes everything down, says how much it is, and ends with 130.
    """
    async with (
        running_mock(options=MockOptions(port=0)) as upstream,
        harness(
            "record", "--upstream", upstream.url, "--out", str(out), "--port", "0"
        ) as process,
        aiohttp.ClientSession() as session,
    ):
        assert process.stdout is not None
        first = (await process.stdout.readline()).decode()
        url = first.removeprefix("listening on ").strip()
        answer = await session.post(
            f"{url}/v1/chat/completions", json=CHAT, headers=KEY
        )
        assert answer.status == 200
        process.send_signal(number)
        said, errors = await process.communicate()

    assert process.returncode == (130 if number == signal.SIGINT else 0)
    assert said.decode() == f"1 exchanges in 1 rules: {out}\n"
    assert f"recording {upstream.url}" in errors.decode()
    assert script_of(parse_document(written(), file="r")).upstream.script


@pytest.mark.sockets
async def test_mistakes_are_said_and_end_with_2(tmp_path: Path) -> None:
    """
    Neither or both of the sources, or an address that is none: exit code 2.
    """
    out = str(tmp_path / "out.yaml")
    for arguments in (
        ["record", "--out", out],
        ["record", "--out", out, "--upstream", "ftp://somewhere"],
    ):
        async with harness(*arguments) as process:
            await process.communicate()
            assert process.returncode == 2


def test_options_refuse_nonsense(tmp_path: Path) -> None:
    """
    Every mistake is named at once, and no secret of the address is shown.
    """
    with pytest.raises(OptionsError) as caught:
        RecordOptions(
            upstream="http://user:pass@host/v1?key=1",
            out=tmp_path / "no" / "out.yaml",
            host="0.0.0.0",  # noqa: S104 - refused
            port=70000,
        )

    assert len(caught.value.mistakes) == 4
    assert "pass" not in str(caught.value)


@pytest.mark.parametrize(
    ("upstream", "path", "target"),
    [
        ("http://h/v1", "/v1/chat/completions?a=b", "http://h/v1/chat/completions?a=b"),
        ("http://h", "/v1/models", "http://h/v1/models"),
        ("http://h/v1/", "/models", "http://h/v1/models"),
        ("http://h/openai", "/v1/models", "http://h/openai/v1/models"),
    ],
)
def test_a_path_keeps_one_version(
    upstream: str, path: str, target: str, tmp_path: Path
) -> None:
    """
    ``/v1`` stands once in the address, wherever it was given.
    """
    options = RecordOptions(upstream=upstream, out=tmp_path / "out.yaml")

    assert options.target_of(path) == target


@pytest.mark.virtual_time
@pytest.mark.parametrize("fault", ["disconnect", "reset_before_headers"])
async def test_what_broke_is_passed_on_and_not_recorded(
    recording: Recording, fault: str, written: Callable[[], str]
) -> None:
    """
    A cut answer is cut for the client too, and makes no rule.
    """
    script = f"""
    upstream:
      script: [{{reply: {{text: "a long answer of many words, all of them cut off"}}}}]
      faults: [{{fault: {fault}, times: 1}}]
    """
    async with recording(script) as bench, aiohttp.ClientSession() as session:
        url = f"{bench.base_url}/chat/completions"
        try:
            answer = await session.post(url, json={**CHAT, "stream": True}, headers=KEY)
            status, body = answer.status, await answer.read()
        except aiohttp.ClientError:
            status, body = None, b""
        again = await session.post(url, json=CHAT, headers=KEY)
        models = await session.get(f"{bench.base_url}/models", headers=KEY)

    assert b"[DONE]" not in body
    assert status in {None, 502}
    assert (again.status, models.status) == (200, 200)
    assert len(script_of(parse_document(written(), file="r")).upstream.script) == 1
    assert "# Not in it: GET /models is only passed on (1 times)." in written()
    assert "not recorded: " in bench.said.getvalue()


@pytest.mark.virtual_time
async def test_beyond_its_limits_the_proxy_only_passes_on(out: Path) -> None:
    """
    A full recording goes on answering; a body that is too large is refused.
    """
    limits = RecordingLimits(exchanges_max=1, body_bytes_max=2000)
    clock = LoopClock()
    async with running_mock(options=MockOptions(port=0), clock=clock) as upstream:
        options = RecordOptions(upstream=upstream.url, out=out, port=0, limits=limits)
        async with (
            running_recorder(options, clock=clock) as recorder,
            aiohttp.ClientSession() as session,
        ):
            url = f"{recorder.url}/v1/chat/completions"
            statuses = [
                (await session.post(url, data=body, headers=KEY)).status
                for body in (
                    orjson.dumps(CHAT),
                    orjson.dumps({**CHAT, "user": "me"}),
                    orjson.dumps({**CHAT, "user": "x" * 3000}),
                )
            ]

    assert statuses == [200, 200, 413]
    assert len(recorder.recording.exchanges) == 1
    assert "there are 1 exchanges already" in recorder.recording.skipped


@pytest.mark.virtual_time
async def test_a_saved_journal_becomes_a_script(
    tmp_path: Path, written: Callable[[], str], out: Path
) -> None:
    """
    The entries of a journal make the same rules as a recorder would.
    """
    script = script_of(
        parse_document(
            """
            upstream:
              script:
                - {match: {last_message: {contains: tool}}, reply: {tool_calls: [{name: f}]}}
                - {reply: {text: "hello to you, all of you"}}
              latency: {time_to_first_token: 100ms, inter_token: 10ms}
            """,
            file="script",
        )
    )
    async with (
        running_mock(script, MockOptions(port=0)) as upstream,
        aiohttp.ClientSession() as session,
    ):
        url = f"{upstream.base_url}/chat/completions"
        tool = {"messages": [{"role": "user", "content": "a tool, please"}]}
        for more in ({}, {"stream": True, "messages": tool["messages"]}):
            answer = await session.post(url, json={**CHAT, **more}, headers=KEY)
            await answer.read()
        journal = await session.get(f"{upstream.url}/_mock/journal")
        saved = tmp_path / "journal.json"
        saved.write_bytes(await journal.read())

    assert convert_run(saved, out) == 0
    rules = script_of(parse_document(written(), file="r")).upstream.script
    assert [rule.reply.text for rule in rules] == ["hello to you, all of you", None]
    assert rules[1].reply.tool_calls[0].name == "f"
    latency = rules[1].latency
    assert latency is not None
    assert latency.time_to_first_token == pytest.approx(0.055)


def test_a_run_becomes_a_script(
    tmp_path: Path, written: Callable[[], str], out: Path
) -> None:
    """
    The events of a run make rules; what a fault broke is left out and counted.
    """
    received = {
        "kind": "upstream_request_received",
        "surface": "chat_completions",
        "conversation": "c",
        "model": "gpt-4o",
        "stream": False,
        "offered_tools": ["f"],
        "message": "go",
        "tool_results": [],
        "turn": 1,
    }
    ended = {
        "kind": "upstream_request_ended",
        "status": 200,
        "outcome": "complete",
        "answer_valid": True,
        "planned_us": 250_000,
        "faults": [],
    }
    call = {"tool_call_id": "call_1", "name": "f", "arguments": '{"a": 1}'}
    results = [{"tool_call_id": "call_1", "content": "22"}]
    records: list[dict[str, Any]] = [
        {"kind": "run_started"},
        {**received, "request_id": "r1"},
        {**ended, "request_id": "r1", "status": 503, "retry_after_s": 1.5},
        {**received, "request_id": "r2"},
        {
            **ended,
            "request_id": "r2",
            "finish_reason": "tool_calls",
            "tool_calls": [call],
        },
        {**received, "request_id": "r3", "turn": 2, "tool_results": results},
        {**received, "request_id": "r4", "turn": 2, "tool_results": results},
        {**ended, "request_id": "r3", "outcome": "cut", "faults": ["disconnect"]},
        {**ended, "request_id": "r4", "finish_reason": "stop", "text": "It is 22."},
        {**ended, "request_id": "r9"},
    ]
    run = tmp_path / "run"
    run.mkdir()
    (run / "events.jsonl").write_bytes(b"\n".join(map(orjson.dumps, records)))

    assert convert_run(run, out) == 0
    rules = script_of(parse_document(written(), file="r")).upstream.script
    assert rules[0].reply.sequence[0].error is not None
    assert rules[1].reply.tool_calls[0].arguments == '{"a": 1}'
    assert rules[2].reply.text == "It is 22."
    assert len(rules) == 3
    assert "a fault broke (disconnect) (1 times)" in written()
