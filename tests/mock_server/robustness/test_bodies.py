"""
No body makes any surface fail.
"""

from typing import Any

import orjson
import pytest

from harness.clock import Clock
from mock_server import MockOptions
from mock_server.testing import MockInTest, RawAnswer, mock_in_test

pytestmark = [pytest.mark.virtual_time, pytest.mark.usefixtures("quiet")]

KEY = {"authorization": "Bearer sk-test"}

SURFACES = [
    "/v1/chat/completions",
    "/v1/chat/completions/chatcmpl-1",
    "/v1/responses",
    "/v1/responses/resp_1/cancel",
    "/v1/responses/input_tokens",
    "/v1/conversations",
    "/v1/embeddings",
    "/v1/completions",
    "/v1/moderations",
    "/v1/files",
    "/v1/batches",
    "/v1/runs/submit-tool-outputs",
    "/v1/threads",
    "/v1/threads/thread_1/messages",
    "/v1/threads/thread_1/runs",
    "/v1/threads/thread_1/runs/run_1/submit_tool_outputs",
    "/v1/webhook_endpoints",
    "/v1/webhook_endpoints/we_1/test",
    "/v1/nonsense",
]
OTHERS = ["/tools/echo", "/tools/later", "/webhooks/default"]
CONTROL = ["/_mock/faults", "/_mock/start", "/_mock/reset"]

DEEP = b"[" * 100_000 + b"]" * 100_000
DEEP_OBJECT = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
BODIES = {
    "empty": b"",
    "text": b"hello",
    "null": b"null",
    "number": b"1",
    "list": b"[]",
    "cut off": b'{"model": "gpt-4o", "messages": [{"role"',
    "deep list": DEEP,
    "deep object": DEEP_OBJECT,
    "open brackets": b"[" * 100_000,
    "nan": b'{"model": "gpt-4o", "input": "a", "messages": [], "temperature": NaN}',
    "infinity": b'{"model": "gpt-4o", "input": "a", "temperature": Infinity}',
    "too large number": b'{"model": "gpt-4o", "input": "a", "temperature": 1e999}',
    "giant integer": b'{"model": "gpt-4o", "input": "a", "n": ' + b"9" * 10_000 + b"}",
    "invalid utf-8": b'{"model": "gpt-4o", "input": "\xff\xfe", "messages": "\xc3"}',
    "lone surrogate": b'{"model": "gpt-4o", "input": "\\ud800", "messages": []}',
    "mark first": b"\xef\xbb\xbf{}",
    "zeros": bytes(1000),
    "doubled keys": b'{"model": "a", "model": ["b"], "messages": 1, "messages": {}}',
    "many keys": orjson.dumps({str(number): number for number in range(3000)}),
    "wrong types": b'{"model": 1, "messages": {"a": 1}, "input": {"b": 2}, "tools": 3}',
    "nulls": b'{"model": null, "messages": null, "input": null, "url": null}',
    "deep within": b'{"model": "gpt-4o", "input": '
    + DEEP
    + b', "messages": '
    + DEEP
    + b"}",
    "deep schema": b'{"model": "gpt-4o", "input": "a", "messages": [{"role": "user", "content": "a"}],'
    b' "tools": [{"type": "function", "name": "f", "parameters": '
    + DEEP_OBJECT
    + b"}]}",
    "multipart": b"--x\r\ncontent-disposition: form-data; name=\xff\r\n\r\n"
    + bytes(99),
}


async def post(mock: MockInTest, path: str, body: bytes) -> RawAnswer:
    """
    Send a body as JSON.
    """
    headers = {**KEY, "content-type": "application/json"}
    return await mock.send("POST", path, body, headers=headers, wait_s=100)


@pytest.mark.parametrize("path", SURFACES)
async def test_the_api_refuses_bad_bodies_in_its_own_form(
    path: str, clock: Clock
) -> None:
    """
    A bad body is a 4xx in the envelope of four keys, never a 5xx.
    """
    script = "tools: {echo: {result: 1}}"
    async with mock_in_test(script, MockOptions(port=0), clock=clock) as mock:
        answers = {name: await post(mock, path, body) for name, body in BODIES.items()}

    for name, answer in answers.items():
        assert answer.status is not None, name
        assert answer.status < 500, (name, answer.body[:200])
        if answer.status >= 400:
            assert set(answer.json["error"]) == {"message", "type", "param", "code"}


@pytest.mark.parametrize("path", [*OTHERS, *CONTROL])
async def test_the_other_surfaces_refuse_bad_bodies(path: str, clock: Clock) -> None:
    """
    Tools, webhook endpoints and the control API answer with less than 500, too.
    """
    script = "tools: {echo: {result: '{{ arguments }}'}, later: {deferred: true}}"
    async with mock_in_test(script, MockOptions(port=0), clock=clock) as mock:
        answers = {name: await post(mock, path, body) for name, body in BODIES.items()}

    for name, answer in answers.items():
        assert answer.status is not None, name
        is_scripted = b"script_error" in answer.body
        assert answer.status < 500 or is_scripted, (name, answer.body[:200])


def bomb(levels: int) -> str:
    """
    Return a small document that would be a very large one, were it unfolded.
    """
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    for level in range(1, levels):
        references = ", ".join([f"*a{level - 1}"] * 10)
        lines.append(f"a{level}: &a{level} [{references}]")
    return "\n".join(lines)


@pytest.mark.parametrize(
    "document",
    [
        DEEP,
        DEEP_OBJECT,
        b"[" * 100_000,
        b"- " * 50_000,
        b"&a [*a]",
        b"a: !!python/object:os.system {}",
        bomb(30).encode(),
        b"\xff\xfe",
        b"upstream: {script: [{match: {regex: '('}, reply: 1}]}",
        b"{" + b"a: " * 30_000 + b"}",
        b"upstream: {script: " + b"[" * 5000 + b"]" * 5000 + b"}",
    ],
    ids=lambda document: repr(document[:20]),
)
@pytest.mark.parametrize("path", ["/_mock/script", "/_mock/faults"])
async def test_documents_of_all_kinds_are_refused(
    document: bytes, path: str, clock: Clock
) -> None:
    """
    Deep, recursive, exploding and hostile documents are mistakes, and nothing changes.
    """
    method = "PUT" if path.endswith("script") else "POST"
    async with mock_in_test("{}", MockOptions(port=0), clock=clock) as mock:
        answer = await mock.send(method, path, document, wait_s=100)
        script = await mock.send("GET", "/_mock/script")

    assert answer.status in {400, 422}
    assert script.json == {}


@pytest.mark.parametrize(
    "query",
    [
        "limit=-1",
        "after=x",
        "limit=99999999999999999999",
        "nonsense=1",
        "after=%00",
        "surface=%ff",
    ],
)
async def test_odd_queries_are_refused_or_answered(query: str, clock: Clock) -> None:
    """
    A page that cannot be is said to be none.
    """
    async with mock_in_test("{}", MockOptions(port=0), clock=clock) as mock:
        answer = await mock.send("GET", f"/_mock/journal?{query}")

    assert answer.status in {200, 400}


LARGE: Any = {
    "model": "gpt-4o",
    "messages": [{"role": "user", "content": "many words " * 1_300_000}],
}


@pytest.mark.parametrize(
    "path", ["/v1/chat/completions", "/v1/responses", "/v1/embeddings"]
)
async def test_the_largest_body_is_answered(path: str, clock: Clock) -> None:
    """
    A body just below the limit is read, matched and counted as any other.
    """
    content = LARGE["messages"][0]["content"]
    body = (
        LARGE if path.endswith("completions") else {"model": "gpt-4o", "input": content}
    )
    script = "upstream: {script: [{reply: {text: hello}}]}"
    async with mock_in_test(script, MockOptions(port=0), clock=clock) as mock:
        answer = await mock.send("POST", path, body, headers=KEY)

    assert answer.status in {200, 400, 404}
