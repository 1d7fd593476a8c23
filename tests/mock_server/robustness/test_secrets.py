"""
A key that came in is in nothing that comes out but the answer to its owner.
"""

import logging
from pathlib import Path
from typing import Any

import orjson
import pytest

from harness.clock import Clock
from mock_server import MockOptions
from mock_server.testing import MockInTest, mock_in_test

KEY = "sk-proj-5ecret5ecret5ecret5ecret"
OTHER_KEY = "sk-proj-0ther0ther0ther0ther0ther"
CONTROL_TOKEN = "c0ntrol-t0ken-that-nobody-may-see"  # noqa: S105 - a test's
WEBHOOK_SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="  # noqa: S105 - a test's

SCRIPT = """
upstream:
  api_keys: [sk-proj-5ecret5ecret5ecret5ecret]
  script:
    - match: {last_message: {contains: fail}}
      reply: {text: "{{ match.nothing }}{{ message.nothing }}"}
    - match: {last_message: {contains: call}}
      reply: {tool_calls: [{name: f, arguments: {said: "{{ message }}"}}]}
    - match: {last_message: {contains: chat}}
      reply: {text: "You said {{ message }}"}
  faults:
    - {fault: status, status: 503, injection_rate: 0.1}
tools:
  echo: {result: "{{ arguments }}"}
  later: {deferred: true, result: "{{ arguments }}"}
"""

SAID: Any = {
    "metadata": {"conversation": f"conversation {KEY}"},
    "user": KEY,
    "prompt_cache_key": KEY,
}


async def ask_everything(mock: MockInTest) -> None:
    """
    Send the key to every surface, in every place where it could stand.
    """
    tool = {"type": "function", "function": {"name": "f", "description": KEY}}
    for words in ("chat", "call", "fail", "nothing matches"):
        for stream in (False, True):
            text = f"{words}: {KEY}"
            await mock.chat(
                text,
                api_key=KEY,
                stream=stream,
                tools=[tool],
                headers={"x-copy": KEY},
                **SAID,
            )
    authorization = {"authorization": f"Bearer {KEY}", "openai-project": KEY}
    escaped = f'{{"model": "gpt-4o", "input": "{KEY}", "messages": [{{"role": "user", "content": "chat \\u0073{KEY[1:]}"}}]}}'
    bodies = [
        {
            "model": "gpt-4o",
            "input": KEY,
            "messages": [{"role": "user", "content": KEY}],
        },
        {"model": KEY, "input": KEY, "messages": KEY},
        {KEY: KEY},
        escaped.encode(),
        b"broken " + KEY.encode(),
    ]
    for path in (
        "/v1/chat/completions",
        "/v1/responses",
        "/v1/embeddings",
        "/v1/completions",
        "/v1/conversations",
        "/v1/files",
        "/v1/batches",
        "/v1/runs/submit-tool-outputs",
        "/v1/threads",
        "/v1/webhook_endpoints",
        f"/v1/models/{KEY}?key={KEY}",
        f"/v1/{KEY}",
        "/tools/echo",
        "/tools/later",
        f"/tools/{KEY}",
        "/webhooks/default",
        f"/webhooks/{KEY}",
    ):
        for body in bodies:
            await mock.send("POST", path, body, headers=authorization)
            await mock.send("GET", path, headers=authorization)
    await mock.chat("chat", api_key=OTHER_KEY)
    for garbage in (
        b"POST /v1/chat/completions HTTP/1.1\r\nauthorization: Bearer %b\x00\r\n\r\n",
        b"%b\r\n\r\n",
        b"GET /%b HTTP/1.1\r\nno colon %b\r\n\r\n",
        b"GET / HTTP/1.1\r\nauthorization: " + b"%b" * 1000 + b"\r\n\r\n",
    ):
        await mock.send_bytes(garbage.replace(b"%b", KEY.encode()), wait_s=100)


@pytest.mark.virtual_time
async def test_no_key_in_journal_events_metrics_or_logs(
    clock: Clock, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """
    After traffic of all kinds nothing that the mock tells holds a key or a secret.
    """
    caplog.set_level(logging.DEBUG)
    event_log = tmp_path / "events.jsonl"
    options = MockOptions(
        port=0,
        event_log=event_log,
        service_url="http://127.0.0.1:9",
        webhook_secret=WEBHOOK_SECRET,
        control_token=CONTROL_TOKEN,
    )
    told = {}
    async with mock_in_test(SCRIPT, options, clock=clock) as mock:
        await ask_everything(mock)
        await clock.sleep(300)
        bearer = {"authorization": f"Bearer {CONTROL_TOKEN}"}
        for name in ("health", "journal?limit=1000", "metrics", "worlds", "faults"):
            answer = await mock.send("GET", f"/_mock/{name}", headers=bearer)
            assert answer.status == 200
            told[name] = answer.body
        told["records"] = orjson.dumps(mock.records, default=str)
        entries = len(orjson.loads(told["journal?limit=1000"])["entries"])
    told["event log"] = event_log.read_bytes()
    told["logs"] = "\n".join(
        f"{record.getMessage()} {record.exc_info} {record.exc_text}"
        for record in caplog.get_records("call")
    ).encode()
    told["options"] = repr(options).encode()

    assert entries > 150
    for name, text in told.items():
        for secret in (KEY, KEY[3:], OTHER_KEY, CONTROL_TOKEN, WEBHOOK_SECRET[6:]):
            place = text.find(secret.encode())
            assert place < 0, (name, text[max(0, place - 300) : place + 50])
