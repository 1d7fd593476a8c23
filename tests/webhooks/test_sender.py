"""
The sender against endpoints that behave badly, in virtual time.
"""

import asyncio
import gzip
from collections.abc import Awaitable, Callable
from dataclasses import replace
from email.utils import formatdate
from types import SimpleNamespace
from typing import Any

import pytest

from harness.clock import Clock
from harness.events import (
    WebhookAttemptEnded,
    WebhookAttemptStarted,
    WebhookDead,
    WebhookDelivered,
    WebhookRedelivered,
    WebhookRetryScheduled,
)
from harness.ids import MessageId, TraceId
from harness.stores import SqliteStore
from harness.testing import Recorder
from harness.webhooks import (
    EgressPolicy,
    Endpoint,
    RetrySchedule,
    Secret,
    SenderOptions,
    WebhookFormat,
    verify,
    verify_article,
)

pytestmark = pytest.mark.virtual_time

SECRET = Secret.parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
OTHER = Secret.parse("whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD")

OpenEndpoint = Callable[..., Awaitable[Any]]


def answering(status: int, *headers: str, body: bytes = b"{}") -> Any:
    """
    Return a behaviour that answers at once and closes.
    """

    async def answer(writer: asyncio.StreamWriter) -> None:
        lines = [
            f"HTTP/1.1 {status} Word",
            f"content-length: {len(body)}",
            "connection: close",
            *headers,
            "",
            "",
        ]
        writer.write("\r\n".join(lines).encode() + body)
        await writer.drain()

    return answer


async def reset(writer: asyncio.StreamWriter) -> None:
    """
    Break the connection instead of answering.
    """
    writer.transport.abort()


async def close(writer: asyncio.StreamWriter) -> None:
    """
    Close the connection instead of answering.
    """
    writer.close()


async def hang(_: asyncio.StreamWriter) -> None:
    """
    Never answer.
    """
    await asyncio.Event().wait()


def dripping(clock: Clock, head: bytes) -> Any:
    """
    Return a behaviour that sends a head and then one byte per second.
    """

    async def drip(writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while True:
            await clock.sleep(1.0)
            writer.write(b"x")
            await writer.drain()

    return drip


async def test_delivers_at_once(
    open_endpoint: OpenEndpoint, open_desk: Any, clock: Clock, recorder: Recorder
) -> None:
    """
    A message is sent as it was stored, with a signature that verifies, once.
    """
    endpoint = await open_endpoint()
    started_s = clock.monotonic()

    async with open_desk(endpoint) as desk:
        message = await desk.send()
        await recorder.wait_recorded(WebhookDelivered)
        await clock.sleep(3600)

    (seen,) = endpoint.seen
    assert seen.time_s == started_s
    assert seen.line == "POST /webhooks/default HTTP/1.1"
    assert seen.body == message.body
    assert seen.headers["content-type"] == "application/json"
    assert "traceparent" not in seen.headers
    verified = verify(
        seen.headers, seen.body, secrets=[SECRET], now_s=clock.wall() - 3600
    )
    assert verified.message_id == message.message_id
    (started,) = recorder.of(WebhookAttemptStarted)
    (ended,) = recorder.of(WebhookAttemptEnded)
    assert (started.attempt_number, ended.outcome, ended.reason) == (1, "success", "ok")


@pytest.mark.parametrize("failures", [1, 2])
async def test_tries_again_on_schedule(
    open_endpoint: OpenEndpoint,
    open_desk: Any,
    clock: Clock,
    recorder: Recorder,
    failures: int,
) -> None:
    """
    After k times 500 the attempt k + 1 delivers, at exactly the times of the schedule.
    """
    endpoint = await open_endpoint(*[answering(500)] * failures, answering(200))

    async with open_desk(endpoint) as desk:
        await desk.send()
        await recorder.wait_recorded(WebhookDelivered)
        await clock.sleep(3600)

    assert endpoint.gaps_s == [1.0, 2.0][:failures]
    scheduled = recorder.of(WebhookRetryScheduled)
    assert [each.delay_s for each in scheduled] == [1.0, 2.0][:failures]
    assert {each.reason for each in scheduled} == {"status_500"}
    assert {seen.headers["webhook-id"] for seen in endpoint.seen} == {"msg_a"}
    assert {seen.body for seen in endpoint.seen} == {endpoint.seen[0].body}


async def test_renews_time_and_signature_per_attempt(
    open_endpoint: OpenEndpoint, open_desk: Any, clock: Clock, recorder: Recorder
) -> None:
    """
    Each attempt carries its own timestamp and a signature over it.
    """
    endpoint = await open_endpoint(answering(500), answering(500), answering(200))
    zero_s = clock.wall() - clock.monotonic()

    async with open_desk(endpoint) as desk:
        await desk.send()
        await recorder.wait_recorded(WebhookDelivered)

    for seen in endpoint.seen:
        at_s = int(zero_s + seen.time_s)
        assert seen.headers["webhook-timestamp"] == str(at_s)
        verify(seen.headers, seen.body, secrets=[SECRET], now_s=at_s, tolerance_s=0)
    assert len({seen.headers["webhook-signature"] for seen in endpoint.seen}) == 3


async def test_is_dead_right_after_the_last_attempt(
    open_endpoint: OpenEndpoint,
    open_desk: Any,
    clock: Clock,
    recorder: Recorder,
    store: SqliteStore,
) -> None:
    """
    When the last attempt fails the message is a dead letter at once, with its reason.
    """
    endpoint = await open_endpoint(answering(500))
    started_s = clock.monotonic()

    async with open_desk(endpoint) as desk:
        await desk.send()
        (dead,) = await recorder.wait_recorded(WebhookDead)
        died_s = clock.monotonic()
        await clock.sleep(3600)

    assert died_s - started_s == pytest.approx(3.0)
    assert (dead.reason, dead.attempt_number) == ("attempts_max", 3)
    assert len(endpoint.seen) == 3
    (letter,) = await store.dead_letters(letters_max=10)
    assert (letter.attempts, letter.last_error) == (3, "status_500")
    attempts = await store.load_attempts(MessageId("msg_a"))
    assert [each.status for each in attempts] == [500, 500, 500]


@pytest.mark.parametrize("status", [200, 201, 202, 204, 206, 299])
async def test_any_2xx_ends_it(
    open_endpoint: OpenEndpoint,
    open_desk: Any,
    clock: Clock,
    recorder: Recorder,
    status: int,
) -> None:
    """
    Every 2xx is a delivery, and nothing is sent after it.
    """
    endpoint = await open_endpoint(answering(status, body=b""))

    async with open_desk(endpoint) as desk:
        await desk.send()
        await recorder.wait_recorded(WebhookDelivered)
        await clock.sleep(3600)

    assert len(endpoint.seen) == 1


@pytest.mark.parametrize("status", [300, 301, 302, 303, 304, 307, 308])
async def test_never_follows_a_redirect(
    open_endpoint: OpenEndpoint,
    open_desk: Any,
    recorder: Recorder,
    status: int,
) -> None:
    """
    A redirect is a failure; where it points nothing is sent.
    """
    elsewhere = await open_endpoint()
    endpoint = await open_endpoint(
        answering(status, f"location: {elsewhere.url}"), answering(200)
    )

    async with open_desk(endpoint) as desk:
        await desk.send()
        await recorder.wait_recorded(WebhookDelivered)

    assert elsewhere.connections == 0
    assert endpoint.gaps_s == [1.0]


async def test_gone_is_not_tried_again(
    open_endpoint: OpenEndpoint, open_desk: Any, clock: Clock, recorder: Recorder
) -> None:
    """
    After 410 nothing more is sent and the message is dead with that reason.
    """
    endpoint = await open_endpoint(answering(410))

    async with open_desk(endpoint) as desk:
        await desk.send()
        (dead,) = await recorder.wait_recorded(WebhookDead)
        await clock.sleep(3600)

    assert dead.reason == "gone"
    assert len(endpoint.seen) == 1


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("value", "gap_s"),
    [
        ("7", 7.0),
        ("7.5", 7.5),
        ("DATE+30", 30.0),
        ("DATE-30", 1.0),
        ("0", 1.0),
        ("-1", 1.0),
        ("1e9", 1.0),
        ("1000000000", 86_400.0),
        ("nan", 1.0),
        ("soon", 1.0),
        ("", 1.0),
    ],
)
async def test_keeps_usable_forms_of_retry_after(
    open_endpoint: OpenEndpoint,
    open_desk: Any,
    clock: Clock,
    recorder: Recorder,
    status: int,
    value: str,
    gap_s: float,
) -> None:
    """
    Seconds and dates are kept as a floor, capped at a day; what is unusable is ignored.
    """
    if value.startswith("DATE"):
        value = formatdate(clock.wall() + float(value[4:]), usegmt=True)
    endpoint = await open_endpoint(
        answering(status, f"retry-after: {value}"), answering(200)
    )

    async with open_desk(endpoint) as desk:
        await desk.send()
        await recorder.wait_recorded(WebhookDelivered)

    # An HTTP date has no parts of a second.
    assert endpoint.gaps_s[0] == pytest.approx(gap_s, abs=1.0 if gap_s == 30 else 0.001)


async def test_retry_after_pauses_the_whole_endpoint(
    open_endpoint: OpenEndpoint, open_desk: Any, clock: Clock, recorder: Recorder
) -> None:
    """
    While one endpoint asked for a pause, its other messages wait, those of others go.
    """
    paused = await open_endpoint(answering(503, "retry-after: 60"), answering(200))
    other = await open_endpoint()
    started_s = clock.monotonic()

    async with open_desk(paused, other) as desk:
        await desk.send("a")
        await recorder.wait_recorded(WebhookAttemptEnded)
        await desk.send("b")
        await desk.send("c", endpoint="other")
        await recorder.wait_recorded(WebhookDelivered, count=3)

    assert [seen.time_s - started_s for seen in paused.seen] == pytest.approx(
        [0.0, 60.0, 60.0]
    )
    assert other.seen[0].time_s == started_s


@pytest.mark.parametrize(
    ("behaviour", "reasons"), [(reset, {"reset", "closed"}), (close, {"closed"})]
)
async def test_a_broken_connection_is_a_failure(
    open_endpoint: OpenEndpoint,
    open_desk: Any,
    recorder: Recorder,
    behaviour: Any,
    reasons: set[str],
) -> None:
    """
    A reset and an early close are told apart and tried again with the same id.
    """
    endpoint = await open_endpoint(behaviour, answering(200))

    async with open_desk(endpoint) as desk:
        await desk.send()
        await recorder.wait_recorded(WebhookDelivered)

    first, second = recorder.of(WebhookAttemptEnded)
    assert first.reason in reasons
    assert first.status is None
    assert second.outcome == "success"
    assert {seen.headers["webhook-id"] for seen in endpoint.seen} == {"msg_a"}


async def test_a_refused_connection_is_a_failure(
    open_desk: Any, recorder: Recorder
) -> None:
    """
    Where nobody listens the attempt is refused, and that is its reason.
    """
    async with open_desk(default="http://127.0.0.1:9999/nobody") as desk:
        await desk.send()
        await recorder.wait_recorded(WebhookDead)

    assert {each.reason for each in recorder.of(WebhookAttemptEnded)} == {"refused"}


async def test_a_lost_acknowledgement_is_tried_again(
    open_endpoint: OpenEndpoint, open_desk: Any, recorder: Recorder
) -> None:
    """
    If the connection dies before the answer is read, the same id comes again.
    """

    async def half_a_head(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-le")
        await writer.drain()

    endpoint = await open_endpoint(half_a_head, answering(200))

    async with open_desk(endpoint) as desk:
        await desk.send()
        await recorder.wait_recorded(WebhookDelivered)

    assert [seen.headers["webhook-id"] for seen in endpoint.seen] == ["msg_a"] * 2


async def test_a_silent_endpoint_is_given_ten_seconds(
    open_endpoint: OpenEndpoint, open_desk: Any, recorder: Recorder
) -> None:
    """
    An endpoint that accepts and never answers is left after the attempt timeout.
    """
    endpoint = await open_endpoint(hang, answering(200))

    async with open_desk(endpoint) as desk:
        await desk.send()
        await recorder.wait_recorded(WebhookDelivered)

    (first, _) = recorder.of(WebhookAttemptEnded)
    assert first.reason == "timeout"
    assert first.duration_s == pytest.approx(10.0)
    assert endpoint.gaps_s == [11.0]


async def test_a_dripping_head_is_bounded(
    open_endpoint: OpenEndpoint, open_desk: Any, clock: Clock, recorder: Recorder
) -> None:
    """
    A head that comes byte by byte is no answer when the time is over.
    """
    head = b"HTTP/1.1 200 OK\r\nx-slow: "
    endpoint = await open_endpoint(dripping(clock, head), answering(200))

    async with open_desk(endpoint) as desk:
        await desk.send()
        await recorder.wait_recorded(WebhookDelivered)

    assert recorder.of(WebhookAttemptEnded)[0].reason == "timeout"
    assert endpoint.gaps_s == [11.0]


async def test_a_dripping_body_does_not_undo_the_answer(
    open_endpoint: OpenEndpoint, open_desk: Any, clock: Clock, recorder: Recorder
) -> None:
    """
    The head acknowledges; a body that drips after it ends with the attempt's time.
    """
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"
    endpoint = await open_endpoint(dripping(clock, head))

    async with open_desk(endpoint) as desk:
        await desk.send()
        await recorder.wait_recorded(WebhookDelivered)
        await clock.sleep(3600)

    assert len(endpoint.seen) == 1
    assert recorder.of(WebhookAttemptEnded)[0].duration_s == pytest.approx(10.0)


async def test_an_endless_body_is_not_read(
    open_endpoint: OpenEndpoint, open_desk: Any, recorder: Recorder
) -> None:
    """
    At most a few dozen kilobytes of an answer are read.
    """
    written_bytes = 0

    async def endless(writer: asyncio.StreamWriter) -> None:
        nonlocal written_bytes
        writer.write(b"HTTP/1.1 500 Oops\r\n\r\n")
        while True:
            writer.write(b"x" * 16_384)
            await writer.drain()
            written_bytes += 16_384

    endpoint = await open_endpoint(endless, answering(200))

    async with open_desk(endpoint) as desk:
        await desk.send()
        await recorder.wait_recorded(WebhookDelivered)

    assert endpoint.gaps_s == [1.0]
    # What fits into the buffers on the way comes on top of what is read.
    assert written_bytes < 1024 * 1024


async def test_inflates_nothing(
    open_endpoint: OpenEndpoint, open_desk: Any, recorder: Recorder
) -> None:
    """
    A compressed answer is taken as it is; good, broken or a bomb.
    """
    bomb = gzip.compress(b"\0" * 20_000_000)
    endpoint = await open_endpoint(
        answering(500, "content-encoding: gzip", body=bomb),
        answering(200, "content-encoding: gzip", body=b"not gzip"),
    )

    async with open_desk(endpoint) as desk:
        await desk.send()
        await recorder.wait_recorded(WebhookDelivered)

    assert endpoint.seen[0].headers["accept-encoding"] == "identity"


async def test_a_flood_of_informational_answers_is_bounded(
    open_endpoint: OpenEndpoint, open_desk: Any, clock: Clock, recorder: Recorder
) -> None:
    """
    Endless 1xx answers end with the attempt timeout.
    """

    async def flood(writer: asyncio.StreamWriter) -> None:
        while True:
            writer.write(b"HTTP/1.1 102 Processing\r\n\r\n")
            await writer.drain()
            await clock.sleep(0.01)

    endpoint = await open_endpoint(flood, answering(200))

    async with open_desk(endpoint) as desk:
        await desk.send()
        await recorder.wait_recorded(WebhookDelivered)

    assert recorder.of(WebhookAttemptEnded)[0].outcome == "failure"
    assert endpoint.gaps_s[0] <= 11.0


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x00garbage", b"HTTP/9.9 abc\r\n\r\n", b"{}\r\n\r\n"]
)
async def test_garbage_is_a_failure(
    open_endpoint: OpenEndpoint, open_desk: Any, recorder: Recorder, garbage: bytes
) -> None:
    """
    Whoever does not speak HTTP has not acknowledged.
    """

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(garbage)
        await writer.drain()

    endpoint = await open_endpoint(answer, answering(200))

    async with open_desk(endpoint) as desk:
        await desk.send()
        await recorder.wait_recorded(WebhookDelivered)

    assert recorder.of(WebhookAttemptEnded)[0].outcome == "failure"


async def test_a_secret_rotated_between_attempts_signs_the_next(
    open_endpoint: OpenEndpoint, open_desk: Any, clock: Clock, recorder: Recorder
) -> None:
    """
    Address and secrets are looked up at every attempt.
    """
    endpoint = await open_endpoint(answering(500), answering(200))

    async with open_desk(endpoint) as desk:
        await desk.send()
        await recorder.wait_recorded(WebhookRetryScheduled)
        desk.endpoints["default"] = replace(
            desk.endpoints["default"], secrets=(OTHER, SECRET)
        )
        await recorder.wait_recorded(WebhookDelivered)

    first, second = endpoint.seen
    assert len(second.headers["webhook-signature"].split(" ")) == 2
    for seen, secrets in ((first, [SECRET]), (second, [OTHER]), (second, [SECRET])):
        verify(seen.headers, seen.body, secrets=secrets, now_s=clock.wall())


async def test_carries_the_trace(
    open_endpoint: OpenEndpoint, open_desk: Any, recorder: Recorder, store: SqliteStore
) -> None:
    """
    A webhook belongs to the trace of what it tells of, and so do its events.
    """
    trace = TraceId("0af7651916cd43dd8448eb211c80319c")
    endpoint = await open_endpoint()

    async with open_desk(endpoint) as desk:
        message = await desk.send("warm-up")
        await store.enqueue(
            replace(
                message,
                message_id=MessageId("msg_traced"),
                dedupe_key="traced",
                trace_id=trace,
            )
        )
        desk.sender.wake()
        await recorder.wait_recorded(WebhookDelivered, count=2)

    version, trace_id, span_id, flags = (
        endpoint.seen[1].headers["traceparent"].split("-")
    )
    assert (version, trace_id, len(span_id), flags) == ("00", trace, 16, "01")
    traced = [each for each in recorder.envelopes if each.trace_id == trace]
    assert [type(each.event) for each in traced] == [
        WebhookAttemptStarted,
        WebhookAttemptEnded,
        WebhookDelivered,
    ]


async def test_the_articles_format_adds_its_signature(
    open_endpoint: OpenEndpoint, open_desk: Any, recorder: Recorder
) -> None:
    """
    On request the article's header goes along with the standard ones.
    """
    endpoint = await open_endpoint(answering(500), answering(200))

    async with open_desk(endpoint) as desk:
        await desk.send()
        await recorder.wait_recorded(WebhookRetryScheduled)
        desk.endpoints["default"] = Endpoint(
            name="default",
            url=endpoint.url,
            secrets=(SECRET,),
            body_format=WebhookFormat.ARTICLE,
        )
        await recorder.wait_recorded(WebhookDelivered)

    first, second = endpoint.seen
    assert "x-webhook-signature" not in first.headers
    verify_article(second.headers, second.body, secrets=[SECRET])


async def test_a_slow_endpoint_takes_nobodys_slots(
    open_endpoint: OpenEndpoint, open_desk: Any, clock: Clock, recorder: Recorder
) -> None:
    """
    With hundreds waiting for a silent endpoint, others are served at once.
    """
    slow, fast = await open_endpoint(hang), await open_endpoint()
    options = SenderOptions(in_flight_max=4)
    started_s = clock.monotonic()

    async with open_desk(slow, fast, options=options) as desk:
        for number in range(200):
            await desk.send(f"slow-{number}")
        for number in range(50):
            await desk.send(f"fast-{number}", endpoint="other")
        await recorder.wait_recorded(WebhookDelivered, count=50)
        served_s = clock.monotonic()

    assert served_s == started_s
    assert len(fast.seen) == 50
    assert len(slow.seen) == 4


async def test_a_backlog_drains_in_order(
    open_endpoint: OpenEndpoint, open_desk: Any, recorder: Recorder
) -> None:
    """
    A slot that becomes free is used at once, oldest first, until nothing waits.
    """
    endpoint = await open_endpoint()
    options = SenderOptions(in_flight_max=1)

    async with open_desk(endpoint, options=options) as desk:
        for number in range(30):
            await desk.send(str(number))
        await recorder.wait_recorded(WebhookDelivered, count=30)

    sent = [seen.headers["webhook-id"] for seen in endpoint.seen]
    assert sent == [f"msg_{number}" for number in range(30)]


async def test_finds_work_without_being_woken(
    open_endpoint: OpenEndpoint,
    open_desk: Any,
    clock: Clock,
    recorder: Recorder,
    store: SqliteStore,
) -> None:
    """
    A lost hint costs a few seconds, not the message.
    """
    endpoint = await open_endpoint()
    started_s = clock.monotonic()

    async with open_desk(endpoint) as desk:
        message = await desk.send("warm-up")
        await recorder.wait_recorded(WebhookDelivered)
        await store.enqueue(
            replace(message, message_id=MessageId("msg_quiet"), dedupe_key="quiet")
        )
        await recorder.wait_recorded(WebhookDelivered, count=2)

    assert endpoint.seen[1].time_s - started_s <= 5.0


async def test_a_dead_letter_can_be_redelivered(
    open_endpoint: OpenEndpoint, open_desk: Any, recorder: Recorder, store: SqliteStore
) -> None:
    """
    A redelivered dead letter is sent at once, under its old id, with all its attempts.
    """
    endpoint = await open_endpoint(*[answering(500)] * 4, answering(200))

    async with open_desk(endpoint) as desk:
        await desk.send()
        await recorder.wait_recorded(WebhookDead)
        assert await desk.sender.redeliver(MessageId("msg_a"))
        assert not await desk.sender.redeliver(MessageId("msg_a"))
        await recorder.wait_recorded(WebhookDelivered)

    assert endpoint.gaps_s == [1.0, 2.0, 0.0, 1.0]
    assert {seen.headers["webhook-id"] for seen in endpoint.seen} == {"msg_a"}
    (redelivered,) = recorder.of(WebhookRedelivered)
    assert redelivered.endpoint == "default"
    assert await store.dead_letters(letters_max=1) == []


async def test_draining_lets_attempts_end(
    open_endpoint: OpenEndpoint, open_desk: Any, clock: Clock, recorder: Recorder
) -> None:
    """
    After the signal to stop nothing is claimed, and what is in flight may end.
    """

    async def slowly(writer: asyncio.StreamWriter) -> None:
        await clock.sleep(3.0)
        await answering(200)(writer)

    endpoint = await open_endpoint(slowly)

    async with open_desk(endpoint) as desk:
        await desk.send("a")
        await recorder.wait_recorded(WebhookAttemptStarted)
        started_s = clock.monotonic()
        async with asyncio.TaskGroup() as tasks:
            draining = tasks.create_task(desk.sender.drain(10.0))
            await clock.sleep(1.0)
            await desk.send("b")
        ended_s = clock.monotonic()

    assert draining.result() == 0
    assert ended_s - started_s == pytest.approx(3.0)
    assert [each.message_id for each in recorder.of(WebhookDelivered)] == ["msg_a"]
    assert len(endpoint.seen) == 1


async def test_draining_ends_with_the_grace(
    open_endpoint: OpenEndpoint, open_desk: Any, clock: Clock, recorder: Recorder
) -> None:
    """
    What is still in flight after the grace time is cut off and counted.
    """
    endpoint = await open_endpoint(hang)

    async with open_desk(endpoint) as desk:
        await desk.send("a")
        await desk.send("b")
        await recorder.wait_recorded(WebhookAttemptStarted, count=2)
        started_s = clock.monotonic()
        cut_off = await desk.sender.drain(2.0)
        ended_s = clock.monotonic()

    assert cut_off == 2
    assert ended_s - started_s == pytest.approx(2.0)
    assert recorder.of(WebhookAttemptEnded) == []


async def test_a_denied_address_gets_no_packet(
    open_endpoint: OpenEndpoint, open_desk: Any, recorder: Recorder
) -> None:
    """
    Without the setting that allows it, loopback is not dialled at all.
    """
    endpoint = await open_endpoint()

    async with open_desk(endpoint, policy=EgressPolicy()) as desk:
        await desk.send()
        (dead,) = await recorder.wait_recorded(WebhookDead)

    assert dead.attempt_number == 3
    assert {each.reason for each in recorder.of(WebhookAttemptEnded)} == {
        "egress_denied"
    }
    assert endpoint.connections == 0


async def test_a_longer_schedule_is_kept(
    open_endpoint: OpenEndpoint, open_desk: Any, recorder: Recorder
) -> None:
    """
    The standard schedule spreads its ten attempts over three days, each with jitter.
    """
    endpoint = await open_endpoint(answering(500))
    schedule = RetrySchedule.standard()

    # Looking into the store every few seconds for three days takes its time.
    options = SenderOptions(poll_s=3600.0)

    async with open_desk(endpoint, schedule=schedule, options=options) as desk:
        await desk.send()
        await recorder.wait_recorded(WebhookDead)

    ratios = [
        gap_s / wait_s
        for gap_s, wait_s in zip(endpoint.gaps_s, schedule.delays_s, strict=True)
    ]
    assert all(0.8 <= ratio <= 1.2001 for ratio in ratios)
    assert len({round(ratio, 3) for ratio in ratios}) == 9


async def test_an_internal_error_concerns_one_delivery(
    open_endpoint: OpenEndpoint,
    open_desk: Any,
    recorder: Recorder,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """
    A delivery that cannot even be built fails alone, and the log says why.
    """
    endpoint = await open_endpoint()
    broken: Any = SimpleNamespace(url=endpoint.url, secrets=(), body_format="standard")

    async with open_desk(endpoint, endpoint) as desk:
        desk.endpoints["other"] = broken
        await desk.send("bad", endpoint="other")
        await desk.send("good")
        await recorder.wait_recorded(WebhookDelivered)
        (dead,) = await recorder.wait_recorded(WebhookDead)

    assert dead.message_id == "msg_bad"
    assert "at least one signing secret" in caplog.text
    assert [seen.headers["webhook-id"] for seen in endpoint.seen] == ["msg_good"]
