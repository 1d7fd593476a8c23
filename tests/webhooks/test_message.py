"""
Bodies: built once, parsed strictly.
"""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.clock import LoopClock
from harness.errors import PayloadError
from harness.ids import CallbackId, IdMint, ToolCallId, TraceId
from harness.randomness import Randomness
from harness.simulation import WALL_EPOCH_S
from harness.stores import CallState, ToolCallRecord
from harness.webhooks import (
    BODY_BYTES_MAX,
    MessageFactory,
    WebhookFormat,
    build_body,
    parse_body,
)

AT_S = 1_700_000_000.25
TRACE = TraceId("0af7651916cd43dd8448eb211c80319c")

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=3
        )
    ),
    max_leaves=10,
)


def factory(body_format: WebhookFormat = WebhookFormat.STANDARD) -> MessageFactory:
    """
    Return a factory with ids from a seed.
    """
    return MessageFactory(
        endpoint="default",
        webhook_url="http://127.0.0.1:1/hook",
        body_format=body_format,
        clock=LoopClock(WALL_EPOCH_S),
        ids=IdMint(Randomness(1).stream("ids")),
    )


def call(
    state: CallState = CallState.COMPLETED, result_json: str = '{"ok":true}'
) -> ToolCallRecord:
    """
    Return a call that ended.
    """
    return ToolCallRecord(
        tool_call_id=ToolCallId("call_1"),
        chat_id="chat_1",
        tool="approve_refund",
        arguments_json="{}",
        state=state,
        result_json=result_json,
        trace_id=TRACE,
    )


def test_builds_the_standard_body() -> None:
    """
    Type, timestamp in UTC and data, in UTF-8 without spaces.
    """
    body = build_body("function_call.completed", occurred_at_s=AT_S, data={"a": "é"})

    assert (
        body
        == (
            '{"type":"function_call.completed","timestamp":"2023-11-14T22:13:20.250Z",'
            '"data":{"a":"é"}}'
        ).encode()
    )


@given(result=JSON_VALUES)
def test_what_is_built_is_parsed(result: Any) -> None:
    """
    Any JSON result travels through a body unchanged.
    """
    body = build_body(
        "function_call.completed",
        occurred_at_s=AT_S,
        data={"call_id": "call_1", "function": "f", "result": result},
    )

    parsed = parse_body(body)

    assert parsed.resolution is not None
    assert json.loads(parsed.resolution.result_json) == result


@pytest.mark.parametrize(
    "data",
    [
        {"a": float("nan")},
        {"a": float("inf")},
        {"a": "\ud800"},
        {"a": b"bytes"},
        {"a": object()},
        {"a": "x" * 10_000_000},
    ],
    ids=["nan", "infinity", "lone surrogate", "bytes", "object", "10 MB"],
)
def test_refuses_what_cannot_be_sent(data: dict[str, Any]) -> None:
    """
    What JSON cannot express, and what is too large, is refused before it is stored.
    """
    with pytest.raises(PayloadError):
        build_body("function_call.completed", occurred_at_s=AT_S, data=data)


@pytest.mark.parametrize("event_type", ["", "a b", "a\r\nb", ".a", "a..b", "é", "a-b"])
def test_refuses_types_that_are_none(event_type: str) -> None:
    """
    An event type is words of letters, digits and underscores with dots between.
    """
    with pytest.raises(PayloadError):
        build_body(event_type, occurred_at_s=AT_S, data={})


def completed(**changes: Any) -> bytes:
    """
    Return a body of the contract with some of its data changed or taken away.
    """
    data = {"call_id": "call_1", "function": "f", "result": 1} | changes
    data = {name: value for name, value in data.items() if value != "absent"}
    return json.dumps(
        {"type": "function_call.completed", "timestamp": "t", "data": data}
    ).encode()


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"{}",
        b'{"type":"a.b"}',
        b'{"type":1,"data":{}}',
        b'{"type":"a b","data":{}}',
        b'{"type":"a.b","data":[]}',
        b"\xef\xbb\xbf{}",
        b"\xff\xfe",
        b'{"type":"a.b","type":"a.c","data":{}}',
        b'{"type":"a.b","data":{"x":NaN}}',
        b'{"type":"a.b","data":{"x":-Infinity}}',
        b'{"type":"a.b","data":{"x":1e999}}',
        b'{"type":"a.b","data":{"x":' + b"9" * 1_000_000 + b"}}",
        b'{"type":"a.b","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"type":"a.b","data":' + b'{"a":' * 100 + b"1" + b"}" * 100 + b"}",
        completed(call_id="absent"),
        completed(call_id=""),
        completed(call_id=5),
        completed(call_id="x" * 257),
        completed(call_id="\ud800"),
        completed(function=5),
        completed(result="absent"),
        completed(result="\ud800"),
        completed().replace(b"completed", b"failed"),
        completed(error="text").replace(b"completed", b"failed"),
        completed(error={"code": 1, "message": "x"}).replace(b"completed", b"failed"),
    ],
    ids=lambda body: repr(body[:60]),
)
def test_refuses_what_breaks_the_contract(body: bytes) -> None:
    """
    Whatever is not JSON, or not what the contract says, is refused in one way.
    """
    with pytest.raises(PayloadError):
        parse_body(body)


def test_reads_results_and_errors() -> None:
    """
    A completed call carries its result, a failed one its error.
    """
    done = parse_body(completed(result=None))
    failed = parse_body(
        completed(error={"code": "denied", "message": "no", "more": 1}).replace(
            b"completed", b"failed"
        )
    )

    assert done.resolution is not None
    assert (done.resolution.state, done.resolution.result_json) == (
        CallState.COMPLETED,
        "null",
    )
    assert done.function == "f"
    assert failed.resolution is not None
    assert failed.resolution.state is CallState.FAILED
    assert json.loads(failed.resolution.result_json) == {
        "code": "denied",
        "message": "no",
    }


@pytest.mark.parametrize("event_type", ["function_call.progress", "response.completed"])
def test_other_events_resolve_nothing(event_type: str) -> None:
    """
    Progress and other senders' events are taken and have no effect.
    """
    body = json.dumps({"type": event_type, "data": {"id": "resp_1"}}).encode()

    assert parse_body(body).resolution is None


def test_reads_the_articles_body_on_request_only() -> None:
    """
    The flat body is understood where it was asked for.
    """
    done = b'{"call_id":"call_1","result":{"ok":true}}'
    failed = b'{"call_id":"call_1","result":null,"error":"it broke"}'

    first = parse_body(done, is_article=True).resolution
    second = parse_body(failed, is_article=True).resolution

    assert first is not None
    assert first.state is CallState.COMPLETED
    assert second is not None
    assert second.state is CallState.FAILED
    assert json.loads(second.result_json)["message"] == "it broke"
    with pytest.raises(PayloadError):
        parse_body(done)
    with pytest.raises(PayloadError):
        parse_body(b'{"call_id":"call_1"}', is_article=True)
    assert parse_body(completed(), is_article=True).resolution is not None


@pytest.mark.parametrize(
    ("state", "event_type", "field"),
    [
        (CallState.COMPLETED, "function_call.completed", "result"),
        (CallState.FAILED, "function_call.failed", "error"),
        (CallState.EXPIRED, "function_call.failed", "error"),
    ],
)
def test_tells_of_a_call(state: CallState, event_type: str, field: str) -> None:
    """
    A call that ended gives one message, in its trace, with its result or error.
    """
    answer = '{"code":"x","message":"y"}'

    message = factory().function_call(call(state, answer))

    body = json.loads(message.body)
    assert (message.event_type, body["type"]) == (event_type, event_type)
    assert body["data"] == {
        "call_id": "call_1",
        "function": "approve_refund",
        field: json.loads(answer),
    }
    assert message.dedupe_key == "function_call:call_1"
    assert (message.tool_call_id, message.trace_id) == ("call_1", TRACE)
    assert message.message_id.startswith("msg_")


def test_tells_of_a_chat() -> None:
    """
    A chat that ended gives one message under one key, however it ended.
    """
    done = factory().chat_completed(CallbackId("cb_1"), {"success": True})
    failed = factory().chat_failed(CallbackId("cb_1"), {"code": "deadline"})

    assert done.dedupe_key == failed.dedupe_key == "chat:cb_1"
    assert json.loads(done.body)["data"] == {
        "callback_id": "cb_1",
        "result": {"success": True},
    }
    assert json.loads(failed.body)["type"] == "chat.failed"
    assert failed.callback_id == "cb_1"


def test_the_articles_body_is_flat() -> None:
    """
    On request the body is the article's: event, call, result, time and address.
    """
    message = factory(WebhookFormat.ARTICLE).function_call(call())

    body = json.loads(message.body)
    assert isinstance(body.pop("timestamp"), int)
    assert body == {
        "event": "function_call_completed",
        "call_id": "call_1",
        "function": "approve_refund",
        "result": {"ok": True},
        "webhook_url": "http://127.0.0.1:1/hook",
    }


def test_a_body_has_a_limit() -> None:
    """
    A body of exactly the limit is built, one byte more is refused.
    """
    frame = len(build_body("a.b", occurred_at_s=AT_S, data={"x": ""}))
    room = BODY_BYTES_MAX - frame

    assert len(build_body("a.b", occurred_at_s=AT_S, data={"x": "y" * room})) == (
        BODY_BYTES_MAX
    )
    with pytest.raises(PayloadError):
        build_body("a.b", occurred_at_s=AT_S, data={"x": "y" * (room + 1)})
