"""
A chat that is answered in one go is answered, and told of, as every other.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import orjson
import pytest

from mock_server import MockOptions
from mock_server.app import running_mock
from mock_server.at_once import body_in
from mock_server.clock import LoopClock
from mock_server.documents import parse_document
from mock_server.draws import Draws
from mock_server.limits import Limits
from mock_server.script import script_of
from mock_server.testing import MockInTest
from mock_server.wire import Reply, Usage, completion_plan, completion_whole
from mock_server.wire.headers import lines_of
from mock_server.wire.plan import Chunk, Head

SCRIPT = """
upstream:
  script:
    - match: {last_message: {contains: weather}}
      reply: {tool_calls: [{name: get_weather, arguments: {city: Paris}}]}
    - match: {last_message: {contains: turns}}
      reply: {sequence: [{text: one}, {text: two}]}
    - match: {last_message: {contains: refuse}}
      reply: {refusal: "No."}
    - match: {last_message: {contains: echo}}
      reply: {text: "{{ message }} by {{ conversation }}, {{ attempt }}"}
    - match: {last_message: {contains: break}}
      reply: {text: "{{ message.at.all }}"}
    - match: {last_message: {contains: fail}}
      reply: {error: {status: 503}}
    - match: {last_message: {contains: short}}
      reply: {text: "that \\" was ü, \\u2028 and 7 more", finish_reason: length}
      latency: {time_to_first_token: 1ms}
    - match: {last_message: {role: user}}
      reply: {text: "hello, ü 漢 \\"you\\""}
"""
KEY = "sk-key-of-this-test"
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
TOOL = {"type": "function", "function": {"name": "get_weather", "parameters": {}}}


class StoppedClock(LoopClock):
    """
    Says always the same time, so that two mocks tell the same of it.
    """

    def monotonic(self) -> float:
        """
        Return the one moment there is.
        """
        return 1234.5

    def wall(self) -> float:
        """
        Return it as Unix time.
        """
        return 1_760_000_000.25


@asynccontextmanager
async def mock_of(
    *, is_heard: bool, limits: Limits | None = None
) -> AsyncIterator[MockInTest]:
    """
    Run a mock; whose events are heard answers nothing in one go.
    """
    document = parse_document(SCRIPT, file="script")
    options = MockOptions(port=0, seed=7, limits=limits or Limits())
    clock = StoppedClock()
    async with running_mock(
        script_of(document), options, clock=clock, source=document.data
    ) as running:
        mock = MockInTest(running, LoopClock())
        if is_heard:
            running.mock.core.events.listen(mock.records.append)
        yield mock


def chat(message: object = "hello", **more: object) -> dict[str, Any]:
    """
    Return the body of a chat.
    """
    return {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": message}],
        **more,
    }


def bytes_of(
    body: object, headers: Mapping[str, str] | None = None, *, path: str = "/v1"
) -> bytes:
    """
    Return a request whose connection ends with its answer.
    """
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    fields = {
        "Host": "mock",
        "Authorization": f"Bearer {KEY}",
        "X-Twice": "  spaces around \t",
        "Content-Length": str(len(data)),
        "Connection": "close",
        **(headers or {}),
    }
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields.items() if value)
    return f"POST {path}/chat/completions HTTP/1.1\r\n{lines}\r\n".encode() + data


CHATS = {
    "plain": bytes_of(chat()),
    "without its version": bytes_of(chat(), path=""),
    "calls": bytes_of(chat("weather", tools=[TOOL])),
    "one call of many": bytes_of(
        chat("weather", tools=[TOOL], parallel_tool_calls=False)
    ),
    "no call": bytes_of(chat("weather", tools=[TOOL], tool_choice="none")),
    "a sequence": bytes_of(chat("turns")),
    "a refusal": bytes_of(chat("refuse")),
    "a template": bytes_of(chat("echo 'this'")),
    "a template that fails": bytes_of(chat("break")),
    "an error": bytes_of(chat("fail")),
    "a latency of its own": bytes_of(chat("short")),
    "several choices": bytes_of(chat(n=3)),
    "few tokens": bytes_of(chat(max_completion_tokens=2)),
    "probabilities": bytes_of(chat(logprobs=True, top_logprobs=2)),
    "a stream": bytes_of(chat(stream=True)),
    "stored": bytes_of(chat(store=True)),
    "an id of the client": bytes_of(chat(), {"X-Request-ID": "mine"}),
    "a trace": bytes_of(chat(), {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}),
    "a tag": bytes_of(chat("hello [#k7f3]")),
    "metadata": bytes_of(chat(metadata={"conversation": "talk"})),
    "parts": bytes_of(chat([{"type": "text", "text": "hello"}])),
    "the key in the text": bytes_of(chat(f"this is {KEY}")),
    "unicode": bytes_of(chat("ü 漢 \U0001f600")),
    "header bytes": bytes_of(chat()).replace(b"mock\r\n", b"m\xff\xfck\r\n", 1),
    "no key": bytes_of(chat(), {"Authorization": ""}),
    "no JSON": bytes_of(b"{"),
    "no messages": bytes_of({"model": "gpt-4o", "messages": []}),
    "no rule": bytes_of(
        {"model": "gpt-4o", "messages": [{"role": "system", "content": "x"}]}
    ),
    "the old protocol": bytes_of(chat()).replace(b"HTTP/1.1", b"HTTP/1.0", 1),
    "large": bytes_of(chat("hello " * 20_000)),
    "a line too many": b"\r\n" + bytes_of(chat()),
    "an expectation": bytes_of(chat(), {"Expect": "100-continue"}),
    "in chunks": bytes_of(b"", {"Content-Length": "", "Transfer-Encoding": "chunked"})
    + b"".join(
        b"%x\r\n%b\r\n" % (len(piece), piece)
        for piece in (orjson.dumps(chat())[:20], orjson.dumps(chat())[20:], b"")
    ),
}


async def told(mock: MockInTest) -> list[dict[str, Any]]:
    """
    Return the whole journal.
    """
    answer = await mock.send("GET", "/_mock/journal?limit=1000")
    # A header may hold bytes that are no text, which the quick decoder refuses.
    entries: list[dict[str, Any]] = json.loads(answer.body)["entries"]
    return entries


async def test_one_go_sends_the_same_bytes_and_tells_the_same() -> None:
    """
    Whatever comes, its answer is the same to the byte, and so are journal and metrics.
    """
    answers, journals, counted = [], [], []
    for is_heard in (False, True):
        async with mock_of(is_heard=is_heard) as mock:
            # Twice: the second time each is another attempt.
            sent = [*CHATS.values(), *CHATS.values()]
            answers.append([(await mock.send_bytes(data)).raw for data in sent])
            journals.append(await told(mock))
            core = mock.running.mock.core
            surface = core.metrics.surfaces["chat_completions"]
            counted.append(
                (surface.ends, surface.duration_s.cumulated(), core.events.published)
            )

    for name, quick, slow in zip([*CHATS, *CHATS], *answers, strict=True):
        assert quick == slow, name
    assert len(journals[0]) == 2 * len(CHATS)
    for name, quick_entry, slow_entry in zip([*CHATS, *CHATS], *journals, strict=True):
        assert quick_entry == slow_entry, name
    assert counted[0] == counted[1]


async def test_most_chats_are_kept_packed() -> None:
    """
    What was answered in one go is one object in the journal, and others are as they were.
    """
    async with mock_of(is_heard=False) as mock:
        for data in CHATS.values():
            await mock.send_bytes(data)
        (world,) = [w for w in mock.running.mock.core.worlds if len(w.journal) > 1]
        packed = [type(entry) is bytes for entry in world.journal._entries]

        assert packed.count(True) >= 15
        assert packed.count(False) >= 10


@pytest.mark.parametrize("cut", [1, 20, 200, -30, -1])
async def test_a_request_in_two_pieces_is_told_as_one_in_one(cut: int) -> None:
    """
    Where the network cuts a request changes nothing of its entry.
    """
    data = bytes_of(chat("echo this"))
    async with mock_of(is_heard=False) as mock:
        whole = await mock.send_bytes(data)
        await mock.send("POST", "/_mock/reset", b"")
        reader, writer = await asyncio.open_connection(
            mock.running.host, mock.running.port
        )
        writer.write(data[:cut])
        await writer.drain()
        # What was sent before is read before this is answered.
        await mock.send("GET", "/_mock/health")
        writer.write(data[cut:])
        cut_answer = await reader.read()
        writer.close()
        (entry,) = await told(mock)

    assert cut_answer.partition(b"\r\n\r\n")[2] == whole.body
    assert entry["request_body"] == orjson.dumps(chat("echo this")).decode()
    assert entry["request_headers"]["x-twice"] == "spaces around"


async def test_who_expects_to_go_on_is_told_so() -> None:
    """
    A client that asks whether it may send its body hears of it, though it has sent it.
    """
    async with mock_of(is_heard=False) as mock:
        answer = await mock.send_bytes(CHATS["an expectation"])

    assert answer.raw.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")


async def test_a_body_beyond_the_limit_is_refused_though_it_is_here() -> None:
    """
    What is larger than a request may be is answered 413, one byte less is not.
    """
    size = len(orjson.dumps(chat()))
    statuses = []
    for bytes_max in (size, size - 1):
        limits = Limits(request_body_bytes_max=bytes_max)
        async with mock_of(is_heard=False, limits=limits) as mock:
            statuses.append((await mock.send_bytes(bytes_of(chat()))).status)

    assert statuses == [200, 413]


async def test_requests_in_one_piece_are_told_each() -> None:
    """
    A client that does not wait for its answers has an entry for every request.
    """
    first = bytes_of(chat("hello"), {"Connection": "keep-alive"})
    second = bytes_of(chat("hello again"))
    async with mock_of(is_heard=False) as mock:
        answer = await mock.send_bytes(first + second)
        entries = await told(mock)

    assert answer.raw.count(b"HTTP/1.1 200 OK") == 2
    assert [entry["facts"]["message"] for entry in entries] == ["hello", "hello again"]


async def test_a_full_journal_drops_packed_entries_and_weighs_what_is_left() -> None:
    """
    The oldest make room, and the bytes that are counted are those of the bodies kept.
    """
    async with mock_of(is_heard=False, limits=Limits(journal_entries_max=3)) as mock:
        for number in range(5):
            await mock.send_bytes(bytes_of(chat(f"hello {number}")))
        entries = await told(mock)
        health = (await mock.send("GET", "/_mock/health")).json
        await mock.send("DELETE", "/_mock/journal")
        emptied = (await mock.send("GET", "/_mock/health")).json

    assert [entry["number"] for entry in entries] == [3, 4, 5]
    weights = [len(e["request_body"]) + e["answer_bytes"] for e in entries]
    assert health["holds"]["journal_bytes"] == sum(weights)
    assert health["dropped"]["journal_entries_max"] == 2
    assert emptied["holds"]["journal_bytes"] == 0


async def test_bodies_beyond_the_limit_are_cut() -> None:
    """
    An entry holds no more of a body than a journal keeps of one.
    """
    limits = Limits(journal_body_bytes_max=40)
    async with mock_of(is_heard=False, limits=limits) as mock:
        await mock.send_bytes(bytes_of(chat("hello" * 20)))
        (entry,) = await told(mock)

    assert len(entry["request_body"]) == 40
    assert len(entry["answer_body"].encode("utf-8", "replace")) <= 42
    assert entry["answer_bytes"] > 40
    assert entry["request_bytes"] > 40


@pytest.mark.parametrize(
    ("data", "body_bytes", "found"),
    [
        (bytes_of(b"abc"), 3, b"abc"),
        (bytes_of(b"abc", path=""), 3, b"abc"),
        (bytes_of(b"a\r\n\r\nb"), 6, b"a\r\n\r\nb"),
        # The rest of a head, of a body, of a chunked one; two requests; another path.
        (bytes_of(b"abc")[8:], 3, None),
        (bytes_of(b"abc"), 5, None),
        (bytes_of(b"3\r\nabc\r\n0\r\n\r\n"), 3, None),
        (bytes_of(b"abc") + bytes_of(b"abc"), 3, None),
        (bytes_of(b"abc", path="/v2"), 3, None),
        (bytes_of(b"x" * 40_000), 40_000, None),
        (b"", 0, None),
    ],
)
def test_a_body_is_only_taken_from_one_whole_request(
    data: bytes, body_bytes: int, found: bytes | None
) -> None:
    """
    Bytes that are anything else than one chat leave its body to the stream.
    """
    assert body_in(data, body_bytes) == found


@pytest.mark.parametrize("text", ["hello", 'ü "quoted" \\ \n', "", "\u2028"])
def test_a_whole_answer_is_its_plan(text: str) -> None:
    """
    The form in which an answer leaves has the headers and the body of its plan.
    """
    reply = Reply(
        id="chatcmpl-1",
        created_s=1,
        model='m"x',
        text=text,
        usage=Usage(3, 4),
        system_fingerprint="fp_1",
    )

    whole = completion_whole(reply, "req_1")
    head, chunk, _ = completion_plan(reply, request_id="req_1")

    assert isinstance(head, Head)
    assert isinstance(chunk, Chunk)
    assert whole.head == lines_of(head.headers)
    assert whole.body == chunk.data


def test_an_id_for_a_body_is_the_same_for_ever() -> None:
    """
    The ids of replies are part of what a seed promises; each key and byte changes them.
    """
    draws = Draws(7)

    first = draws.mint_for("chatcmpl-", b"body", "talk 1 1", length=29)
    others = {
        draws.mint_for("chatcmpl-", b"body", "talk 1 2", length=29),
        draws.mint_for("chatcmpl-", b"body2", "talk 1 1", length=29),
        draws.mint_for("chatcmpl-", b"1body", "talk 1 ", length=29),
        Draws(8).mint_for("chatcmpl-", b"body", "talk 1 1", length=29),
    }

    assert first == "chatcmpl-uiOYG8J1KkQQyWZXxSZG1xPFk0Q7x"
    assert len({first, *others}) == 5
