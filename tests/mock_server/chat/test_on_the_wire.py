"""
The chat and model surfaces, seen byte by byte through the whole mock.
"""

import pytest

from mock_server import LoopClock
from mock_server.testing import RawAnswer, mock_in_test

pytestmark = pytest.mark.virtual_time

KEY = {"authorization": "Bearer sk-1"}
CHAT = "/v1/chat/completions"
SCRIPT = """
upstream:
  models: [gpt-4o, org/model-1]
  script:
    - match: {last_message: {contains: call}}
      reply: {tool_calls: [{name: f, id: call_1}]}
    - reply: {text: "Hi you"}
"""


def envelope(answer: RawAnswer) -> tuple[int | None, set[str], str | None]:
    """
    Return the status, the keys of the error, and its code.
    """
    assert answer.headers["content-type"] == "application/json"
    error = answer.json["error"]
    return answer.status, set(error), error["code"]


FOUR_KEYS = {"message", "type", "param", "code"}


async def test_stream_is_data_lines_only(clock: LoopClock) -> None:
    """
    Every event is one data line, the last one the end marker, in a body that ends.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.chat(stream=True)

    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.is_whole
    *events, rest = answer.body.split(b"\n\n")
    assert rest == b""
    assert events[-1] == b"data: [DONE]"
    assert all(e.startswith(b"data: ") and b"\n" not in e for e in events)
    assert len(events) == len(answer.chunks) - 1 == 5


async def test_tool_call_is_not_lost_in_a_stream(clock: LoopClock) -> None:
    """
    A call has its id and name once, in its first event.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.chat("call", stream=True)

    assert answer.body.count(b'"id":"call_1"') == 1
    assert answer.body.count(b'"name":"f"') == 1
    assert b'"finish_reason":"tool_calls"' in answer.body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[" * 100_000,
        b'{"model":NaN}',
        b'{"model":"\xff"}',
        b'{"model":"gpt-4o","messages":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=lambda body: repr(body[:30]),
)
async def test_garbage_is_a_bad_request(body: bytes, clock: LoopClock) -> None:
    """
    Whatever the body is, the answer is an error of the API and never a 500.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.send("POST", CHAT, body, headers=KEY)

    assert envelope(answer) == (400, FOUR_KEYS, None)


async def test_no_key(clock: LoopClock) -> None:
    """
    A request without a key is refused before anything else is looked at.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.send("POST", CHAT, b"{")

    assert envelope(answer) == (401, FOUR_KEYS, None)
    assert answer.headers["x-request-id"].startswith("req_")


async def test_error_before_a_stream_is_plain(clock: LoopClock) -> None:
    """
    A streamed request that is refused gets a plain error, not a stream.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.chat(stream=True, model="gpt-9")

    assert envelope(answer) == (404, FOUR_KEYS, "model_not_found")


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("/v1/models/gpt-4o", "gpt-4o"),
        ("/models/gpt-4o", "gpt-4o"),
        ("/v1/models/org/model-1", "org/model-1"),
        ("/v1/models/org%2Fmodel-1", "org/model-1"),
    ],
)
async def test_model_by_its_id(path: str, found: str, clock: LoopClock) -> None:
    """
    An id may hold a slash, encoded or not.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.send("GET", path, headers=KEY)

    assert (answer.status, answer.json["id"]) == (200, found)
    assert answer.json["object"] == "model"


async def test_list_of_models(clock: LoopClock) -> None:
    """
    The list names what the script names.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.send("GET", "/v1/models", headers=KEY)

    assert answer.json["object"] == "list"
    assert [model["id"] for model in answer.json["data"]] == ["gpt-4o", "org/model-1"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", CHAT, 405),
        ("POST", "/v1/models", 405),
        ("GET", "/v1/models/gpt-9", 404),
    ],
)
async def test_what_is_not_there(
    method: str, path: str, status: int, clock: LoopClock
) -> None:
    """
    Other methods and other models are errors of the API.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.send(method, path, headers=KEY)

    assert envelope(answer)[:2] == (status, FOUR_KEYS)
