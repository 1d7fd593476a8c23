"""
Answers leave byte for byte as the API sends them.
"""

import orjson
import pytest

from mock_server.wire import (
    ApiError,
    Choice,
    Chunk,
    End,
    Head,
    Pace,
    Part,
    Plan,
    Reply,
    ReplyToolCall,
    StreamForm,
    ToolKind,
    Usage,
    chunk_plan,
    completion_plan,
    error_plan,
    mask_key,
    scripted_error,
)
from mock_server.wire.completions import completion_body, completion_value

START = '{"id":"chatcmpl-1","object":"chat.completion","created":7,"model":"gpt-4o","choices":['
END = (
    '],"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13,'
    '"prompt_tokens_details":{"cached_tokens":0,"audio_tokens":0},'
    '"completion_tokens_details":{"reasoning_tokens":0,"audio_tokens":0,'
    '"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}},'
    '"service_tier":"default","system_fingerprint":"fp_0"}'
)
EVENT = (
    'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":7,'
    '"model":"gpt-4o","service_tier":"default","system_fingerprint":"fp_0","choices":'
)
CALL_A = ReplyToolCall("call_a", "get_weather", '{"city":"Paris"}')
CALL_B = ReplyToolCall("call_b", "query_order", "{}")
PLAIN = StreamForm(include_obfuscation=False)


def reply_of(
    *,
    text: str | None = None,
    tool_calls: tuple[ReplyToolCall, ...] = (),
    refusal: str | None = None,
    finish_reason: str = "stop",
    others: tuple[Choice, ...] = (),
) -> Reply:
    """
    Return a reply with fixed ids.
    """
    return Reply(
        id="chatcmpl-1",
        created_s=7,
        model="gpt-4o",
        text=text,
        tool_calls=tool_calls,
        refusal=refusal,
        finish_reason=finish_reason,
        others=others,
        usage=Usage(9, 4),
        system_fingerprint="fp_0",
    )


def body_of(plan: Plan) -> str:
    """
    Return all bytes after the head.
    """
    return b"".join(step.data for step in plan if isinstance(step, Chunk)).decode()


def deltas_of(reply: Reply, form: StreamForm = PLAIN) -> list[str]:
    """
    Return what each event of a stream holds after the part they have in common.
    """
    events = body_of(chunk_plan(reply, request_id="req_1", form=form)).split("\n\n")
    assert events[-1] == ""
    return [event.removeprefix(EVENT) for event in events[:-1]]


def delta(text: str, *, finish_reason: str = "null", index: int = 0) -> str:
    """
    Return an event's choice with this delta.
    """
    return (
        f'[{{"index":{index},"delta":{text},"logprobs":null,'
        f'"finish_reason":{finish_reason}}}]}}'
    )


def test_plain_text() -> None:
    """
    A text has content, a null refusal, empty annotations and no ``tool_calls`` key.
    """
    plan = completion_plan(reply_of(text="Grüße"), request_id="req_1")

    assert body_of(plan) == (
        START + '{"index":0,"message":{"role":"assistant","content":"Grüße",'
        '"refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"stop"}' + END
    )


def test_plain_tool_calls() -> None:
    """
    Calls come beside a null content, their arguments as a JSON string.
    """
    reply = reply_of(tool_calls=(CALL_A, CALL_B), finish_reason="tool_calls")

    assert body_of(completion_plan(reply, request_id="req_1")) == (
        START + '{"index":0,"message":{"role":"assistant","content":null,"tool_calls":['
        '{"id":"call_a","type":"function","function":{"name":"get_weather",'
        '"arguments":"{\\"city\\":\\"Paris\\"}"}},'
        '{"id":"call_b","type":"function","function":{"name":"query_order",'
        '"arguments":"{}"}}],"refusal":null,"annotations":[]},"logprobs":null,'
        '"finish_reason":"tool_calls"}' + END
    )


def test_plain_custom_call() -> None:
    """
    A call of a custom tool has a name and an input.
    """
    call = ReplyToolCall("call_a", "shell", "ls", ToolKind.CUSTOM)
    body = body_of(completion_plan(reply_of(tool_calls=(call,)), request_id="req_1"))

    assert (
        '{"id":"call_a","type":"custom","custom":{"name":"shell","input":"ls"}}' in body
    )


def test_plain_refusal() -> None:
    """
    A refusal stands beside a null content.
    """
    body = body_of(completion_plan(reply_of(refusal="No."), request_id="req_1"))

    assert (
        '"message":{"role":"assistant","content":null,"refusal":"No.","annotations":[]}'
        in body
    )


def test_plain_choices() -> None:
    """
    Further choices have their own index.
    """
    reply = reply_of(text="a", others=(Choice(text="b"),))
    body = body_of(completion_plan(reply, request_id="req_1"))

    assert body.count('"message"') == 2
    assert '{"index":1,"message":{"role":"assistant","content":"b"' in body


def test_plain_headers() -> None:
    """
    Every answer carries the API's headers, the request id and the limits among them.
    """
    plan = completion_plan(reply_of(text="x"), request_id="req_1")
    head, chunk, end = plan

    assert isinstance(head, Head)
    assert isinstance(chunk, Chunk)
    assert isinstance(end, End)
    assert head.status == 200
    headers = dict(head.headers)
    assert headers["content-type"] == "application/json"
    assert headers["content-length"] == str(len(chunk.data))
    assert headers["x-request-id"] == "req_1"
    assert headers["openai-version"] == "2020-10-01"
    assert headers["access-control-expose-headers"] == "X-Request-ID"
    assert {"openai-organization", "openai-project"} <= set(headers)
    for kind in ("requests", "tokens"):
        assert headers[f"x-ratelimit-limit-{kind}"].isdecimal()
        assert headers[f"x-ratelimit-remaining-{kind}"].isdecimal()
        assert headers[f"x-ratelimit-reset-{kind}"].endswith("ms")
    assert chunk.pace is Pace.FIRST_TOKEN


def test_stream_text() -> None:
    """
    The role with an empty text, the pieces, the finish, then the end marker.
    """
    assert deltas_of(reply_of(text="It is 22 °C.")) == [
        delta('{"role":"assistant","content":"","refusal":null}'),
        delta('{"content":"It"}'),
        delta('{"content":" is"}'),
        delta('{"content":" 22"}'),
        delta('{"content":" °C."}'),
        delta("{}", finish_reason='"stop"'),
        "data: [DONE]",
    ]


def test_stream_one_call() -> None:
    """
    One call: the first event holds role, id and name; the next ones only arguments.
    """
    reply = reply_of(tool_calls=(CALL_A,), finish_reason="tool_calls")

    assert deltas_of(reply) == [
        delta(
            '{"role":"assistant","content":null,"tool_calls":[{"index":0,'
            '"id":"call_a","type":"function","function":{"name":"get_weather",'
            '"arguments":""}}],"refusal":null}'
        ),
        *(
            delta(
                f'{{"tool_calls":[{{"index":0,"function":{{"arguments":"{piece}"}}}}]}}'
            )
            for piece in ('{\\"', "city", '\\":\\"', "Paris", '\\"}')
        ),
        delta("{}", finish_reason='"tool_calls"'),
        "data: [DONE]",
    ]


def test_stream_parallel_calls() -> None:
    """
    Parallel calls: the role alone, then call by call, never interleaved.
    """
    reply = reply_of(
        tool_calls=(CALL_B, ReplyToolCall("call_c", "g", "{}")),
        finish_reason="tool_calls",
    )

    assert deltas_of(reply) == [
        delta('{"role":"assistant","content":null}'),
        delta(
            '{"tool_calls":[{"index":0,"id":"call_b","type":"function",'
            '"function":{"name":"query_order","arguments":""}}]}'
        ),
        delta('{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]}'),
        delta(
            '{"tool_calls":[{"index":1,"id":"call_c","type":"function",'
            '"function":{"name":"g","arguments":""}}]}'
        ),
        delta('{"tool_calls":[{"index":1,"function":{"arguments":"{}"}}]}'),
        delta("{}", finish_reason='"tool_calls"'),
        "data: [DONE]",
    ]


def test_stream_text_before_call() -> None:
    """
    A text that comes with a call comes before it.
    """
    events = deltas_of(reply_of(text="Wait.", tool_calls=(CALL_B,)))

    assert events[0] == delta('{"role":"assistant","content":"","refusal":null}')
    assert events[1] == delta('{"content":"Wait."}')
    assert '"id":"call_b"' in events[2]


def test_stream_refusal() -> None:
    """
    A refusal comes in pieces of its own key.
    """
    assert deltas_of(reply_of(refusal="No way.")) == [
        delta('{"role":"assistant","content":null,"refusal":""}'),
        delta('{"refusal":"No"}'),
        delta('{"refusal":" way."}'),
        delta("{}", finish_reason='"stop"'),
        "data: [DONE]",
    ]


def test_stream_usage() -> None:
    """
    With usage every event has the key, null until the one before the end marker.
    """
    form = StreamForm(include_usage=True, include_obfuscation=False)
    *events, usage, done = deltas_of(reply_of(text="Hi"), form)

    assert all(event.endswith('],"usage":null}') for event in events)
    assert usage.startswith('[],"usage":{"prompt_tokens":9,"completion_tokens":4,')
    assert done == "data: [DONE]"


def test_stream_without_usage_has_no_such_key() -> None:
    """
    Without the option no event speaks of usage.
    """
    assert "usage" not in "".join(deltas_of(reply_of(text="Hi")))


def test_stream_obfuscates_unless_told_otherwise() -> None:
    """
    By default every event ends with an obfuscation, and never the end marker.
    """
    *events, done = deltas_of(reply_of(text="Hi there"), StreamForm())

    assert all(',"obfuscation":"' in event for event in events)
    assert done == "data: [DONE]"


def test_stream_choices_keep_to_their_index() -> None:
    """
    Choices come one after the other, the first one first.
    """
    events = deltas_of(reply_of(text="a", others=(Choice(text="b"),)))

    assert [event.split(",")[0] for event in events[:-1]] == [
        '[{"index":0',
        '[{"index":0',
        '[{"index":0',
        '[{"index":1',
        '[{"index":1',
        '[{"index":1',
    ]


def test_stream_says_what_each_event_is() -> None:
    """
    Faults find an event by its part, latency by its pace.
    """
    form = StreamForm(include_usage=True)
    plan = chunk_plan(reply_of(text="a b"), request_id="req_1", form=form)
    chunks = [step for step in plan if isinstance(step, Chunk)]

    assert [(chunk.part, chunk.pace) for chunk in chunks] == [
        (Part.START, Pace.FIRST_TOKEN),
        (Part.DELTA, Pace.TOKEN),
        (Part.DELTA, Pace.TOKEN),
        (Part.FINISH, Pace.NONE),
        (Part.USAGE, Pace.NONE),
        (Part.DONE, Pace.NONE),
    ]
    assert isinstance(plan[0], Head)
    headers = dict(plan[0].headers)
    assert headers["content-type"] == "text/event-stream; charset=utf-8"
    assert "content-length" not in headers


def test_stream_of_a_huge_text_is_bounded() -> None:
    """
    A text of any length is sent in a bounded number of pieces, and whole.
    """
    text = "a b " * 10_000
    plan = chunk_plan(reply_of(text=text), request_id="r", form=PLAIN)
    chunks = [step for step in plan if isinstance(step, Chunk)]

    assert len(chunks) < 2100
    assert sum(chunk.data.count(b"a") for chunk in chunks) >= 10_000


def test_error_has_all_four_keys() -> None:
    """
    The envelope holds message, type, param and code, also when they are null.
    """
    head, chunk, _ = error_plan(ApiError("No."), "req_1")

    assert isinstance(head, Head)
    assert isinstance(chunk, Chunk)
    assert head.status == 400
    assert dict(head.headers)["x-request-id"] == "req_1"
    assert chunk.data == (
        b'{"error":{"message":"No.","type":"invalid_request_error",'
        b'"param":null,"code":null}}'
    )


def test_scripted_error_is_filled_up_as_the_api_has_it() -> None:
    """
    What a script leaves out of an error is what the API would say.
    """

    def error_of(status: int, **given: str) -> ApiError:
        return scripted_error(
            status=status,
            message=None,
            type=None,
            param=None,
            code=given.get("code"),
            retry_after_s=1.5 if status == 429 else None,
            headers={},
        )

    limited = error_of(429)
    quota = error_of(429, code="insufficient_quota")
    failed = error_of(503)

    assert (limited.type, limited.code) == ("requests", "rate_limit_exceeded")
    assert dict(limited.headers) == {"retry-after": "2", "retry-after-ms": "1500"}
    assert (quota.type, quota.code) == ("insufficient_quota", "insufficient_quota")
    assert (failed.type, failed.code) == ("server_error", None)
    assert failed.message.startswith("The server is currently overloaded")


def test_keys_are_masked() -> None:
    """
    An error never repeats a key.
    """
    assert mask_key("sk-abcdefghijklmnopyz") == "sk-ab***yz"
    assert mask_key("short") == "*****"


@pytest.mark.parametrize("finish_reason", ["stop", "length", None])
@pytest.mark.parametrize(
    "text", ["", "hello", 'say "hi"\\\n\t\x00', "grüße 😀 %d %b", "</script>\u2028"]
)
def test_a_text_is_filled_in_as_the_encoder_writes_it(
    text: str, finish_reason: str
) -> None:
    """
    The short way for replies of one text gives the very bytes of the long one.
    """
    reply = reply_of(text=text, finish_reason=finish_reason)

    assert completion_body(reply) == orjson.dumps(completion_value(reply))
