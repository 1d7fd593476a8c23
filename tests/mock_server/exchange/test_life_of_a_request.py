"""
What holds for every request, whatever it asks for.
"""

import asyncio
import hashlib
import json

import pytest

from mock_server import Limits, LoopClock, MockOptions
from mock_server.testing import mock_in_test

pytestmark = pytest.mark.virtual_time

SCRIPT = """
upstream:
  script:
    - match: {last_message: {contains: number}}
      reply: [{text: "first"}, {text: "second"}]
    - match: {last_message: {contains: broken}}
      reply: {text: "{{ tool.nothing }}"}
    - match: {last_message: {contains: hello}}
      reply: {text: "one two three"}
  latency: {time_to_first_token: 10s, inter_token: 1s}
"""
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}


@pytest.mark.parametrize(
    ("wait_s", "status"),
    [(5.0, None), (11.5, 200)],
    ids=["before the headers", "in the stream"],
)
async def test_notices_a_client_that_goes_away(
    wait_s: float, status: int | None, clock: LoopClock
) -> None:
    """
    A client that leaves while it waits is seen to leave, at that very moment.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        await mock.chat(stream=True, wait_s=wait_s)
        await clock.sleep(0)
        await clock.sleep(0.001)
        [ended] = mock.of("upstream_request_ended")

    assert ended["outcome"] == "abandoned"
    assert ended["status"] == status
    assert ended["actual_us"] == pytest.approx(wait_s * 1e6, abs=10)
    assert ended["answer_valid"] is False


async def test_hung_requests_end_with_the_mock(clock: LoopClock) -> None:
    """
    What hangs when the mock stops ends at once, and is told as hung.
    """
    fault = "upstream: {faults: [{fault: black_hole}]}"
    async with asyncio.TaskGroup() as tasks:
        async with mock_in_test(fault, clock=clock) as mock:
            asked = tasks.create_task(mock.chat())
            await clock.sleep(5)
            stopped_s = clock.monotonic()
        answer = await asked

    assert clock.monotonic() - stopped_s < 0.1
    assert answer.raw == b""
    [ended] = mock.of("upstream_request_ended")
    assert ended["outcome"] == "hung"


async def test_tells_of_a_request_when_it_comes_and_when_it_ends(
    clock: LoopClock,
) -> None:
    """
    Two events frame a request, with its trace, its keys and its tag.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        headers = {**TRACEPARENT, "idempotency-key": "key-1"}
        await mock.chat("hello [#k7f3]", headers=headers)
        received, ended = mock.of("upstream_request_received", "upstream_request_ended")

    assert received["trace_id"] == ended["trace_id"] == TRACE
    assert received["request_id"] == ended["request_id"]
    assert received["conversation"] == TRACE
    assert (received["turn"], received["attempt_number"]) == (1, 1)
    assert received["tag"] == "k7f3"
    assert received["surface"] == "chat_completions"
    assert received["idempotency_key"] == "key-1"
    assert received["world"] == hashlib.sha256(b"sk-test").hexdigest()[:12]
    assert ended["outcome"] == "complete"
    assert ended["text"] == "one two three"
    assert ended["rule"] == 2
    assert ended["planned_us"] == ended["actual_us"] == 10_000_000


async def test_counts_identical_bodies_as_attempts(clock: LoopClock) -> None:
    """
    The same body again is the next attempt of the same call.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        for _ in range(3):
            await mock.chat("hello", headers=TRACEPARENT)
        received = mock.of("upstream_request_received")

    assert [record["attempt_number"] for record in received] == [1, 2, 3]


async def test_a_reply_that_was_lost_is_given_again(clock: LoopClock) -> None:
    """
    A sequence does not move on by an answer that a fault destroyed.
    """
    script = SCRIPT + "  faults: [{fault: disconnect, attempts: 1}]\n"
    async with mock_in_test(script, clock=clock) as mock:
        await mock.chat("number", headers=TRACEPARENT)
        again = await mock.chat("number", headers=TRACEPARENT)

    assert again.json["choices"][0]["message"]["content"] == "first"


async def test_keeps_a_connection_for_the_next_request(clock: LoopClock) -> None:
    """
    After a whole answer the connection serves another request.
    """
    body = json.dumps(
        {"model": "gpt-4o", "messages": [{"role": "user", "content": "hello"}]}
    )
    request = (
        "POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer k\r\n"
        f"content-length: {len(body)}\r\n%s\r\n{body}"
    )
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        both = request % "" + request % "connection: close\r\n"
        answer = await mock.send_bytes(both.encode())

    assert answer.raw.count(b"HTTP/1.1 200 OK") == 2
    assert answer.raw.count(b"connection: close") == 1


async def test_streams_to_old_clients_without_chunks(clock: LoopClock) -> None:
    """
    An HTTP/1.0 client gets the plain bytes of the stream, ended by the close.
    """
    body = json.dumps(
        {
            "model": "gpt-4o",
            "stream": True,
            "messages": [{"role": "user", "content": "hello"}],
        }
    )
    request = (
        "POST /v1/chat/completions HTTP/1.0\r\nauthorization: Bearer k\r\n"
        f"content-length: {len(body)}\r\n\r\n{body}"
    )
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.send_bytes(request.encode())

    assert "transfer-encoding" not in answer.headers
    assert answer.framed.startswith(b"data: {")
    assert answer.framed.endswith(b"data: [DONE]\n\n")


async def test_asks_for_the_body_of_a_careful_client(clock: LoopClock) -> None:
    """
    ``Expect: 100-continue`` is answered before the body is read.
    """
    async with mock_in_test("tools: {t: {result: 1}}", clock=clock) as mock:
        answer = await mock.send(
            "POST", "/tools/t", {}, headers={"expect": "100-continue"}
        )

    assert answer.raw.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


async def test_refuses_a_body_that_is_too_large(clock: LoopClock) -> None:
    """
    A body over the limit is answered 413 in the API's own shape.
    """
    options = MockOptions(port=0, limits=Limits(request_body_bytes_max=100))
    async with mock_in_test(SCRIPT, options, clock=clock) as mock:
        answer = await mock.chat("hello " * 100)

    assert answer.status == 413
    assert answer.json["error"]["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\ncontent-length: -1\r\n\r\n",
        b"\x00" * 100 + b"\r\n\r\n",
    ],
)
async def test_survives_garbage_on_the_socket(garbage: bytes, clock: LoopClock) -> None:
    """
    What is no HTTP ends its own connection and nothing else.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        refused = await mock.send_bytes(garbage, wait_s=10)
        answer = await mock.chat()

    assert refused.status in {None, 400}
    assert answer.status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b"null",
        b"\xff\xfe",
        b'{"messages": NaN}',
        b'{"messages": "hello"}',
        b"[" * 100_000,
        b'{"a":' * 50_000,
    ],
    ids=["cut", "list", "null", "bytes", "nan", "text", "deep list", "deep object"],
)
async def test_bad_bodies_are_the_callers_fault(body: bytes, clock: LoopClock) -> None:
    """
    Whatever a body is, the answer is a 400 in the API's own shape.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.send(
            "POST", "/v1/chat/completions", body, headers={"authorization": "Bearer k"}
        )

    assert answer.status == 400
    assert set(answer.json["error"]) == {"message", "type", "param", "code"}


async def test_a_failing_template_is_told(clock: LoopClock) -> None:
    """
    A template that fails is a 500 ``script_error`` and an event with its reason.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.chat("broken")
        [error] = mock.of("script_error")

    assert answer.status == 500
    assert answer.json["error"]["code"] == "script_error"
    assert "rule 2" in error["message"]


async def test_unknown_paths_are_in_the_envelope(clock: LoopClock) -> None:
    """
    A path that the API does not have is a 404 as the API gives it, and no event.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.send(
            "POST", "/v1/nothing", {}, headers={"authorization": "Bearer k"}
        )
        events = [record["kind"] for record in mock.records]

    assert answer.status == 404
    assert answer.json["error"]["message"].startswith("Invalid URL (POST /v1/nothing)")
    assert events == ["scenario_started"]


async def test_speaks_with_and_without_the_version(clock: LoopClock) -> None:
    """
    The model API is served under ``/v1`` and without it.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        headers = {"authorization": "Bearer k"}
        answers = [
            await mock.send("GET", path, headers=headers)
            for path in ("/v1/models", "/models")
        ]

    assert [answer.status for answer in answers] == [200, 200]


async def test_worlds_do_not_see_each_other(clock: LoopClock) -> None:
    """
    Each API key has its own cursor: two tests share one mock.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        texts = [
            (await mock.chat("number", api_key=key)).json["choices"][0]["message"][
                "content"
            ]
            for key in ("sk-a", "sk-b", "sk-a", "sk-b")
        ]

    assert texts == ["first", "first", "second", "second"]


async def test_a_busy_mock_gives_each_conversation_its_own(clock: LoopClock) -> None:
    """
    Replies and faults of 200 conversations at once are those of one at a time.
    """
    script = SCRIPT + "  faults: [{fault: status, injection_rate: 0.3}]\n"

    async def one(number: int) -> list[tuple[int | None, bytes]]:
        trace = {"traceparent": f"00-{number + 1:032x}-00f067aa0ba902b7-01"}
        answers = [await mock.chat("number", headers=trace) for _ in range(3)]
        return [(answer.status, answer.body) for answer in answers]

    async with mock_in_test(script, clock=clock) as mock:
        alone = [_contents(await one(number)) for number in range(200)]
    async with mock_in_test(script, clock=clock) as mock, asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(one(number)) for number in reversed(range(200))]
    together = [_contents(task.result()) for task in reversed(running)]

    assert together == alone
    assert {content for contents in alone for content in contents} == {
        "503",
        "first",
        "second",
    }


def _contents(answers: list[tuple[int | None, bytes]]) -> list[str]:
    return [
        json.loads(body)["choices"][0]["message"]["content"]
        if status == 200
        else str(status)
        for status, body in answers
    ]
