"""
Batches take the time that the script gives them, and their output is a file.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from harness.testing import WALL_EPOCH_S
from mock_server import Limits, LoopClock, MockOptions
from mock_server.signatures import check
from mock_server.testing import MockInTest, mock_in_test

pytestmark = pytest.mark.virtual_time

SECRET = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="  # noqa: S105 - a test's
AUTH = {"authorization": "Bearer sk-batch"}
SCRIPT = """
upstream:
  models: [gpt-4o, text-embedding-3-small]
  batches: {validating: 10s, in_progress: 100s, finalizing: 5s}
  script:
    - match: {last_message: {contains: weather}}
      reply: {tool_calls: [{name: get_weather, arguments: {city: Paris}}]}
    - match: {last_message: {contains: broken}}
      reply: {error: {status: 500}}
    - reply: {text: "You are welcome."}
"""
CHAT = "/v1/chat/completions"


def line(custom_id: str, text: str = "hello", **more: Any) -> dict[str, Any]:
    """
    Return one request of an input file.
    """
    body = {"model": "gpt-4o", "messages": [{"role": "user", "content": text}]}
    return {"custom_id": custom_id, "method": "POST", "url": CHAT, "body": body, **more}


class Service:
    """
    Receives the webhooks.
    """

    def __init__(self) -> None:
        self.received: list[dict[str, Any]] = []

    async def take(self, request: web.Request) -> web.Response:
        """
        Keep a delivery whose signature holds.
        """
        body = await request.read()
        found = check(
            request.headers, body, secret=SECRET, now_s=0, tolerance_s=float("inf")
        )
        self.received.append({**json.loads(body), "verified": found.is_verified})
        return web.Response()


class Bench:
    """
    A mock, the service that is told, and the few calls that batches need.
    """

    def __init__(self, mock: MockInTest, service: Service) -> None:
        self.mock = mock
        self.service = service

    async def upload(self, *lines: object) -> str:
        """
        Upload an input file and return its id.
        """
        data = "\n".join(
            text if isinstance(text, str) else json.dumps(text) for text in lines
        )
        form = (
            '--x\r\nContent-Disposition: form-data; name="purpose"\r\n\r\nbatch\r\n'
            '--x\r\nContent-Disposition: form-data; name="file"; filename="in.jsonl"'
            f"\r\nContent-Type: application/jsonl\r\n\r\n{data}\r\n--x--\r\n"
        )
        content = {"content-type": "multipart/form-data; boundary=x"}
        answer = await self.mock.send(
            "POST", "/v1/files", form.encode(), headers={**AUTH, **content}
        )
        assert answer.status == 200, answer.body
        return str(answer.json["id"])

    async def create(self, *lines: object, endpoint: str = CHAT) -> str:
        """
        Create a batch and return its id.
        """
        body = {
            "input_file_id": await self.upload(*lines),
            "endpoint": endpoint,
            "completion_window": "24h",
        }
        answer = await self.mock.send("POST", "/v1/batches", body, headers=AUTH)
        assert answer.status == 200, answer.body
        assert answer.json["status"] == "validating"
        return str(answer.json["id"])

    async def get(self, batch_id: str) -> dict[str, Any]:
        """
        Return a batch as it is.
        """
        path = f"/v1/batches/{batch_id}"
        value: dict[str, Any] = (await self.mock.send("GET", path, headers=AUTH)).json
        return value

    async def lines(self, file_id: str) -> list[dict[str, Any]]:
        """
        Return the lines of an output file.
        """
        path = f"/v1/files/{file_id}/content"
        answer = await self.mock.send("GET", path, headers=AUTH)
        return [json.loads(text) for text in answer.body.splitlines()]

    async def sleep(self, delay_s: float) -> None:
        """
        Let time pass.
        """
        await self.mock.clock.sleep(delay_s)


@asynccontextmanager
async def bench(script: str = SCRIPT, **limits: int) -> AsyncIterator[Bench]:
    """
    Run a mock that tells a service.
    """
    service = Service()
    app = web.Application()
    app.router.add_post("/webhook/callback", service.take)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    options = MockOptions(
        port=0,
        service_url=f"http://127.0.0.1:{runner.addresses[0][1]}",
        webhook_secret=SECRET,
        limits=Limits(**limits),
    )
    try:
        async with mock_in_test(script, options, clock=LoopClock(WALL_EPOCH_S)) as mock:
            yield Bench(mock, service)
    finally:
        await runner.cleanup()


async def test_a_batch_goes_through_its_stages() -> None:
    """
    Validating, in progress, finalizing, completed: each in its time, and then told.
    """
    async with bench() as b:
        batch_id = await b.create(line("a"), line("b", "weather"), line("c"))
        seen = [(await b.get(batch_id))["status"]]
        for delay_s in (11, 99.5, 5):
            await b.sleep(delay_s)
            seen.append((await b.get(batch_id))["status"])
        batch = await b.get(batch_id)
        lines = await b.lines(batch["output_file_id"])
        await b.sleep(1)

    assert seen == ["validating", "in_progress", "finalizing", "completed"]
    assert batch["request_counts"] == {"total": 3, "completed": 3, "failed": 0}
    assert batch["error_file_id"] is None
    assert batch["completed_at"] - batch["created_at"] == 115
    assert [entry["custom_id"] for entry in lines] == ["a", "b", "c"]
    bodies = [entry["response"]["body"] for entry in lines]
    assert bodies[0]["choices"][0]["message"]["content"] == "You are welcome."
    assert bodies[1]["choices"][0]["finish_reason"] == "tool_calls"
    assert batch["usage"]["total_tokens"] == sum(
        body["usage"]["total_tokens"] for body in bodies
    )
    (event,) = b.service.received
    assert event["type"] == "batch.completed"
    assert event["data"] == {"id": batch_id}
    assert event["verified"]


async def test_requests_in_progress_are_counted() -> None:
    """
    Halfway through its time half of a batch is done.
    """
    async with bench() as b:
        batch_id = await b.create(*(line(str(number)) for number in range(10)))
        await b.sleep(10 + 55)
        batch = await b.get(batch_id)

    assert batch["status"] == "in_progress"
    assert batch["request_counts"] == {"total": 10, "completed": 5, "failed": 0}


async def test_requests_that_fail_are_in_the_error_file() -> None:
    """
    What the API refuses, or the script makes fail, stands in a file of its own.
    """
    unknown = line("unknown")
    unknown["body"] = {**unknown["body"], "messages": "no"}
    async with bench() as b:
        batch_id = await b.create(line("ok"), line("broken", "broken"), unknown)
        await b.sleep(200)
        batch = await b.get(batch_id)
        failed = await b.lines(batch["error_file_id"])

    assert batch["request_counts"] == {"total": 3, "completed": 1, "failed": 2}
    assert {e["custom_id"]: e["response"]["status_code"] for e in failed} == {
        "broken": 500,
        "unknown": 400,
    }
    assert failed[1]["response"]["body"]["error"]["param"] == "messages"


async def test_a_cancelled_batch_keeps_what_was_done() -> None:
    """
    Cancelling ends a batch with the output of what had its turn, and that is told.
    """
    async with bench() as b:
        batch_id = await b.create(*(line(str(number)) for number in range(10)))
        await b.sleep(10 + 35)
        path = f"/v1/batches/{batch_id}/cancel"
        first = await b.mock.send("POST", path, headers=AUTH)
        again = await b.mock.send("POST", path, headers=AUTH)
        await b.sleep(500)
        batch = await b.get(batch_id)
        lines = await b.lines(batch["output_file_id"])

    assert first.json["status"] == "cancelling"
    assert again.status == 409
    assert batch["status"] == "cancelled"
    assert len(lines) == batch["request_counts"]["completed"] == 3
    assert [event["type"] for event in b.service.received] == ["batch.cancelled"]


async def test_a_batch_that_outlasts_its_window_expires() -> None:
    """
    At the end of its window a batch is given up, with the output that there is.
    """
    script = "upstream: {batches: {validating: 0s, in_progress: 48h}}"
    async with bench(script) as b:
        batch_id = await b.create(*(line(str(number)) for number in range(4)))
        await b.sleep(24 * 3600 + 1)
        batch = await b.get(batch_id)

    assert batch["status"] == "expired"
    assert batch["expired_at"] == batch["expires_at"]
    assert batch["request_counts"]["completed"] == 2
    assert [event["type"] for event in b.service.received] == ["batch.expired"]


@pytest.mark.parametrize(
    ("lines", "codes"),
    [
        ([], ["empty_batch"]),
        (["{", line("a")], ["invalid_json_line"]),
        (["[]"], ["invalid_json_line"]),
        ([line("a"), line("a")], ["duplicate_custom_id"]),
        ([line("a", method="GET")], ["invalid_method"]),
        ([line("a", url="/v1/embeddings")], ["invalid_url"]),
        ([{"custom_id": "a"}], ["missing_required_parameter"]),
        ([line("a"), line("b", body={"model": "gpt-5"})], ["mismatched_model"]),
        ([line("a"), line("b"), line("c"), line("d")], ["too_many_tasks"]),
    ],
)
async def test_a_bad_input_file_fails(lines: list[object], codes: list[str]) -> None:
    """
    A file that makes no batch fails it with the mistakes and their lines.
    """
    async with bench(batch_requests_max=3) as b:
        batch_id = await b.create(*lines)
        await b.sleep(20)
        batch = await b.get(batch_id)

    assert batch["status"] == "failed"
    assert [error["code"] for error in batch["errors"]["data"]] == codes
    assert [event["type"] for event in b.service.received] == ["batch.failed"]


async def test_other_surfaces_can_be_asked() -> None:
    """
    A batch of embeddings, or of responses, is answered by that surface.
    """
    embedding = {
        "custom_id": "e",
        "method": "POST",
        "url": "/v1/embeddings",
        "body": {"model": "text-embedding-3-small", "input": "x", "dimensions": 2},
    }
    response = {
        "custom_id": "r",
        "method": "POST",
        "url": "/v1/responses",
        "body": {"model": "gpt-4o", "input": "hello"},
    }
    async with bench() as b:
        ids = [
            await b.create(embedding, endpoint="/v1/embeddings"),
            await b.create(response, endpoint="/v1/responses"),
        ]
        await b.sleep(200)
        batches = [await b.get(batch_id) for batch_id in ids]
        outputs = [await b.lines(batch["output_file_id"]) for batch in batches]

    objects = [lines[0]["response"]["body"]["object"] for lines in outputs]
    assert objects == ["list", "response"]


async def test_bad_requests() -> None:
    """
    Unknown files, batches and endpoints are refused.
    """
    async with bench() as b:
        body = {
            "input_file_id": "file-none",
            "endpoint": CHAT,
            "completion_window": "24h",
        }
        send = b.mock.send
        unknown_file = await send("POST", "/v1/batches", body, headers=AUTH)
        endpoint = await send(
            "POST", "/v1/batches", {**body, "endpoint": "/v1/x"}, headers=AUTH
        )
        missing = await send("POST", "/v1/batches", {}, headers=AUTH)
        unknown = await send("GET", "/v1/batches/batch_none", headers=AUTH)

    assert [a.status for a in (unknown_file, endpoint, missing, unknown)] == [
        404,
        400,
        400,
        404,
    ]
    assert missing.json["error"]["code"] == "missing_required_parameter"


async def test_worlds_do_not_see_each_other() -> None:
    """
    Another API key sees neither the batch nor its files.
    """
    other = {"authorization": "Bearer sk-other"}
    async with bench() as b:
        batch_id = await b.create(line("a"))
        batch = await b.mock.send("GET", f"/v1/batches/{batch_id}", headers=other)
        listed = await b.mock.send("GET", "/v1/files", headers=other)

    assert batch.status == 404
    assert listed.json["data"] == []


async def test_the_same_seed_gives_the_same_files() -> None:
    """
    Two runs write the same bytes.
    """

    async def run() -> list[dict[str, Any]]:
        async with bench() as b:
            async with asyncio.TaskGroup() as tasks:
                created = [
                    tasks.create_task(b.create(line("a"), line(f"b{number}")))
                    for number in range(3)
                ]
            await b.sleep(200)
            batches = [await b.get(task.result()) for task in created]
            return [
                entry
                for batch in batches
                for entry in await b.lines(batch["output_file_id"])
            ]

    first = await run()
    second = await run()

    for entry in (*first, *second):
        entry["response"]["body"].pop("created")
    assert first == second
