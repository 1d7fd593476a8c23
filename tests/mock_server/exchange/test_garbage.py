"""
Nothing that comes in makes the mock fail.
"""

import logging

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.testing import WALL_EPOCH_S, run_virtual
from mock_server import LoopClock, MockOptions
from mock_server.encoding import to_json_bytes
from mock_server.events import encode_record
from mock_server.testing import RawAnswer, mock_in_test

SCRIPT = """
upstream: {script: [{match: {turn: 1}, reply: {text: "{{ message }}"}}]}
tools:
  echo: {result: "{{ arguments }}"}
  later: {deferred: true, result: "{{ arguments }}"}
"""
OPTIONS = MockOptions(
    port=0,
    service_url="http://127.0.0.1:9",
    webhook_secret="whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=",  # noqa: S106 - a test's
)
PATHS = [
    b"/v1/chat/completions",
    b"/v1/models",
    b"/v1/models/%ff%00",
    b"/tools/echo",
    b"/tools/later",
    b"/tools/%2e%2e%ff",
    b"/webhooks/default",
    b"/webhooks/%f0%9f%92%a5",
    b"/_mock/faults",
    b"/_mock/journal?limit=%ff",
    b"/_mock/script",
    b"/_mock/start",
    b"/_mock/worlds/%ff/journal",
    b"/_mock/faults/%ff",
    b"/",
]
HEADERS = [
    b"idempotency-key",
    b"webhook-id",
    b"webhook-timestamp",
    b"webhook-signature",
    b"x-webhook-signature",
    b"traceparent",
    b"authorization",
    b"content-type",
]
BODIES = [
    b"",
    b"{}",
    b"[" * 5000,
    b'{"a":' * 300 + b"1" + b"}" * 300,
    b'{"a": "\\ud800"}',
    b'{"n": 123456789012345678901234567890}',
    b'{"n": 1e999}',
    b"\xff\xfe{}",
    b'{"type": 1, "data": {"call_id": [1]}}',
    b'{"model": "gpt-4o", "messages": [{"role": "user", "content": "\\ud800"}]}',
    b'{"target": "upstream", "fault": ["status"]}',
    b'{"at_s": 1e400}',
    b"&a [*a]",
    b"a: !!python/object:os.system {}",
]
VALUES = st.binary(max_size=30).map(
    lambda value: bytes(b for b in value if b >= 32 and b != 127).strip()
)


@pytest.mark.parametrize("method", ["POST", "GET", "PUT", "DELETE"])
@given(data=st.data())
@settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_garbage_gets_an_answer(
    method: str, data: st.DataObject, caplog: pytest.LogCaptureFixture
) -> None:
    """
    Whatever path, headers and body a request has, it is answered and nothing breaks.
    """
    path = data.draw(st.sampled_from(PATHS))
    body = data.draw(st.one_of(st.sampled_from(BODIES), st.binary(max_size=60)))
    names = data.draw(st.lists(st.sampled_from(HEADERS), unique=True, max_size=4))
    headers = b"".join(name + b": " + data.draw(VALUES) + b"\r\n" for name in names)
    request = (
        method.encode()
        + b" "
        + path
        + b" HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: "
        + str(len(body)).encode()
        + b"\r\n"
        + headers
        + b"\r\n"
        + body
    )
    caplog.clear()

    async def main() -> tuple[RawAnswer, RawAnswer]:
        clock = LoopClock(WALL_EPOCH_S)
        async with mock_in_test(SCRIPT, OPTIONS, clock=clock) as mock:
            answer = await mock.send_bytes(request, wait_s=10)
            journal = await mock.send("GET", "/_mock/journal")
            await clock.sleep(100)
            for record in mock.records:
                assert b"\n" not in encode_record(record)
            return answer, journal

    answer, journal = run_virtual(main)

    assert answer.status is not None
    is_scripted = b"script_error" in answer.body
    assert answer.status < 500 or is_scripted
    assert journal.status == 200
    loud = [r for r in caplog.records if r.levelno >= logging.ERROR]
    assert not loud, loud[0].getMessage()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"b": 1, "a": "é"}, '{"a":"é","b":1}'),
        ("\ud800", '"\\ud800"'),
        (10**30, "1" + "0" * 30),
        ({"n": float("nan")}, '{"n":null}'),
    ],
)
def test_writes_what_the_quick_encoder_refuses(value: object, text: str) -> None:
    """
    Odd text and large numbers are written, not lost.
    """
    written = to_json_bytes(value, sort_keys=True)

    assert written == text.encode()


def test_writes_around_what_cannot_be_written() -> None:
    """
    A value that no encoder takes leaves the others in place.
    """
    deep: list[object] = []
    for _ in range(5000):
        deep = [deep]

    written = to_json_bytes({"deep": deep, "good": 1})

    assert written == b'{"deep":"[cannot be written as JSON]","good":1}'
