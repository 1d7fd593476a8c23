"""
The endpoint that receives the service's webhooks.
"""

import base64
import hashlib

import orjson
import pytest

from mock_server import LoopClock, MockOptions
from mock_server.signatures import sign
from mock_server.testing import Ending, MockInTest, RawAnswer, mock_in_test

pytestmark = pytest.mark.virtual_time

KEY = b"0123456789abcdef0123456789abcdef"
OPTIONS = MockOptions(port=0, webhook_secret="whsec_" + base64.b64encode(KEY).decode())
BODY = orjson.dumps(
    {
        "type": "function_call.completed",
        "timestamp": "2023-11-14T22:30:00Z",
        "data": {"call_id": "call_1", "function": "f", "result": 1},
    }
)


async def _deliver(
    mock: MockInTest,
    *,
    endpoint: str = "default",
    message_id: str = "msg_1",
    body: bytes = BODY,
    age_s: int = 0,
    key: bytes = KEY,
    wait_s: float = 100,
) -> RawAnswer:
    timestamp = int(mock.clock.wall()) - age_s
    headers = {
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(
            message_id=message_id, timestamp=timestamp, body=body, key=key
        ),
    }
    return await mock.send(
        "POST", f"/webhooks/{endpoint}", body, headers=headers, wait_s=wait_s
    )


async def test_takes_and_verifies_a_delivery(clock: LoopClock) -> None:
    """
    A delivery is acknowledged, and told with its ids, its type and its fingerprint.
    """
    async with mock_in_test("{}", OPTIONS, clock=clock) as mock:
        answer = await _deliver(mock)
        [received] = mock.of("webhook_received")

    assert answer.status == 200
    assert received["endpoint"] == "default"
    assert received["message_id"] == "msg_1"
    assert received["event_type"] == "function_call.completed"
    assert received["tool_call_id"] == "call_1"
    assert received["verified"] is True
    assert "reason" not in received
    assert received["body_sha256"] == hashlib.sha256(BODY).hexdigest()
    assert (received["status"], received["outcome"]) == (200, "complete")


async def test_counts_attempts_by_endpoint_and_message(clock: LoopClock) -> None:
    """
    The same id again is the next attempt; at another endpoint it is the first.
    """
    async with mock_in_test("{}", OPTIONS, clock=clock) as mock:
        await _deliver(mock)
        await _deliver(mock)
        await _deliver(mock, message_id="msg_2")
        await _deliver(mock, endpoint="other")
        received = mock.of("webhook_received")

    assert [record["attempt_number"] for record in received] == [1, 2, 1, 1]


@pytest.mark.parametrize(
    ("key", "age_s", "reason"),
    [(b"wrong", 0, "bad_signature"), (KEY, 301, "stale_timestamp")],
)
async def test_says_why_a_delivery_is_not_verified(
    key: bytes, age_s: int, reason: str, clock: LoopClock
) -> None:
    """
    A bad signature is recorded, not refused: the answer stays as scripted.
    """
    async with mock_in_test("{}", OPTIONS, clock=clock) as mock:
        answer = await _deliver(mock, key=key, age_s=age_s)
        [received] = mock.of("webhook_received")

    assert answer.status == 200
    assert (received["verified"], received["reason"]) == (False, reason)


async def test_verifies_nothing_without_a_secret(clock: LoopClock) -> None:
    """
    Without a secret nothing is called verified.
    """
    async with mock_in_test(clock=clock) as mock:
        await _deliver(mock)
        [received] = mock.of("webhook_received")

    assert (received["verified"], received["reason"]) == (False, "no_secret")


async def test_reads_callback_ids_and_the_article_s_shape(clock: LoopClock) -> None:
    """
    A chat's webhook names its callback, the article's flat one its call.
    """
    chat = {"type": "chat.completed", "data": {"callback_id": "cb_1"}}
    article = {"event": "function_call_completed", "call_id": "call_9"}
    async with mock_in_test("{}", OPTIONS, clock=clock) as mock:
        await _deliver(mock, body=orjson.dumps(chat))
        await mock.send("POST", "/webhooks/default", article)
        first, second = mock.of("webhook_received")

    assert first["callback_id"] == "cb_1"
    assert second["event_type"] == "function_call_completed"
    assert second["tool_call_id"] == "call_9"
    assert (second["message_id"], second["verified"]) == (None, False)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"\xff", b'{"data": 1}', b"null"])
async def test_takes_garbage_calmly(body: bytes, clock: LoopClock) -> None:
    """
    Whatever comes is recorded and answered.
    """
    async with mock_in_test("{}", OPTIONS, clock=clock) as mock:
        answer = await mock.send("POST", "/webhooks/default", body)

        assert len(mock.of("webhook_received")) == 1

    assert answer.status == 200


SCRIPT = """
webhook_endpoint:
  script:
    - match: {type: "chat.*"}
      reply: {status: 204}
    - match: {attempt: 1}
      reply: {status: 503, headers: {Retry-After: "7"}, body: {error: busy}}
  endpoints:
    teapot: {reply: {status: 418}}
"""


async def test_answers_as_scripted(clock: LoopClock) -> None:
    """
    The first rule that matches type and attempt answers; a named endpoint has its own.
    """
    async with mock_in_test(SCRIPT, OPTIONS, clock=clock) as mock:
        first = await _deliver(mock)
        second = await _deliver(mock)
        chat = await _deliver(mock, body=b'{"type": "chat.failed"}', message_id="m")
        teapot = await _deliver(mock, endpoint="teapot")
        received = mock.of("webhook_received")

    assert (first.status, first.json) == (503, {"error": "busy"})
    assert first.headers["retry-after"] == "7"
    assert [answer.status for answer in (second, chat, teapot)] == [200, 204, 418]
    assert received[0]["retry_after_s"] == 7.0


@pytest.mark.parametrize(
    ("fault", "status", "ending", "outcome"),
    [
        ("status, status: 500", 500, Ending.CLOSED, "complete"),
        ("status, status: 201", 201, Ending.CLOSED, "complete"),
        ("rate_limited", 429, Ending.CLOSED, "complete"),
        ("gone", 410, Ending.CLOSED, "complete"),
        ("redirect_to, location: 'http://10.0.0.1/'", 307, Ending.CLOSED, "complete"),
        ("html_page", 502, Ending.CLOSED, "complete"),
        ("lost_ack", None, Ending.CLOSED, "closed"),
        ("lost_ack, how: reset", None, Ending.RESET, "reset"),
        ("close_before_headers", None, Ending.CLOSED, "closed"),
        ("reset_before_headers", None, Ending.RESET, "reset"),
        ("black_hole", None, Ending.STILL_OPEN, "abandoned"),
        ("slow, delay: 50s", 200, Ending.CLOSED, "complete"),
    ],
)
async def test_has_the_faults_of_an_endpoint(
    fault: str, status: int | None, ending: Ending, outcome: str, clock: LoopClock
) -> None:
    """
    Each fault shows on the wire and in the event, and the delivery is counted anyway.
    """
    script = f"webhook_endpoint: {{faults: [{{fault: {fault}}}]}}"
    async with mock_in_test(script, OPTIONS, clock=clock) as mock:
        answer = await _deliver(mock)
        await clock.sleep(1)
        [received] = mock.of("webhook_received")

    assert (answer.status, answer.ending) == (status, ending)
    assert (received["status"], received["outcome"]) == (status, outcome)
    assert received["faults"] == [fault.partition(",")[0]]
    assert received["verified"] is True


async def test_a_named_endpoint_is_spared_what_it_replaces(clock: LoopClock) -> None:
    """
    Faults beside ``endpoints`` are for the endpoints that are not named there.
    """
    script = """
webhook_endpoint:
  faults: [{fault: gone}]
  endpoints:
    good: {}
    bad: {faults: [{fault: status, status: 500}]}
"""
    async with mock_in_test(script, OPTIONS, clock=clock) as mock:
        statuses = [
            (await _deliver(mock, endpoint=name)).status
            for name in ("default", "good", "bad")
        ]

    assert statuses == [410, 200, 500]
