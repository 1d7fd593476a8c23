"""
Registered webhook endpoints: who is told, and with which secret.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import openai
import pytest

from mock_server import Limits, LoopClock, MockOptions
from mock_server.testing import MockInTest, RawAnswer, mock_in_test

pytestmark = pytest.mark.virtual_time

KEY = {"authorization": "Bearer sk-test"}
PATH = "/v1/webhook_endpoints"
DAY_S = 24 * 3600.0
ENDS = ["response.completed", "response.failed"]
Receiving = Callable[..., AbstractAsyncContextManager[Any]]


async def post(mock: MockInTest, path: str, body: object) -> RawAnswer:
    """
    Return the answer to a request with a body.
    """
    return await mock.send("POST", f"{PATH}{path}", body, headers=KEY)


async def register(
    mock: MockInTest, url: str, event_types: list[str] | None = None
) -> dict[str, Any]:
    """
    Return a registered endpoint, its secret included.
    """
    body = {"name": "mine", "url": url, "event_types": event_types or ENDS}
    return dict((await post(mock, "", body)).json)


def is_signed(delivery: Any, secret: str) -> bool:
    """
    Say whether the official client takes a delivery for genuine.
    """
    client = openai.OpenAI(api_key="sk-test", webhook_secret=secret)
    try:
        client.webhooks.verify_signature(
            delivery.body, delivery.headers, tolerance=10**9
        )
    except openai.InvalidWebhookSignatureError:
        return False
    return True


async def test_life_of_an_endpoint(clock: LoopClock) -> None:
    """
    An endpoint is created with its secret, shown without, changed and deleted.
    """
    async with mock_in_test(clock=clock) as mock:
        made = await register(mock, "http://127.0.0.1:9/hook")
        one = f"{PATH}/{made['id']}"
        shown = await mock.send("GET", one, headers=KEY)
        updated = await post(mock, f"/{made['id']}", {"name": "yours"})
        other = await register(mock, "https://example.com/hook")
        listed = await mock.send("GET", f"{PATH}?limit=1", headers=KEY)
        foreign = await mock.send("GET", one, headers={"authorization": "Bearer sk-2"})
        deleted = await mock.send("DELETE", one, headers=KEY)
        gone = await mock.send("GET", one, headers=KEY)

    assert made["object"] == "webhook_endpoint"
    secret = made.pop("signing_secret")
    assert secret.startswith("whsec_")
    assert secret.endswith(made["signing_secret_hint"])
    assert shown.json == made
    assert updated.json == {**made, "name": "yours"}
    assert [item["id"] for item in listed.json["data"]] == [other["id"]]
    assert listed.json["has_more"] is True
    assert foreign.status == 404
    expected = {"id": made["id"], "object": "webhook_endpoint.deleted", "deleted": True}
    assert deleted.json == expected
    assert gone.status == 404


@pytest.mark.parametrize(
    ("body", "param"),
    [
        ({"url": "http://x/", "event_types": ENDS}, "name"),
        ({"name": "a", "url": "ftp://x/", "event_types": ENDS}, "url"),
        ({"name": "a", "url": "http://x/", "event_types": []}, "event_types"),
        ({"name": "a", "url": "http://x/", "event_types": ["x"]}, "event_types[0]"),
    ],
)
async def test_refuses_what_is_no_endpoint(
    body: dict[str, object], param: str, clock: LoopClock
) -> None:
    """
    An endpoint has a name, a URL and at least one event type that there is.
    """
    async with mock_in_test(clock=clock) as mock:
        answer = await post(mock, "", body)

    assert (answer.status, answer.json["error"]["param"]) == (400, param)


async def test_lists_the_event_types(clock: LoopClock) -> None:
    """
    The types that may be asked for are listed.
    """
    async with mock_in_test(clock=clock) as mock:
        answer = await mock.send("GET", "/v1/webhook_event_types", headers=KEY)

    assert answer.json["object"] == "list"
    assert {"response.completed", "batch.failed"} <= set(answer.json["data"])


async def test_only_subscribers_are_told(
    receiving: Receiving, clock: LoopClock
) -> None:
    """
    An event goes to every endpoint of its world that wants it, and not to the service.
    """
    async with receiving() as service, receiving() as first, receiving() as second:
        options = MockOptions(port=0, service_url=service.url)
        async with mock_in_test(options=options, clock=clock) as mock:
            made = [
                await register(mock, f"{receiver.url}/hook")
                for receiver in (first, second)
            ]
            await register(mock, f"{service.url}/hook", ["response.failed"])
            answer = await mock.respond("hello", background=True)
            await clock.sleep(10)
            emitted = mock.of("webhook_emitted")
            await mock.respond("hello", background=True, api_key="sk-other")
            await clock.sleep(10)

    for receiver, endpoint in zip((first, second), made, strict=True):
        [delivery] = receiver.deliveries
        assert delivery.path == "/hook"
        assert delivery.value["data"] == {"id": answer.json["id"]}
        assert is_signed(delivery, endpoint["signing_secret"])
    assert first.deliveries[0].body == second.deliveries[0].body
    ids = {r.deliveries[0].headers["webhook-id"] for r in (first, second)}
    assert len(ids) == 2
    assert {event["endpoint_id"] for event in emitted} == {e["id"] for e in made}
    # The other world has no endpoints: there the service is told.
    assert [delivery.path for delivery in service.deliveries] == ["/webhook/callback"]


@pytest.mark.parametrize("keeps", [False, True])
async def test_rotation(receiving: Receiving, clock: LoopClock, *, keeps: bool) -> None:
    """
    After a rotation the new secret signs; the old one for a day more, if that is asked.
    """
    async with (
        receiving() as receiver,
        mock_in_test(clock=clock) as mock,
    ):
        made = await register(mock, receiver.url)
        old = made["signing_secret"]
        body = {"keep_old_secret_active_for_24_hours": keeps}
        rotated = await post(mock, f"/{made['id']}/rotate_secret", body)
        new = rotated.json["signing_secret"]
        await mock.respond("hello", background=True)
        await clock.sleep(DAY_S + 1)
        await mock.respond("hello", background=True)
        await clock.sleep(10)

    assert new != old
    assert rotated.json["id"] == made["id"]
    early, late = receiver.deliveries
    assert [is_signed(early, new), is_signed(early, old)] == [True, keeps]
    assert [is_signed(late, new), is_signed(late, old)] == [True, False]


async def test_test_event(receiving: Receiving, clock: LoopClock) -> None:
    """
    A test sends one signed event and says what the endpoint answered.
    """
    async with receiving(204, 500) as receiver, mock_in_test(clock=clock) as mock:
        made = await register(mock, receiver.url)
        body = {"event_type": "response.completed"}
        tested = await post(mock, f"/{made['id']}/test", body)
        failed = await post(mock, f"/{made['id']}/test", body)
        unknown = await post(mock, f"/{made['id']}/test", {"event_type": "x"})
        missing = await post(mock, f"/{made['id']}/test", {})

    assert tested.json == {
        "object": "webhook_endpoint.test",
        "event_type": "response.completed",
        "status_code": 204,
        "success": True,
        "webhook_endpoint_id": made["id"],
    }
    assert is_signed(receiver.deliveries[0], made["signing_secret"])
    assert receiver.types == ["response.completed", "response.completed"]
    assert (failed.status, failed.json["error"]["code"]) == (400, "webhook_test_failed")
    assert "500" in failed.json["error"]["message"]
    assert unknown.json["error"]["param"] == "event_type"
    assert missing.json["error"]["code"] == "missing_required_parameter"


async def test_unreachable_endpoint_fails_its_test(clock: LoopClock) -> None:
    """
    An endpoint that nobody serves is said not to answer.
    """
    async with mock_in_test(clock=clock) as mock:
        made = await register(mock, "http://127.0.0.1:9/nobody")
        body = {"event_type": "response.completed"}
        tested = await post(mock, f"/{made['id']}/test", body)

    assert tested.status == 400
    assert "did not answer" in tested.json["error"]["message"]


async def test_number_of_endpoints_is_limited(clock: LoopClock) -> None:
    """
    One endpoint more than there may be is refused; none is forgotten for it.
    """
    options = MockOptions(port=0, limits=Limits(webhook_endpoints_max=1))
    async with mock_in_test(options=options, clock=clock) as mock:
        made = await register(mock, "http://127.0.0.1:9/")
        body = {"name": "a", "url": "http://x/", "event_types": ENDS}
        refused = await post(mock, "", body)
        kept = await mock.send("GET", f"{PATH}/{made['id']}", headers=KEY)

    assert (refused.status, kept.status) == (400, 200)
    assert refused.json["error"]["code"] == "webhook_endpoints_max"


async def test_faults_of_the_emitter_hit_events(
    receiving: Receiving, clock: LoopClock
) -> None:
    """
    What goes wrong with a tool's webhook goes wrong with the API's own, too.
    """
    script = "webhook_emitter: {faults: [{fault: bad_signature}, {fault: duplicate}]}"
    async with receiving() as receiver, mock_in_test(script, clock=clock) as mock:
        made = await register(mock, receiver.url)
        await mock.respond("hello", background=True)
        await clock.sleep(10)

    first, second = receiver.deliveries
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert not is_signed(first, made["signing_secret"])
