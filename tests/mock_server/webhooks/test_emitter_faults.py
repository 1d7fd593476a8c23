"""
The faults of the emitter that send more than one message, or another body.
"""

import base64
import gzip
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import orjson
import pytest
from aiohttp import web

from mock_server import LoopClock, MockOptions
from mock_server.documents import DocumentError, parse_document
from mock_server.faults import CATALOGUE, Target
from mock_server.script import script_of
from mock_server.signatures import check
from mock_server.testing import MockInTest, mock_in_test

pytestmark = pytest.mark.virtual_time

SECRET = "whsec_" + base64.b64encode(b"0123456789abcdef0123456789abcdef").decode()
RETIRED = "whsec_" + base64.b64encode(b"fedcba9876543210fedcba9876543210").decode()
SCRIPT = """
tools: {approve: {deferred: true, result: {approved: true}, resolve_after: 2s}}
webhook_emitter: {faults: [{fault: %s}]}
"""


@dataclass(slots=True)
class Got:
    headers: dict[str, str]
    body: bytes
    at_s: float
    reason: str | None
    reason_if_retired: str | None


@dataclass(slots=True)
class Receiver:
    clock: LoopClock
    url: str = ""
    got: list[Got] = field(default_factory=list)

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """
        Take what comes.
        """
        body = await request.read()
        reasons = [
            check(
                request.headers,
                body,
                secret=secret,
                now_s=self.clock.wall(),
                tolerance_s=300,
            ).reason
            for secret in (SECRET, RETIRED)
        ]
        headers = {name.lower(): value for name, value in request.headers.items()}
        now_s = self.clock.monotonic()
        self.got.append(Got(headers, body, now_s, reasons[0], reasons[1]))
        return web.Response()


@asynccontextmanager
async def _running(
    clock: LoopClock, fault: str
) -> AsyncIterator[tuple[MockInTest, Receiver]]:
    receiver = Receiver(clock)
    server = web.Server(receiver.handle, access_log=None, auto_decompress=False)
    runner = web.ServerRunner(server, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    receiver.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    options = MockOptions(port=0, service_url=receiver.url, webhook_secret=SECRET)
    try:
        async with mock_in_test(SCRIPT % fault, options, clock=clock) as mock:
            yield mock, receiver
    finally:
        await runner.cleanup()


Look = Callable[[list[Got]], None]


def _is_replayed(got: list[Got]) -> None:
    first, second = got
    assert second.at_s - first.at_s == pytest.approx(5)
    assert first.body == second.body
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        assert first.headers[name] == second.headers[name]


def _is_too_old_to_replay(got: list[Got]) -> None:
    assert [one.reason for one in got] == [None, "stale_timestamp"]


def _has_a_double(got: list[Got]) -> None:
    first, second = got
    assert first.reason is second.reason is None
    assert first.headers["webhook-id"] == second.headers["webhook-id"]
    assert orjson.loads(second.body)["data"]["result"] == {"other": True}


def _is_reserialized(got: list[Got]) -> None:
    [one] = got
    assert one.reason == "bad_signature"
    assert one.body.startswith(b'{\n  "data"')
    assert orjson.loads(one.body)["data"]["result"] == {"approved": True}


def _is_signed_with_the_old_secret(got: list[Got]) -> None:
    [one] = got
    assert (one.reason, one.reason_if_retired) == ("bad_signature", None)


def _is_compressed(got: list[Got]) -> None:
    [one] = got
    assert one.headers["content-encoding"] == "gzip"
    assert one.reason is None
    assert b'"approved":true' in gzip.decompress(one.body)


def _is_compressed_after_signing(got: list[Got]) -> None:
    [one] = got
    assert one.reason == "bad_signature"
    assert one.body.startswith(b"\x1f\x8b")


def _is_oversized(got: list[Got]) -> None:
    [one] = got
    assert one.reason is None
    assert len(one.body) > 100_000
    assert orjson.loads(one.body)["type"] == "function_call.completed"


def _is_garbage(body: Callable[[bytes], bool]) -> Look:
    def look(got: list[Got]) -> None:
        [one] = got
        assert one.reason is None
        assert body(one.body)

    return look


def _is_called_text(got: list[Got]) -> None:
    [one] = got
    assert one.headers["content-type"] == "text/plain"
    assert one.reason is None


def _is_within_the_spread(got: list[Got]) -> None:
    [one] = got
    assert 1002 < one.at_s < 1004


PINNED: dict[str, Look] = {
    "replayed_id": _is_replayed,
    "replayed_id, after: 400s": _is_too_old_to_replay,
    "same_id_other_body": _has_a_double,
    "body_reserialized": _is_reserialized,
    f"retired_secret, secret: '{RETIRED}'": _is_signed_with_the_old_secret,
    "compressed": _is_compressed,
    "compressed, signed: original": _is_compressed_after_signing,
    "oversized, body_bytes: 100000": _is_oversized,
    "garbage": _is_garbage(lambda body: body == bytes(range(256))),
    "garbage, form: empty": _is_garbage(lambda body: body == b""),
    "garbage, form: truncated": _is_garbage(lambda body: not body.endswith(b"}")),
    "garbage, form: list": _is_garbage(lambda body: body.startswith(b"[{")),
    "garbage, form: deep": _is_garbage(lambda body: body.count(b"[") == 10_000),
    "wrong_content_type": _is_called_text,
    "reorder": _is_within_the_spread,
}


@pytest.mark.parametrize("fault", PINNED)
async def test_arrives_like_this(fault: str, clock: LoopClock) -> None:
    """
    Each fault of the emitter arrives at the service as the catalogue says.
    """
    async with _running(clock, fault) as (mock, receiver):
        await mock.send(
            "POST", "/tools/approve", {}, headers={"idempotency-key": "call_1"}
        )
        await clock.sleep(1000)
        [applied] = mock.of("fault_applied")

    assert applied["surface"] == "webhook_emitter"
    PINNED[fault](receiver.got)


async def test_comes_before_the_answer(clock: LoopClock) -> None:
    """
    An early result is taken before the 202 is sent, and it comes only once.
    """
    async with _running(clock, "early") as (mock, receiver):
        answer = await mock.send(
            "POST", "/tools/approve", {}, headers={"idempotency-key": "call_1"}
        )
        assert len(receiver.got) == 1
        await clock.sleep(100)
        [executed] = mock.of("tool_executed")
        [emitted] = mock.of("webhook_emitted")

    assert answer.status == 202
    assert len(receiver.got) == 1
    assert emitted["faults"] == ["early"]
    assert emitted["at_us"] <= executed["at_us"]


async def test_messages_overtake_each_other(clock: LoopClock) -> None:
    """
    Reordered messages arrive in an order that the seed decides, not that of the calls.
    """
    orders = []
    for _ in range(2):
        async with _running(clock, "reorder, spread: 10s") as (mock, receiver):
            for number in range(8):
                await mock.send(
                    "POST",
                    "/tools/approve",
                    {},
                    headers={"idempotency-key": f"call_{number}"},
                )
            await clock.sleep(100)
            orders.append(
                [orjson.loads(one.body)["data"]["call_id"] for one in receiver.got]
            )

    assert orders[0] == orders[1]
    assert orders[0] != sorted(orders[0])


def test_a_retired_secret_is_one() -> None:
    """
    What is no signing secret is a mistake of the script, with its place.
    """
    with pytest.raises(DocumentError, match=r"webhook_emitter.faults\[0\]"):
        script_of(
            parse_document(SCRIPT % "retired_secret, secret: guess", file="script")
        )


def test_pins_every_fault_of_the_emitter() -> None:
    """
    No fault of the emitter is without a test of what arrives.
    """
    elsewhere = {
        "early",
        "delay",
        "duplicate",
        "drop",
        "bad_signature",
        "missing_signature",
        "wrong_secret",
        "stale_timestamp",
        "future_timestamp",
        "body_changed",
        "rival_result",
        "unknown_call",
    }
    pinned = {fault.split(",")[0] for fault in PINNED}

    assert pinned | elsewhere == {
        name
        for name, fault in CATALOGUE.items()
        if Target.WEBHOOK_EMITTER in fault.targets
    }
