import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import (
    UpstreamError,
    UpstreamProtocolError,
    UpstreamStatusError,
    UsageError,
)
from harness.ids import ToolCallId
from harness.upstream import (
    Breakage,
    ChatRequest,
    FinishReason,
    SubmittedOutput,
    ToolCall,
    encode_request,
    parse_answer,
    parse_submitted_output,
)

MESSAGES = [{"role": "user", "content": "hi"}]
TOOL = {"type": "function", "function": {"name": "f", "parameters": {}}}


def answer(
    message: dict[str, Any] | None, finish_reason: str | None = "stop", **others: Any
) -> bytes:
    """
    Return the body of a plain answer.
    """
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    return json.dumps({"id": "chatcmpl-1", "choices": [choice], **others}).encode()


def called(**call: Any) -> bytes:
    """
    Return an answer with one call.
    """
    return answer({"content": None, "tool_calls": [call]}, "tool_calls")


def test_encodes_least() -> None:
    """
    What was not set is not sent.
    """
    body = json.loads(
        encode_request(ChatRequest(model="m", messages=MESSAGES), stream=False)
    )

    assert body == {"model": "m", "messages": MESSAGES}


def test_encodes_all() -> None:
    """
    What was set stands under its name on the wire; tools bring a choice with them.
    """
    request = ChatRequest(
        model="m",
        messages=MESSAGES,
        tools=[TOOL],
        temperature=0.7,
        parallel_tool_calls=False,
        completion_tokens_max=9,
        metadata={"conversation": "c"},
    )

    assert json.loads(encode_request(request, stream=True)) == {
        "model": "m",
        "messages": MESSAGES,
        "tools": [TOOL],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "temperature": 0.7,
        "max_completion_tokens": 9,
        "metadata": {"conversation": "c"},
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_refuses_what_is_no_json() -> None:
    """
    A request without a form in JSON is the caller's mistake.
    """
    request = ChatRequest(model="m", messages=[{"content": "\ud800"}])

    with pytest.raises(UsageError):
        encode_request(request, stream=False)


@pytest.mark.parametrize("calls", [{}, {"tool_calls": None}, {"tool_calls": []}])
def test_parses_text(calls: dict[str, Any]) -> None:
    """
    No tool calls may be said in three ways: the answer is text in each.
    """
    completion = parse_answer(answer({"content": "Hello", "refusal": None, **calls}))

    assert (completion.text, completion.tool_calls) == ("Hello", ())


def test_parses_calls() -> None:
    """
    Tool calls keep their id, their name and their arguments as text.
    """
    completion = parse_answer(
        called(id="call_a", type="function", function={"name": "f", "arguments": "{"})
    )

    assert completion.finish_reason is FinishReason.TOOL_CALLS
    assert completion.tool_calls == (
        ToolCall(id=ToolCallId("call_a"), name="f", arguments="{"),
    )


def test_parses_calls_of_named_choice() -> None:
    """
    A model that was told which function to call stops with ``stop``, and calls.
    """
    message = {"tool_calls": [{"id": "a", "function": {"name": "f"}}]}

    completion = parse_answer(answer(message, "stop"))

    assert [call.arguments for call in completion.tool_calls] == [""]


BROKEN = {
    "empty": (b"", Breakage.EMPTY_BODY),
    "blank": (b" \r\n ", Breakage.EMPTY_BODY),
    "a page": (b"\n<!DOCTYPE html><html>bad gateway", Breakage.HTML),
    "text": (b"upstream connect error", Breakage.MALFORMED_JSON),
    "cut": (answer({"content": "Hello"})[:-20], Breakage.MALFORMED_JSON),
    "two values": (answer({"content": "x"}) + b"{}", Breakage.MALFORMED_JSON),
    "no UTF-8": (
        answer({"content": "x"}).replace(b"x", b"\xff"),
        Breakage.INVALID_UTF8,
    ),
    "NaN": (answer({"content": "x"}, usage=float("nan")), Breakage.MALFORMED_JSON),
    "null": (b"null", Breakage.WRONG_SHAPE),
    "an array": (b"[]", Breakage.WRONG_SHAPE),
    "another object": (b'{"detail": "hm"}', Breakage.NO_CHOICES),
    "no choices": (b'{"choices": []}', Breakage.NO_CHOICES),
    "choices null": (b'{"choices": null}', Breakage.NO_CHOICES),
    "no message": (answer(None), Breakage.WRONG_SHAPE),
    "two choices": (
        json.dumps({"choices": [{"message": {"content": "x"}}] * 2}).encode(),
        Breakage.WRONG_SHAPE,
    ),
    "content is an object": (answer({"content": {}}), Breakage.WRONG_SHAPE),
    "nothing said": (answer({"content": None}), Breakage.EMPTY_ANSWER),
    "an empty text": (answer({"content": ""}), Breakage.EMPTY_ANSWER),
    "no finish reason": (answer({"content": "x"}, None), Breakage.TRUNCATED),
    "old functions": (
        answer({"content": "x"}, "function_call"),
        Breakage.UNKNOWN_FINISH_REASON,
    ),
    "calls that are none": (
        answer({"tool_calls": []}, "tool_calls"),
        Breakage.TOOL_CALLS_MISSING,
    ),
    "calls without id": (called(function={"name": "f"}), Breakage.TOOL_CALL_UNNAMED),
    "calls without function": (called(id="a"), Breakage.TOOL_CALL_UNNAMED),
    "calls without name": (
        called(id="a", function={"name": ""}),
        Breakage.TOOL_CALL_UNNAMED,
    ),
    "arguments are an object": (
        called(id="a", function={"name": "f", "arguments": {}}),
        Breakage.WRONG_SHAPE,
    ),
    "a runaway model": (
        answer(
            {
                "tool_calls": [
                    {"id": f"c{n}", "function": {"name": "f"}} for n in range(129)
                ]
            },
            "tool_calls",
        ),
        Breakage.TOO_MANY_TOOL_CALLS,
    ),
    "one id for two": (
        answer(
            {"tool_calls": [{"id": "a", "function": {"name": "f"}}] * 2}, "tool_calls"
        ),
        Breakage.TOOL_CALL_REPEATED,
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_refuses_broken_answer(name: str) -> None:
    """
    An answer that is not what the contract says never becomes a completion.
    """
    body, reason = BROKEN[name]

    with pytest.raises(UpstreamProtocolError) as caught:
        parse_answer(body)

    assert caught.value.reason == reason


def test_raises_reported_error() -> None:
    """
    An error under status 200 is an error.
    """
    with pytest.raises(UpstreamStatusError) as caught:
        parse_answer(b'{"error": {"message": "no", "code": "server_error"}}')

    assert (caught.value.status, caught.value.code) == (200, "server_error")


@given(body=st.binary() | st.text().map(str.encode))
def test_survives_anything(body: bytes) -> None:
    """
    Any bytes are an answer or one of our errors; nothing else is raised.
    """
    with pytest.raises(UpstreamError):
        parse_answer(body)


@given(start=st.integers(0, 200))
def test_refuses_every_cut(start: int) -> None:
    """
    An answer that is cut anywhere is refused.
    """
    whole = answer({"content": "Hello €"})

    with pytest.raises(UpstreamProtocolError):
        parse_answer(whole[: start % len(whole)])


def test_parses_submitted_output() -> None:
    """
    A run that is given an output says where it stands, or nothing.
    """
    assert parse_submitted_output(
        b'{"id": "run_1", "status": "queued"}', run_id="run_1"
    ) == SubmittedOutput(run_id="run_1", status="queued")
    assert parse_submitted_output(b"{}", run_id="run_1").status is None


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (b"", UpstreamProtocolError),
        (b"[]", UpstreamProtocolError),
        (b'{"id": "run_2"}', UpstreamProtocolError),
        (b'{"error": {"message": "no"}}', UpstreamStatusError),
    ],
)
def test_refuses_submitted_output(body: bytes, error: type[UpstreamError]) -> None:
    """
    An answer that is not about the run is no success.
    """
    with pytest.raises(error):
        parse_submitted_output(body, run_id="run_1")
