"""
Every answer of the receiver, and what it leaves behind.
"""

import asyncio
import json
from typing import Any

import pytest
from multidict import CIMultiDict

from harness.bus import EventBus
from harness.clock import Clock
from harness.errors import StoreUnavailableError
from harness.events import (
    PendingCallResolved,
    WebhookAccepted,
    WebhookEnqueued,
    WebhookRefused,
)
from harness.ids import IdMint, ToolCallId, TraceId
from harness.stores import CallState, SqliteStore, ToolCallRecord
from harness.testing import Recorder
from harness.webhooks import (
    MessageFactory,
    ReceiverAnswer,
    ReceiverOptions,
    Secret,
    WebhookFormat,
    WebhookReceiver,
    build_body,
    sign,
    sign_article,
)

pytestmark = pytest.mark.virtual_time

SECRET = Secret.parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
OTHER = Secret.parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")
TRACE = TraceId("0af7651916cd43dd8448eb211c80319c")
CALL = ToolCallId("call_1")


class Counter:
    """
    A receiver over a store, with what it told others.
    """

    def __init__(
        self,
        store: SqliteStore,
        clock: Clock,
        ids: IdMint,
        bus: EventBus,
        options: ReceiverOptions | None = None,
        *,
        is_telling: bool = True,
    ) -> None:
        self.store = store
        self.clock = clock
        self.resolved: list[ToolCallRecord] = []
        self.enqueued = 0
        self.is_listener_broken = False
        self.receiver = WebhookReceiver(
            store=store,
            secrets=[OTHER, SECRET],
            messages=MessageFactory(endpoint="default", clock=clock, ids=ids)
            if is_telling
            else None,
            clock=clock,
            bus=bus,
            on_resolved=self._on_resolved,
            on_enqueued=self._on_enqueued,
            options=options,
        )

    def _on_resolved(self, call: ToolCallRecord) -> None:
        if self.is_listener_broken:
            message = "a bug"
            raise RuntimeError(message)
        self.resolved.append(call)

    def _on_enqueued(self) -> None:
        self.enqueued += 1

    async def open_call(self) -> None:
        """
        Open the call of these tests.
        """
        await self.store.open_call(
            ToolCallRecord(
                tool_call_id=CALL,
                chat_id="chat_1",
                tool="approve_refund",
                arguments_json="{}",
                state=CallState.PENDING,
                deadline_s=self.clock.wall() + 60.0,
                trace_id=TRACE,
            )
        )

    def signed(
        self,
        body: bytes,
        *,
        message_id: str = "msg_in",
        age_s: int = 0,
        secret: Secret = SECRET,
    ) -> CIMultiDict[str]:
        """
        Return headers as a sender makes them.
        """
        at_s = int(self.clock.wall()) - age_s
        return CIMultiDict(
            {
                "Content-Type": "application/json",
                "Webhook-Id": message_id,
                "Webhook-Timestamp": str(at_s),
                "Webhook-Signature": sign(message_id, at_s, body, secrets=[secret]),
            }
        )

    async def take(self, body: bytes | None = None, **signing: Any) -> ReceiverAnswer:
        """
        Receive a signed body.
        """
        body = completed() if body is None else body
        return await self.receiver.receive(self.signed(body, **signing), body)

    async def state(self) -> CallState | None:
        """
        Return where the call stands.
        """
        call = await self.store.load_call(CALL)
        return None if call is None else call.state


def completed(result: object = 0, *, call_id: str = CALL) -> bytes:
    """
    Return the body of a result.
    """
    return build_body(
        "function_call.completed",
        occurred_at_s=1_700_000_000.0,
        data={"call_id": call_id, "function": "approve_refund", "result": result},
    )


@pytest.fixture
def counter(store: SqliteStore, clock: Clock, ids: IdMint, bus: EventBus) -> Counter:
    """
    A receiver with default options.
    """
    return Counter(store, clock, ids, bus)


async def sent_bodies(store: SqliteStore) -> list[Any]:
    """
    Return the bodies of the webhooks that are due.
    """
    claimed = await store.claim(owner="me", lease_s=60.0, room={"default": 100})
    return [json.loads(each.body) for each in claimed]


async def test_applies_a_result(
    counter: Counter, store: SqliteStore, recorder: Recorder
) -> None:
    """
    A good result is committed with its own webhook, then told, then answered 200.
    """
    await counter.open_call()

    answer = await counter.take(completed({"approved": True}))

    assert (answer.status, answer.body) == (200, {"status": "received"})
    assert [call.result_json for call in counter.resolved] == ['{"approved":true}']
    assert counter.enqueued == 1
    (body,) = await sent_bodies(store)
    assert body["type"] == "function_call.completed"
    assert body["data"] == {
        "call_id": CALL,
        "function": "approve_refund",
        "result": {"approved": True},
    }
    assert [type(each) for each in recorder.events] == [
        WebhookAccepted,
        PendingCallResolved,
        WebhookEnqueued,
    ]
    assert {each.trace_id for each in recorder.envelopes} == {TRACE}


async def test_applies_a_result_that_nobody_is_told_of(
    store: SqliteStore, clock: Clock, ids: IdMint, bus: EventBus, recorder: Recorder
) -> None:
    """
    A service without a webhook target resolves its calls and enqueues nothing.
    """
    quiet = Counter(store, clock, ids, bus, is_telling=False)
    await quiet.open_call()

    assert (await quiet.take()).body == {"status": "received"}

    assert await quiet.state() is CallState.COMPLETED
    assert await sent_bodies(store) == []
    assert recorder.of(WebhookEnqueued) == []


async def test_applies_a_failure(counter: Counter, store: SqliteStore) -> None:
    """
    A failed call resolves too, and its error travels on.
    """
    await counter.open_call()
    error = {"code": "denied", "message": "not this one"}
    body = build_body(
        "function_call.failed",
        occurred_at_s=1_700_000_000.0,
        data={"call_id": CALL, "function": "approve_refund", "error": error},
    )

    assert (await counter.take(body)).status == 200

    assert await counter.state() is CallState.FAILED
    (sent,) = await sent_bodies(store)
    assert sent["data"]["error"] == error


async def test_a_repeat_is_a_duplicate(counter: Counter, store: SqliteStore) -> None:
    """
    The same message again, even a day later with a fresh signature, has no effect.
    """
    await counter.open_call()
    await counter.take()
    await counter.clock.sleep(86_400)

    answer = await counter.take()

    assert (answer.status, answer.body) == (200, {"status": "duplicate"})
    assert len(counter.resolved) == 1
    assert len(await sent_bodies(store)) == 1


async def test_a_hundred_at_once_have_one_effect(
    counter: Counter, store: SqliteStore
) -> None:
    """
    The same request a hundred times at once: a hundred times 2xx, one effect.
    """
    await counter.open_call()

    async with asyncio.TaskGroup() as tasks:
        taken = [tasks.create_task(counter.take()) for _ in range(100)]

    assert {task.result().status for task in taken} == {200}
    words = [task.result().body["status"] for task in taken]
    assert (words.count("received"), words.count("duplicate")) == (1, 99)
    assert len(counter.resolved) == 1
    assert len(await sent_bodies(store)) == 1


async def test_the_same_id_with_another_body_is_refused(counter: Counter) -> None:
    """
    An id names one body for ever.
    """
    await counter.open_call()
    await counter.take(completed(1))

    answer = await counter.take(completed(2))

    assert answer.status == 422
    assert answer.body["error"]["code"] == "id_conflict"
    assert [call.result_json for call in counter.resolved] == ["1"]


async def test_the_first_result_wins(counter: Counter, store: SqliteStore) -> None:
    """
    A rival result under another id is late.
    """
    await counter.open_call()
    await counter.take(completed(1))

    answer = await counter.take(completed(2), message_id="msg_rival")

    assert (answer.status, answer.body) == (200, {"status": "late"})
    assert [call.result_json for call in counter.resolved] == ["1"]
    assert len(await sent_bodies(store)) == 1


async def test_a_result_after_the_timeout_is_late(counter: Counter) -> None:
    """
    Once a call expired, its result is kept and changes nothing.
    """
    await counter.open_call()
    await counter.clock.sleep(61.0)
    await counter.store.sweep()

    answer = await counter.take()

    assert (answer.status, answer.body) == (200, {"status": "late"})
    assert await counter.state() is CallState.EXPIRED
    assert counter.resolved == []


async def test_an_unknown_call_applies_when_it_appears(
    counter: Counter, store: SqliteStore, recorder: Recorder
) -> None:
    """
    A result that overtakes its call is answered 404, kept, and applied later.
    """
    first = await counter.take()
    again = await counter.take()
    await counter.open_call()
    after = await counter.take()

    assert (first.status, again.status) == (404, 404)
    assert first.body["error"]["code"] == "unknown_call"
    assert (after.status, after.body) == (200, {"status": "duplicate"})
    assert await counter.state() is CallState.COMPLETED
    (sent,) = await sent_bodies(store)
    assert sent["data"]["function"] == "approve_refund"
    outcomes = [each.outcome for each in recorder.of(WebhookAccepted)]
    assert outcomes == ["unknown", "unknown", "duplicate"]


async def test_other_events_are_taken(counter: Counter, recorder: Recorder) -> None:
    """
    An event that resolves nothing is received once, then a duplicate.
    """
    body = b'{"id":"evt_1","object":"event","type":"response.completed","data":{}}'

    first = await counter.take(body, message_id="wh_1")
    again = await counter.take(body, message_id="wh_1")

    assert [first.body["status"], again.body["status"]] == ["received", "duplicate"]
    assert recorder.of(WebhookAccepted)[0].event_type == "response.completed"


@pytest.mark.parametrize("live", [SECRET, OTHER])
async def test_accepts_any_live_secret(counter: Counter, live: Secret) -> None:
    """
    During a rotation both secrets are good.
    """
    await counter.open_call()

    assert (await counter.take(secret=live)).status == 200


async def test_doubt_is_401_and_always_the_same(
    counter: Counter, store: SqliteStore, recorder: Recorder
) -> None:
    """
    Every doubt about authenticity has one answer, no effect, and its reason in the log.
    """
    await counter.open_call()
    body = completed()
    good = counter.signed(body)
    doubled = counter.signed(body)
    doubled.add("webhook-id", "msg_in")
    stranger = Secret.parse("whsec_" + "A" * 32)
    cases = [
        (good, body + b" "),
        (good, json.dumps(json.loads(body), indent=1).encode()),
        (counter.signed(body, secret=stranger), body),
        (counter.signed(body, age_s=301), body),
        (counter.signed(body, age_s=-302), body),
        (doubled, body),
        (CIMultiDict({"content-type": "application/json"}), body),
        *(
            (CIMultiDict({**good, name: value}), body)
            for name, value in [
                ("webhook-signature", "v1,AAAA"),
                ("webhook-signature", " ".join(["v1,AAAA"] * 2000)),
                ("webhook-timestamp", "1e9"),
                ("webhook-id", "msg.in"),
            ]
        ),
    ]

    answers = [await counter.receiver.receive(*case) for case in cases]

    assert {answer.status for answer in answers} == {401}
    assert len({json.dumps(answer.body) for answer in answers}) == 1
    assert await counter.state() is CallState.PENDING
    assert await sent_bodies(store) == []
    refused = recorder.of(WebhookRefused)
    assert len(refused) == len(cases)
    assert {"no_match", "outside_tolerance"} < {each.reason for each in refused}
    # Nothing was remembered either: the good one still applies.
    assert (await counter.receiver.receive(good, body)).status == 200


@pytest.mark.parametrize("age_s", [-300, 0, 299, 300])
async def test_accepts_what_is_within_the_tolerance(
    counter: Counter, age_s: int
) -> None:
    """
    Five minutes of skew either way are accepted.
    """
    await counter.open_call()

    assert (await counter.take(age_s=age_s)).status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"not json",
        b"[]",
        b'{"call_id":"call_1","result":NaN}',
        b'{"type":"function_call.completed","data":{"call_id":"call_1"}}',
        b"\xff\xff",
        b"[" * 100_000,
    ],
    ids=["empty", "text", "list", "NaN", "no result", "not UTF-8", "deep"],
)
async def test_a_bad_body_under_a_good_signature_is_400(
    counter: Counter, body: bytes
) -> None:
    """
    Authentic garbage is refused as such, and is not remembered.
    """
    await counter.open_call()

    answer = await counter.take(body)

    assert answer.status == 400
    assert answer.body["error"]["code"] == "bad_payload"
    assert await counter.state() is CallState.PENDING
    assert (await counter.take()).status == 200


@pytest.mark.parametrize("encoding", ["gzip", "br", "identity"])
async def test_encoded_bodies_are_415(counter: Counter, encoding: str) -> None:
    """
    Nothing is inflated: any content encoding is refused before the signature.
    """
    body = completed()
    headers = counter.signed(body)
    headers["Content-Encoding"] = encoding

    assert (await counter.receiver.receive(headers, body)).status == 415


@pytest.mark.parametrize(
    ("content_type", "status"),
    [
        ("application/json", 200),
        ("application/json; charset=utf-8", 200),
        ("Application/JSON;Charset=UTF-8", 200),
        ("application/cloudevents+json", 200),
        ("application/json; charset=latin-1", 415),
        ("text/plain", 415),
        ("application/x-www-form-urlencoded", 415),
        ("", 415),
    ],
)
async def test_only_json_is_taken(
    counter: Counter, content_type: str, status: int
) -> None:
    """
    A body that does not call itself JSON is refused.
    """
    await counter.open_call()
    body = completed()
    headers = counter.signed(body)
    headers["Content-Type"] = content_type

    assert (await counter.receiver.receive(headers, body)).status == status


async def test_a_large_body_is_413(
    store: SqliteStore, clock: Clock, ids: IdMint, bus: EventBus
) -> None:
    """
    A body over the limit is refused whatever is signed; one of the limit is read.
    """
    body = completed()
    small = ReceiverOptions(body_bytes_max=len(body) - 1)
    exact = ReceiverOptions(body_bytes_max=len(body))

    refused = await Counter(store, clock, ids, bus, small).take(body)
    read = await Counter(store, clock, ids, bus, exact).take(body)

    assert refused.status == 413
    assert read.status == 404


async def test_a_store_that_is_out_is_503(
    counter: Counter, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    What cannot be committed is not acknowledged, and the sender is told when to ask.
    """
    await counter.open_call()

    async def out(*_: object, **__: object) -> None:
        raise StoreUnavailableError(reason="disk_full", retry_after_s=2.0)

    with monkeypatch.context() as patch:
        patch.setattr(counter.store, "receive", out)
        answer = await counter.take()

    assert answer.status == 503
    assert answer.headers == {"Retry-After": "2"}
    assert answer.body["error"]["retry_after_s"] == 2.0
    assert counter.resolved == []
    assert (await counter.take()).body == {"status": "received"}


async def test_a_broken_listener_does_not_undo_the_commit(
    counter: Counter, caplog: pytest.LogCaptureFixture
) -> None:
    """
    What fails after the commit is our own trouble: the sender is answered 200.
    """
    await counter.open_call()
    counter.is_listener_broken = True

    answer = await counter.take()

    assert answer.status == 200
    assert await counter.state() is CallState.COMPLETED
    assert "a listener failed" in caplog.text


async def test_the_articles_format_is_taken_on_request_only(
    store: SqliteStore, clock: Clock, ids: IdMint, bus: EventBus
) -> None:
    """
    The article's signature and body count where they were asked for, nowhere else.
    """
    body = b'{"call_id":"call_1","result":{"approved":true}}'
    headers = {
        "content-type": "application/json",
        "x-webhook-signature": sign_article(body, secret=SECRET),
    }
    article = ReceiverOptions(body_format=WebhookFormat.ARTICLE)
    strict = Counter(store, clock, ids, bus)
    lenient = Counter(store, clock, ids, bus, article)
    await strict.open_call()

    refused = await strict.receiver.receive(headers, body)
    first = await lenient.receiver.receive(headers, body)
    again = await lenient.receiver.receive(headers, body)
    forged = await lenient.receiver.receive(headers, body + b" ")
    standard = await lenient.take(completed(), message_id="msg_standard")

    assert refused.status == 401
    assert first.body == {"status": "received"}
    assert again.body == {"status": "duplicate"}
    assert forged.status == 401
    assert standard.body == {"status": "late"}
