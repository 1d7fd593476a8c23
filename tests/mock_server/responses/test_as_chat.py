"""
A Responses request as the chat that says the same, so that one script serves both.
"""

from typing import Any

import msgspec
import pytest

from mock_server import LoopClock
from mock_server.testing import mock_in_test
from mock_server.wire import ChatRequest
from mock_server.wire.responses import as_items, chat_of, parse_responses_request

CALL = {
    "type": "function_call",
    "call_id": "call_1",
    "name": "f",
    "arguments": "{}",
    "id": "fc_1",
}


def chat_for(given: object, **more: object) -> ChatRequest:
    """
    Return the chat that a request stands for.
    """
    body = msgspec.json.encode({"model": "gpt-4o", "input": given, **more})
    request = parse_responses_request(body)
    return chat_of(request, request.items)


def messages_of(given: object, **more: object) -> list[dict[str, Any]]:
    """
    Return the messages of that chat, without what is not set.
    """
    messages = msgspec.to_builtins(chat_for(given, **more).messages)
    return [{k: v for k, v in m.items() if v is not None} for m in messages]


@pytest.mark.parametrize(
    ("given", "messages"),
    [
        ("hello", [{"role": "user", "content": "hello"}]),
        (
            [{"role": "developer", "content": "a"}, {"role": "system", "content": "b"}],
            [{"role": "developer", "content": "a"}, {"role": "system", "content": "b"}],
        ),
        (
            [
                {
                    "type": "message",
                    "role": "user",
                    "content": [
                        {"type": "input_text", "text": "a"},
                        {"type": "input_image", "image_url": "x"},
                        {"type": "input_text", "text": "b"},
                    ],
                }
            ],
            [{"role": "user", "content": "ab"}],
        ),
        (
            [
                {"type": "reasoning", "id": "rs_1", "summary": []},
                {"role": "assistant", "content": "Let me see."},
                CALL,
                {**CALL, "call_id": "call_2"},
                {
                    "type": "function_call_output",
                    "call_id": "call_1",
                    "output": "fine",
                },
                {
                    "type": "function_call_output",
                    "call_id": "call_2",
                    "output": [{"type": "input_text", "text": "good"}],
                },
            ],
            [
                {
                    "role": "assistant",
                    "content": "Let me see.",
                    "tool_calls": [
                        {
                            "type": "function",
                            "id": call_id,
                            "function": {"name": "f", "arguments": "{}"},
                        }
                        for call_id in ("call_1", "call_2")
                    ],
                },
                {"role": "tool", "content": "fine", "tool_call_id": "call_1"},
                {"role": "tool", "content": "good", "tool_call_id": "call_2"},
            ],
        ),
        (
            [
                {"role": "assistant", "content": "one"},
                {"role": "assistant", "content": "two"},
                {
                    "role": "assistant",
                    "content": [{"type": "refusal", "refusal": "no"}],
                },
            ],
            [
                {"role": "assistant", "content": "one"},
                {"role": "assistant", "content": "two"},
                {"role": "assistant", "refusal": "no"},
            ],
        ),
        ([{"type": "mystery"}], []),
    ],
    ids=["text", "roles", "parts", "tool loop", "assistant", "unknown"],
)
def test_input_becomes_messages(given: object, messages: list[dict[str, Any]]) -> None:
    """
    What the model said in one go is one message, with its calls.
    """
    assert messages_of(given) == messages


def test_instructions_come_first() -> None:
    """
    Instructions are the system message.
    """
    assert messages_of("hello", instructions="Be kind.") == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "hello"},
    ]


def test_tools_and_options() -> None:
    """
    Flat tools become nested ones; hosted tools are nobody's to call.
    """
    chat = chat_for(
        "json",
        tools=[
            {"type": "function", "name": "f", "parameters": {"type": "object"}},
            {"type": "custom", "name": "c"},
            {"type": "web_search"},
            {
                "type": "namespace",
                "name": "n",
                "tools": [{"type": "function", "name": "g"}],
            },
        ],
        tool_choice={
            "type": "allowed_tools",
            "mode": "required",
            "tools": [{"type": "function", "name": "f"}],
        },
        max_output_tokens=20,
        parallel_tool_calls=False,
        text={"format": {"type": "json_object"}},
    )

    tools = msgspec.to_builtins(chat.tools, enc_hook=lambda raw: bytes(raw).decode())
    names = [(t.get("function") or t.get("custom"))["name"] for t in tools]
    assert names == ["f", "c", "g"]
    assert msgspec.to_builtins(chat.tool_choice) == {
        "type": "allowed_tools",
        "allowed_tools": {
            "mode": "required",
            "tools": [{"type": "function", "name": "f"}],
        },
    }
    assert chat.max_completion_tokens == 20
    assert chat.parallel_tool_calls is False
    assert msgspec.to_builtins(chat.response_format) == {"type": "json_object"}


def test_items_are_listed_with_parts() -> None:
    """
    A text is kept as a message of the user, contents as parts.
    """
    assert as_items("hi") == (
        {
            "role": "user",
            "type": "message",
            "content": [{"type": "input_text", "text": "hi"}],
        },
    )
    [said] = as_items([{"role": "assistant", "content": "hi"}])
    assert said["content"] == [{"type": "output_text", "annotations": [], "text": "hi"}]


SCRIPT = """
upstream:
  script:
    - match: {tool_result: {tool: f, value: {ok: true}}}
      reply: {text: "{{ results.f.ok }} {{ turn }} {{ message }}"}
    - match: {turn: 1, tools: [f], any_message: {role: system, contains: kind}, stream: false}
      reply: {tool_calls: [{name: f, arguments: {a: 1}, id: call_1}]}
    - match: {turn: 1}
      reply: auto
"""


@pytest.mark.virtual_time
async def test_one_script_serves_both(clock: LoopClock) -> None:
    """
    A rule matches the same facts, and says the same, whichever API is used.
    """
    function = {"name": "f", "parameters": {"type": "object"}}
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        system = {"role": "system", "content": "Be kind."}
        user = {"role": "user", "content": "go [#k7f3]"}
        chat_tools = [{"type": "function", "function": function}]
        chat = await mock.chat(tools=chat_tools, messages=[system, user])
        message = chat.json["choices"][0]["message"]
        result = {"role": "tool", "tool_call_id": "call_1", "content": '{"ok": true}'}
        chat_end = await mock.chat(
            tools=chat_tools, messages=[system, user, message, result]
        )
        tools = [{"type": "function", **function}]
        response = await mock.respond(
            [user], tools=tools, instructions="Be kind.", stream=False
        )
        output = {"type": "function_call_output", "output": '{"ok": true}'}
        end = await mock.respond(
            [user, *response.json["output"], {**output, "call_id": "call_1"}],
            tools=tools,
            instructions="Be kind.",
        )
        received = mock.of("upstream_request_received")

    [chat_call] = message["tool_calls"]
    [call] = response.json["output"]
    assert chat_call["id"] == call["call_id"] == "call_1"
    assert chat_call["function"]["arguments"] == call["arguments"]
    said = end.json["output"][0]["content"][0]["text"]
    assert chat_end.json["choices"][0]["message"]["content"] == said == "True 2 go"
    facts = ("turn", "conversation", "tag", "offered_tools", "tool_results", "model")
    for name in facts:
        assert received[0].get(name) == received[2].get(name)
        assert received[1].get(name) == received[3].get(name)


@pytest.mark.virtual_time
@pytest.mark.parametrize(
    ("more", "kinds"),
    [
        ({"tool_choice": "none"}, ["message"]),
        ({"tool_choice": "required"}, ["function_call"]),
        ({"tool_choice": {"type": "function", "name": "g"}}, ["function_call"]),
        ({"tool_choice": "auto"}, ["message", "function_call", "function_call"]),
        ({"parallel_tool_calls": False}, ["message", "function_call"]),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "function", "name": "g"}],
                }
            },
            ["message", "function_call"],
        ),
    ],
)
async def test_tool_choice_is_obeyed(
    more: dict[str, Any], kinds: list[str], clock: LoopClock
) -> None:
    """
    A script's calls are held to what the request allows.
    """
    said = "text: Hi, tool_calls: [{name: f}, {name: g}]"
    if more.get("tool_choice") == "required":
        said = "text: Hi"
    script = f"upstream: {{script: [{{endless: true, reply: {{{said}}}}}]}}"
    tools = [{"type": "function", "name": name} for name in ("f", "g")]
    async with mock_in_test(script, clock=clock) as mock:
        answer = await mock.respond("hello", tools=tools, **more)

    assert answer.status == 200
    assert [item["type"] for item in answer.json["output"]] == kinds
    assert answer.json["tool_choice"] == more.get("tool_choice", "auto")
