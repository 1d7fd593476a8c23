"""
Background responses over time, and the webhooks that tell of their ends.
"""

import asyncio
import base64
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import openai
import pytest

from mock_server import LoopClock, MockOptions
from mock_server.testing import MockInTest, RawAnswer, mock_in_test

pytestmark = pytest.mark.virtual_time

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
KEY = {"authorization": "Bearer sk-test"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SCRIPT = """
upstream:
  latency: {time_to_first_token: 5s, inter_token: 1s}
  background: {queue: 2s}
  script:
    - match: {last_message: {contains: fail}}
      reply: {error: {status: 500, message: Broken., failure: nested}}
    - match: {last_message: {contains: quick}}
      reply: {text: "now"}
      latency: {time_to_first_token: 1s}
    - match: {last_message: {contains: long}}
      reply: {text: "one two three", finish_reason: length}
    - match: {last_message: {contains: call}}
      reply: {tool_calls: [{name: f, id: call_1}]}
    - reply: {text: "one two three"}
webhook_emitter: {backoff_base: 1s}
"""
"""A response of three pieces: 2 s in the queue, 5 s to the first, 1 s before each."""

DURATION_S = 10.0
Receiving = Callable[..., AbstractAsyncContextManager[Any]]


async def get(mock: MockInTest, path: str, method: str = "GET") -> RawAnswer:
    """
    Return the answer to a request without a body.
    """
    return await mock.send(method, f"/v1/responses/{path}", headers=KEY)


def numbers(answer: RawAnswer) -> list[int]:
    """
    Return the numbers of the events that came.
    """
    return [value["sequence_number"] for _, value in answer.named_events]


async def test_goes_from_queued_to_completed(clock: LoopClock) -> None:
    """
    The answer comes at once; what it stands for takes the scripted time.
    """
    seen = []
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.respond("hello", background=True)
        started_s = clock.monotonic()
        for moment_s in (0.0, 1.9, 2.1, 9.9, 10.1):
            await clock.sleep(started_s + moment_s - clock.monotonic())
            seen.append((await get(mock, answer.json["id"])).json)

    assert answer.last_byte_s == 0.0
    assert (answer.json["status"], answer.json["output"]) == ("queued", [])
    assert answer.json["usage"] is None
    expected = ["queued", "queued", "in_progress", "in_progress", "completed"]
    assert [value["status"] for value in seen] == expected
    assert seen[3]["output"] == []
    final = seen[4]
    assert final["output"][0]["content"][0]["text"] == "one two three"
    assert final["completed_at"] == final["created_at"] + DURATION_S
    assert final["usage"]["output_tokens"] > 0


async def test_rule_s_own_latency_holds(clock: LoopClock) -> None:
    """
    A rule's latency replaces the surface's in the background, too.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.respond("quick", background=True)
        await clock.sleep(3.1)
        found = await get(mock, answer.json["id"])

    assert found.json["status"] == "completed"


async def test_speed_divides_all_waits(clock: LoopClock) -> None:
    """
    A mock that is run faster works faster in the background, too.
    """
    options = MockOptions(port=0, speed=10.0)
    async with mock_in_test(SCRIPT, options, clock=clock) as mock:
        answer = await mock.respond("hello", background=True, stream=True)

    assert answer.last_byte_s == pytest.approx(DURATION_S / 10)


async def test_background_stream(clock: LoopClock) -> None:
    """
    A background stream tells of the queue, and comes at the same moments.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.respond("hello", background=True, stream=True)

    names = [name for name, _ in answer.named_events]
    assert names[:3] == ["response.created", "response.queued", "response.in_progress"]
    assert names[-1] == "response.completed"
    statuses = [v["response"]["status"] for _, v in answer.named_events[:3]]
    assert statuses == ["queued", "queued", "in_progress"]
    assert answer.first_byte_s == 0.0
    assert answer.last_byte_s == pytest.approx(DURATION_S)


@pytest.mark.parametrize("after", [0, 4, 7])
async def test_cut_stream_is_resumed(after: int, clock: LoopClock) -> None:
    """
    Whoever lost a stream gets every event after a number, each at its moment.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        lost = await mock.respond("hello", background=True, stream=True, wait_s=7.5)
        response_id = lost.named_events[0][1]["response"]["id"]
        query = f"{response_id}?stream=true&starting_after={after}"
        resumed = await get(mock, query)
        again = await get(mock, query)

    assert numbers(lost) == list(range(len(numbers(lost))))
    total = numbers(resumed)[-1] + 1
    assert numbers(resumed) == numbers(again) == list(range(after + 1, total))
    assert resumed.last_byte_s == pytest.approx(DURATION_S - 7.5)
    assert again.last_byte_s == 0.0
    assert resumed.body == again.body
    both = lost.named_events[after + 1 :]
    assert both == resumed.named_events[: len(both)]


async def test_resuming_asks_for_a_number(clock: LoopClock) -> None:
    """
    Anything but a number is refused; beyond the last event there is nothing.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.respond("quick", background=True, stream=True)
        path = f"{answer.named_events[0][1]['response']['id']}?stream=true"
        bad = await get(mock, f"{path}&starting_after=soon")
        beyond = await get(mock, f"{path}&starting_after=999999")
        whole = await get(mock, path)

    assert (bad.status, bad.json["error"]["param"]) == (400, "starting_after")
    assert (beyond.status, beyond.body) == (200, b"")
    assert whole.body == answer.body


async def test_cancel(clock: LoopClock) -> None:
    """
    A cancelled response says nothing more, to old readers and to new ones.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        lost = await mock.respond("hello", background=True, stream=True, wait_s=1)
        response_id = lost.named_events[0][1]["response"]["id"]
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(get(mock, f"{response_id}?stream=true"))
            await clock.sleep(7.5)
            cancelled = await get(mock, f"{response_id}/cancel", "POST")
            again = await get(mock, f"{response_id}/cancel", "POST")
        read = reading.result()
        found = await get(mock, response_id)
        late = await get(mock, f"{response_id}?stream=true")

    assert cancelled.json["status"] == "cancelled"
    assert cancelled.json["output"] == []
    assert cancelled.json == again.json == found.json
    assert read.is_whole
    names = [name for name, _ in read.named_events]
    assert names[-1] == "response.output_text.delta"
    assert late.body == read.body


async def test_cancelled_response_leaves_its_conversation(clock: LoopClock) -> None:
    """
    What was not said is not in the conversation, and cannot be continued.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        made = await mock.send("POST", "/v1/conversations", {}, headers=KEY)
        path = f"/v1/conversations/{made.json['id']}/items"
        answer = await mock.respond(
            "call", background=True, conversation=made.json["id"]
        )
        before = await mock.send("GET", path, headers=KEY)
        early = await mock.respond("x", previous_response_id=answer.json["id"])
        await get(mock, f"{answer.json['id']}/cancel", "POST")
        after = await mock.send("GET", path, headers=KEY)
        late = await mock.respond("x", previous_response_id=answer.json["id"])

    assert len(before.json["data"]) == 2
    assert [item["type"] for item in after.json["data"]] == ["message"]
    assert (early.status, early.json["error"]["param"]) == (400, "previous_response_id")
    assert late.status == 200


async def test_finished_response_is_not_cancelled(clock: LoopClock) -> None:
    """
    Cancelling what is finished returns it as it is.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.respond("hello", background=True)
        await clock.sleep(11)
        found = await get(mock, answer.json["id"])
        cancelled = await get(mock, f"{answer.json['id']}/cancel", "POST")

    assert cancelled.json == found.json
    assert cancelled.json["status"] == "completed"


async def test_deleted_response_stops(clock: LoopClock) -> None:
    """
    A response that is deleted while it is worked on ends there.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        lost = await mock.respond("hello", background=True, stream=True, wait_s=1)
        response_id = lost.named_events[0][1]["response"]["id"]
        async with asyncio.TaskGroup() as tasks:
            reading = tasks.create_task(get(mock, f"{response_id}?stream=true"))
            await clock.sleep(2)
            await get(mock, response_id, "DELETE")
        found = await get(mock, response_id)

    assert "response.completed" not in dict(reading.result().named_events)
    assert found.status == 404


@pytest.mark.parametrize(
    ("given", "status"),
    [("hello", "completed"), ("fail", "failed"), ("long", "incomplete")],
)
async def test_webhook_tells_the_end(
    given: str, status: str, receiving: Receiving, clock: LoopClock
) -> None:
    """
    The end of a background response is told, signed, and true when it is told.
    """
    async with receiving() as receiver:
        options = MockOptions(port=0, service_url=receiver.url, webhook_secret=SECRET)
        async with mock_in_test(SCRIPT, options, clock=clock) as mock:
            headers = {"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"}
            answer = await mock.respond(given, background=True, headers=headers)
            await clock.sleep(20)
            found = await get(mock, answer.json["id"])
            [emitted] = mock.of("webhook_emitted")
            [delivery] = receiver.deliveries
            wall_s = clock.wall()

    assert found.json["status"] == status
    if status == "failed":
        error = {"code": "server_error", "message": "Broken."}
        assert found.json["error"] == error
    assert delivery.path == "/webhook/callback"
    value = delivery.value
    assert list(value) == ["object", "id", "type", "created_at", "data"]
    assert (value["object"], value["type"]) == ("event", f"response.{status}")
    assert value["data"] == {"id": answer.json["id"]}
    assert value["id"].startswith("evt_")
    assert value["created_at"] <= wall_s
    assert delivery.headers["webhook-id"].startswith("wh_")
    assert delivery.headers["user-agent"].startswith("OpenAI/1.0")
    assert delivery.headers["traceparent"].startswith(f"00-{TRACE}-")
    assert emitted["event_type"] == f"response.{status}"
    assert emitted["object_id"] == answer.json["id"]
    assert (emitted["trace_id"], emitted["tool_call_id"]) == (TRACE, None)


async def test_sdk_unwraps_the_webhook(receiving: Receiving, clock: LoopClock) -> None:
    """
    The official client verifies the very bytes and knows the event.
    """
    async with receiving() as receiver:
        options = MockOptions(port=0, service_url=receiver.url, webhook_secret=SECRET)
        async with mock_in_test(SCRIPT, options, clock=clock) as mock:
            answer = await mock.respond("hello", background=True)
            await clock.sleep(20)
        [delivery] = receiver.deliveries
    client = openai.OpenAI(api_key="sk-test", webhook_secret=SECRET)
    tolerance_s = 10**9

    client.webhooks.verify_signature(
        delivery.body, delivery.headers, tolerance=tolerance_s
    )
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.verify_signature(
            delivery.body + b" ", delivery.headers, tolerance=tolerance_s
        )

    assert delivery.value["data"]["id"] == answer.json["id"]


async def test_cancellation_is_told_instead(
    receiving: Receiving, clock: LoopClock
) -> None:
    """
    A cancelled response is told as cancelled, at once, and as nothing else.
    """
    async with receiving() as receiver:
        options = MockOptions(port=0, service_url=receiver.url, webhook_secret=SECRET)
        async with mock_in_test(SCRIPT, options, clock=clock) as mock:
            answer = await mock.respond("hello", background=True)
            await clock.sleep(3)
            await get(mock, f"{answer.json['id']}/cancel", "POST")
            cancelled_s = clock.monotonic()
            await clock.sleep(30)

    assert receiver.types == ["response.cancelled"]
    assert receiver.deliveries[0].at_s == pytest.approx(cancelled_s)


async def test_unacknowledged_webhook_is_sent_again(
    receiving: Receiving, clock: LoopClock
) -> None:
    """
    What is not acknowledged (a redirect is not) is sent again, signed anew.
    """
    async with receiving(500, 307, 200) as receiver:
        options = MockOptions(port=0, service_url=receiver.url, webhook_secret=SECRET)
        async with mock_in_test(SCRIPT, options, clock=clock) as mock:
            await mock.respond("hello", background=True)
            await clock.sleep(60)
            emitted = mock.of("webhook_emitted")

    first, second, third = receiver.deliveries
    gaps = [second.at_s - first.at_s, third.at_s - second.at_s]
    assert gaps == pytest.approx([1.0, 2.0])
    assert first.body == second.body == third.body
    for name, same in (("webhook-id", True), ("webhook-signature", False)):
        assert (first.headers[name] == third.headers[name]) is same
    assert [event["attempt_number"] for event in emitted] == [1, 2, 3]
    assert [event["status"] for event in emitted] == [500, 307, 200]


async def test_nobody_is_told_of_what_is_answered_at_once(
    receiving: Receiving, clock: LoopClock
) -> None:
    """
    Only background responses have webhooks.
    """
    async with receiving() as receiver:
        options = MockOptions(port=0, service_url=receiver.url, webhook_secret=SECRET)
        async with mock_in_test(SCRIPT, options, clock=clock) as mock:
            await mock.respond("hello")
            await mock.respond("hello", stream=True)
            await clock.sleep(60)

    assert receiver.deliveries == []


async def test_without_a_receiver_nothing_is_sent(clock: LoopClock) -> None:
    """
    A mock that knows nobody to tell works off responses all the same.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.respond("hello", background=True)
        await clock.sleep(60)
        found = await get(mock, answer.json["id"])
        health = mock.running.mock.health()

    assert found.json["status"] == "completed"
    assert mock.of("webhook_emitted") == []
    assert health["dropped"]["emissions_max"] == 0
