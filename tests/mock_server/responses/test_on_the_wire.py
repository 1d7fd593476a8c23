"""
The Responses API, seen byte by byte through the whole mock.
"""

from itertools import groupby
from typing import Any

import orjson
import pytest

from mock_server import LoopClock
from mock_server.testing import RawAnswer, mock_in_test

pytestmark = pytest.mark.virtual_time

SCRIPT = """
upstream:
  script:
    - match: {last_message: {contains: two calls}}
      reply:
        text: "Let me see."
        tool_calls:
          - {name: f, arguments: {a: 1}, id: call_1}
          - {name: f, arguments: {a: 2}, id: call_2}
    - match: {last_message: {contains: call}}
      reply: {tool_calls: [{name: f, arguments: {city: Paris}, id: call_1}]}
    - match: {last_message: {contains: custom}}
      reply: {tool_calls: [{name: shell, arguments: "ls -l", id: call_1}]}
    - match: {last_message: {contains: refuse}}
      reply: {refusal: "I will not."}
    - match: {last_message: {contains: think}}
      reply: {reasoning: "Two words.", text: "Hi"}
    - match: {last_message: {contains: long}}
      reply: {text: "Hi you", finish_reason: length}
    - match: {last_message: {contains: filtered}}
      reply: {text: "Hi you", finish_reason: content_filter}
    - match: {last_message: {contains: empty}}
      reply: {text: ""}
    - reply: {text: "Hi you"}
"""
TOOLS = [
    {"type": "function", "name": "f", "parameters": {"type": "object"}},
    {"type": "custom", "name": "shell"},
]
DELTAS = {
    "response.output_text.delta",
    "response.refusal.delta",
    "response.function_call_arguments.delta",
    "response.custom_tool_call_input.delta",
    "response.reasoning_summary_text.delta",
}
KEYS = {
    *("id", "object", "created_at", "status", "background", "billing"),
    *("completed_at", "error", "incomplete_details", "instructions", "metadata"),
    *("max_output_tokens", "max_tool_calls", "model", "output", "usage", "user"),
    *("parallel_tool_calls", "previous_response_id", "prompt_cache_key", "store"),
    *("prompt_cache_retention", "reasoning", "safety_identifier", "service_tier"),
    *("temperature", "top_p", "top_logprobs", "presence_penalty", "text", "tools"),
    *("frequency_penalty", "tool_choice", "truncation"),
}


def shape_of(answer: RawAnswer) -> list[str]:
    """
    Return the names of the events, without their prefix and a run of deltas as one.
    """
    names = [name.removeprefix("response.") for name, _ in answer.named_events]
    return [name for name, _ in groupby(names)]


async def ask(
    clock: LoopClock, given: str, *, stream: bool = True, **more: Any
) -> RawAnswer:
    """
    Return the answer to one question.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        return await mock.respond(given, stream=stream, tools=TOOLS, **more)


async def test_plain_response_has_all_keys(clock: LoopClock) -> None:
    """
    A plain response is one object with every key that the API sends.
    """
    answer = await ask(clock, "hello", stream=False)

    value = answer.json
    assert answer.headers["content-type"] == "application/json"
    assert set(value) == KEYS
    assert (value["object"], value["status"]) == ("response", "completed")
    assert value["id"].startswith("resp_")
    assert len(value["id"]) == len("resp_") + 48
    [message] = value["output"]
    assert message["id"].startswith("msg_")
    assert message["content"] == [
        {"type": "output_text", "annotations": [], "logprobs": [], "text": "Hi you"}
    ]
    assert value["billing"] == {"payer": "developer"}
    assert value["usage"]["input_tokens_details"]["cached_tokens"] == 0
    assert value["usage"]["output_tokens_details"] == {"reasoning_tokens": 0}


async def test_stream_is_named_events_without_an_end_marker(clock: LoopClock) -> None:
    """
    Every event is an event line and a data line of the same name; nothing follows.
    """
    answer = await ask(clock, "hello")

    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert answer.is_whole
    assert b"[DONE]" not in answer.body
    *events, rest = answer.body.split(b"\n\n")
    assert rest == b""
    assert len(events) == len(answer.chunks) - 1
    for event in events:
        first, second = event.split(b"\n")
        name = first.removeprefix(b"event: ")
        assert second.startswith(b'data: {"type":"' + name + b'","sequence_number":')


async def test_events_of_a_text(clock: LoopClock) -> None:
    """
    A text comes within its part, the part within its item, the item within all.
    """
    answer = await ask(clock, "hello")

    assert shape_of(answer) == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    added = answer.named_events[2][1]
    assert (added["item"]["status"], added["item"]["content"]) == ("in_progress", [])
    part = answer.named_events[3][1]["part"]
    assert part == {
        "type": "output_text",
        "annotations": [],
        "logprobs": [],
        "text": "",
    }
    assert answer.named_events[-4][1]["text"] == "Hi you"


async def test_bytes_of_a_text(clock: LoopClock) -> None:
    """
    Between the response's own events every byte is as the API sends it.
    """
    options = {"include_obfuscation": False}
    answer = await ask(clock, "hello", stream_options=options)

    item_id = answer.named_events[2][1]["item"]["id"]
    expected = (
        b"event: response.output_item.added\n"
        b'data: {"type":"response.output_item.added","sequence_number":2,'
        b'"output_index":0,"item":{"id":"ID","type":"message",'
        b'"status":"in_progress","content":[],"role":"assistant"}}\n\n'
        b"event: response.content_part.added\n"
        b'data: {"type":"response.content_part.added","sequence_number":3,'
        b'"item_id":"ID","output_index":0,"content_index":0,"part":'
        b'{"type":"output_text","annotations":[],"logprobs":[],"text":""}}\n\n'
        b"event: response.output_text.delta\n"
        b'data: {"type":"response.output_text.delta","sequence_number":4,'
        b'"item_id":"ID","output_index":0,"content_index":0,"delta":"Hi",'
        b'"logprobs":[]}\n\n'
        b"event: response.output_text.delta\n"
        b'data: {"type":"response.output_text.delta","sequence_number":5,'
        b'"item_id":"ID","output_index":0,"content_index":0,"delta":" you",'
        b'"logprobs":[]}\n\n'
        b"event: response.output_text.done\n"
        b'data: {"type":"response.output_text.done","sequence_number":6,'
        b'"item_id":"ID","output_index":0,"content_index":0,"text":"Hi you",'
        b'"logprobs":[]}\n\n'
        b"event: response.content_part.done\n"
        b'data: {"type":"response.content_part.done","sequence_number":7,'
        b'"item_id":"ID","output_index":0,"content_index":0,"part":'
        b'{"type":"output_text","annotations":[],"logprobs":[],"text":"Hi you"}}\n\n'
        b"event: response.output_item.done\n"
        b'data: {"type":"response.output_item.done","sequence_number":8,'
        b'"output_index":0,"item":{"id":"ID","type":"message",'
        b'"status":"completed","content":[{"type":"output_text","annotations":[],'
        b'"logprobs":[],"text":"Hi you"}],"role":"assistant"}}\n\n'
        b"event: response.completed\n"
    )
    assert expected.replace(b"ID", item_id.encode()) in answer.body


@pytest.mark.parametrize(
    "given", ["hello", "call", "two calls", "custom", "refuse", "think", "long"]
)
async def test_numbers_and_identities_hold(given: str, clock: LoopClock) -> None:
    """
    Numbers count from 0; the response, each item and each place keep their identity.
    """
    answer = await ask(clock, given)

    values = [value for _, value in answer.named_events]
    assert [value["sequence_number"] for value in values] == list(range(len(values)))
    responses = [value["response"] for value in values if "response" in value]
    assert len({response["id"] for response in responses}) == 1
    assert [response["output"] for response in responses[:-1]] == [[], []]
    final = responses[-1]["output"]
    for kind in ("added", "done"):
        items = [
            v for n, v in answer.named_events if n == f"response.output_item.{kind}"
        ]
        assert [item["output_index"] for item in items] == list(range(len(final)))
        for item, whole in zip(items, final, strict=True):
            assert item["item"]["id"] == whole["id"]
            assert item["item"]["type"] == whole["type"]
            assert item["item"].get("call_id") == whole.get("call_id")
    for name, value in answer.named_events:
        if name in DELTAS:
            assert value["item_id"] == final[value["output_index"]]["id"]


async def test_deltas_add_up(clock: LoopClock) -> None:
    """
    The pieces of each item, joined, are what the finished item says.
    """
    answer = await ask(clock, "two calls")

    joined: dict[int, str] = {}
    for name, value in answer.named_events:
        if name in DELTAS:
            place = value["output_index"]
            joined[place] = joined.get(place, "") + value["delta"]
    message, first, second = answer.named_events[-1][1]["response"]["output"]
    assert joined[0] == message["content"][0]["text"] == "Let me see."
    assert joined[1] == first["arguments"]
    assert joined[2] == second["arguments"] != first["arguments"]


async def test_events_of_a_function_call(clock: LoopClock) -> None:
    """
    A call begins empty and ends whole; its id is not its call id.
    """
    answer = await ask(clock, "call")

    assert shape_of(answer) == [
        "created",
        "in_progress",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    added = answer.named_events[2][1]["item"]
    assert added["id"].startswith("fc_")
    assert (added["call_id"], added["name"], added["arguments"]) == ("call_1", "f", "")
    done = answer.named_events[-3][1]
    assert "name" not in done
    item = answer.named_events[-2][1]["item"]
    assert orjson.loads(item["arguments"]) == {"city": "Paris"}
    assert done["arguments"] == item["arguments"]
    assert item["status"] == "completed"


async def test_parallel_calls_follow_one_another(clock: LoopClock) -> None:
    """
    An item is done before the next one begins.
    """
    answer = await ask(clock, "two calls")

    places = [v["output_index"] for _, v in answer.named_events if "output_index" in v]
    assert places == sorted(places)
    assert set(places) == {0, 1, 2}


async def test_custom_call_has_its_own_events(clock: LoopClock) -> None:
    """
    A custom tool is given a free text, under events of its own.
    """
    answer = await ask(clock, "custom")

    assert "custom_tool_call_input.delta" in shape_of(answer)
    [item] = answer.named_events[-1][1]["response"]["output"]
    assert item["type"] == "custom_tool_call"
    assert (item["name"], item["input"]) == ("shell", "ls -l")
    assert item["id"].startswith("ctc_")


async def test_refusal_is_a_part(clock: LoopClock) -> None:
    """
    A refusal is a content part of its own kind; the response is complete.
    """
    answer = await ask(clock, "refuse")

    assert {"refusal.delta", "refusal.done"} <= set(shape_of(answer))
    final = answer.named_events[-1][1]["response"]
    assert final["status"] == "completed"
    assert final["output"][0]["content"] == [
        {"type": "refusal", "refusal": "I will not."}
    ]


async def test_reasoning_comes_first(clock: LoopClock) -> None:
    """
    Scripted reasoning is an item before the text, and counted.
    """
    answer = await ask(clock, "think")

    assert shape_of(answer)[2:8] == [
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
    ]
    final = answer.named_events[-1][1]["response"]
    assert [item["type"] for item in final["output"]] == ["reasoning", "message"]
    assert final["output"][0]["summary"] == [
        {"type": "summary_text", "text": "Two words."}
    ]
    reasoning = final["usage"]["output_tokens_details"]["reasoning_tokens"]
    assert 0 < reasoning < final["usage"]["output_tokens"]


async def test_encrypted_reasoning_is_there_when_asked_for(clock: LoopClock) -> None:
    """
    The opaque form of the reasoning is included only on request.
    """
    include = ["reasoning.encrypted_content"]
    without = await ask(clock, "think", stream=False)
    with_it = await ask(clock, "think", stream=False, include=include)

    assert "encrypted_content" not in without.json["output"][0]
    assert with_it.json["output"][0]["encrypted_content"]


@pytest.mark.parametrize(
    ("given", "reason"),
    [("long", "max_output_tokens"), ("filtered", "content_filter")],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_incomplete(
    given: str, reason: str, clock: LoopClock, *, stream: bool
) -> None:
    """
    A response that had to stop says why, in its status and in the last event.
    """
    answer = await ask(clock, given, stream=stream)

    if stream:
        name, value = answer.named_events[-1]
        assert name == "response.incomplete"
        response = value["response"]
    else:
        response = answer.json
    assert response["status"] == "incomplete"
    assert response["incomplete_details"] == {"reason": reason}
    assert response["output"][0]["status"] == "incomplete"
    assert response["completed_at"] is None


async def test_max_output_tokens_cuts(clock: LoopClock) -> None:
    """
    More than what is allowed is not said.
    """
    script = f"upstream: {{script: [{{reply: {{text: '{'word ' * 100}'}}}}]}}"
    async with mock_in_test(script, clock=clock) as mock:
        answer = await mock.respond(max_output_tokens=16)

    value = answer.json
    assert value["incomplete_details"] == {"reason": "max_output_tokens"}
    assert value["usage"]["output_tokens"] <= 16


async def test_logprobs_on_request(clock: LoopClock) -> None:
    """
    Asked for, every token of the text has its probability, in pieces and as a whole.
    """
    more: dict[str, Any] = {
        "include": ["message.output_text.logprobs"],
        "top_logprobs": 2,
    }
    plain = await ask(clock, "hello", stream=False, **more)
    streamed = await ask(clock, "hello", **more)

    [part] = plain.json["output"][0]["content"]
    tokens = [entry["token"] for entry in part["logprobs"]]
    assert "".join(tokens) == "Hi you"
    assert all(len(entry["top_logprobs"]) == 2 for entry in part["logprobs"])
    deltas = [v for n, v in streamed.named_events if n == "response.output_text.delta"]
    pieces = [entry for delta in deltas for entry in delta["logprobs"]]
    assert pieces == part["logprobs"]
    assert streamed.named_events[-4][1]["logprobs"] == part["logprobs"]
    assert streamed.named_events[3][1]["part"]["logprobs"] == []


async def test_empty_text_is_a_part_all_the_same(clock: LoopClock) -> None:
    """
    An answer of no characters is a message with an empty part.
    """
    answer = await ask(clock, "empty")

    assert "output_text.delta" not in shape_of(answer)
    assert (
        answer.named_events[-1][1]["response"]["output"][0]["content"][0]["text"] == ""
    )


@pytest.mark.parametrize(
    ("options", "is_there"), [({}, True), ({"include_obfuscation": False}, False)]
)
async def test_obfuscation_can_be_switched_off(
    options: dict[str, bool], clock: LoopClock, *, is_there: bool
) -> None:
    """
    Deltas hide their length unless that is not wanted.
    """
    answer = await ask(clock, "hello", stream_options=options)

    assert (b'"obfuscation"' in answer.body) is is_there


@pytest.mark.parametrize(
    ("form", "events"),
    [
        ("nested", ["error", "response.failed"]),
        ("flat", ["error", "response.failed"]),
        ("failed_only", ["response.failed"]),
        ("error_only", ["error"]),
    ],
)
async def test_forms_of_failure(form: str, events: list[str], clock: LoopClock) -> None:
    """
    A stream that has begun tells its failure in the form that the script names.
    """
    script = f"""
    upstream:
      script:
        - reply:
            error: {{status: 503, code: server_is_overloaded, message: Later., failure: {form}}}
    """
    async with mock_in_test(script, clock=clock) as mock:
        answer = await mock.respond(stream=True)
        [ended] = mock.of("upstream_request_ended")

    assert answer.status == 200
    named = answer.named_events
    expected = ["response.created", "response.in_progress", *events]
    assert [name for name, _ in named] == expected
    error = dict(named).get("error")
    told = {"code": "server_is_overloaded", "message": "Later.", "param": None}
    if form == "flat":
        assert error == {"type": "error", "sequence_number": 2, **told}
    elif error is not None:
        assert error == {
            "type": "error",
            "sequence_number": 2,
            "error": {"type": "server_error", **told},
        }
    failed = dict(named).get("response.failed")
    if failed is not None:
        response = failed["response"]
        assert (response["status"], response["output"]) == ("failed", [])
        assert response["error"] == {"code": told["code"], "message": told["message"]}
    assert ended["answer_valid"] is False


async def test_scripted_errors_come_before_a_stream(clock: LoopClock) -> None:
    """
    An error that names no form of failure is a status, streamed or not.
    """
    script = "upstream: {script: [{reply: {error: {status: 429, message: Slow.}}}]}"
    async with mock_in_test(script, clock=clock) as mock:
        answers = [await mock.respond(stream=stream) for stream in (False, True)]

    for answer in answers:
        assert answer.status == 429
        assert answer.json["error"]["code"] == "rate_limit_exceeded"


async def test_quota_fails_in_the_real_words(clock: LoopClock) -> None:
    """
    A quota that is used up fails the stream as the API was seen to do it.
    """
    error = "{status: 429, code: insufficient_quota, failure: nested}"
    script = f"upstream: {{script: [{{reply: {{error: {error}}}}}]}}"
    async with mock_in_test(script, clock=clock) as mock:
        answer = await mock.respond(stream=True)

    told = answer.named_events[2][1]["error"]
    assert told["type"] == told["code"] == "insufficient_quota"
    assert told["message"].startswith("You exceeded your current quota")


async def test_first_output_waits_for_the_first_token(clock: LoopClock) -> None:
    """
    The response is created at once; output begins after the time to the first token.
    """
    script = """
    upstream:
      latency: {time_to_first_token: 5s, inter_token: 1s}
      script: [{reply: {text: "one two"}}]
    """
    async with mock_in_test(script, clock=clock) as mock:
        streamed = await mock.respond(stream=True)
        plain = await mock.respond()

    assert streamed.first_byte_s == pytest.approx(0.0)
    assert streamed.last_byte_s == pytest.approx(7.0)
    assert plain.first_byte_s == pytest.approx(5.0)
