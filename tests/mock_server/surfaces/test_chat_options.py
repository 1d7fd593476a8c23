"""
Options of a chat that change what the model says.
"""

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

pytestmark = pytest.mark.sockets

Serve = Callable[..., AbstractAsyncContextManager[Any]]
TEXT = "Once upon a time there was a mock."
SCRIPT = f"""
upstream:
  script:
    - match: {{last_message: {{contains: weather}}}}
      reply: {{tool_calls: [{{name: get_weather, arguments: {{city: Paris, unit: celsius}}}}]}}
    - match: {{last_message: {{contains: refuse}}}}
      reply: {{refusal: "I would rather not."}}
    - reply: {{text: "{TEXT}"}}
"""
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
CUSTOM: dict[str, Any] = {"type": "custom", "custom": {"name": "run_code"}}


def ask(text: str = "hello", **more: Any) -> dict[str, Any]:
    """
    Return what the client is called with.
    """
    messages = [{"role": "user", "content": text}]
    return {"model": "gpt-4o", "messages": messages, **more}


@pytest.mark.parametrize("stream", [False, True])
async def test_logprobs(serve: Serve, *, stream: bool) -> None:
    """
    The tokens that are shown are the text, and each has as many rivals as asked for.
    """
    async with serve(SCRIPT) as served:
        create = served.client.chat.completions.create
        options = ask(logprobs=True, top_logprobs=3)
        if stream:
            pieces = [c async for c in await create(**options, stream=True)]
            shown = [
                entry
                for piece in pieces
                if piece.choices[0].logprobs
                for entry in piece.choices[0].logprobs.content
            ]
        else:
            shown = (await create(**options)).choices[0].logprobs.content

    assert "".join(entry.token for entry in shown) == TEXT
    for entry in shown:
        assert bytes(entry.bytes).decode() == entry.token
        assert len(entry.top_logprobs) == 3
        assert entry.top_logprobs[0].logprob == entry.logprob < 0
        assert len({rival.token for rival in entry.top_logprobs}) == 3


async def test_logprobs_of_a_refusal(serve: Serve) -> None:
    """
    A refusal has its own tokens, and there is no content to have any.
    """
    async with serve(SCRIPT) as served:
        reply = await served.client.chat.completions.create(
            **ask("refuse", logprobs=True)
        )

    shown = reply.choices[0].logprobs
    assert shown.content is None
    assert "".join(entry.token for entry in shown.refusal) == "I would rather not."
    assert all(entry.top_logprobs == [] for entry in shown.refusal)


async def test_top_logprobs_need_logprobs(serve: Serve) -> None:
    """
    Rivals of tokens that are not shown cannot be shown.
    """
    async with serve(SCRIPT) as served:
        answer = await served.mock.chat("x", top_logprobs=2)

    assert answer.status == 400
    assert answer.json["error"]["param"] == "top_logprobs"


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
@pytest.mark.parametrize("stream", [False, True])
async def test_replies_are_cut_at_their_limit(
    serve: Serve, *, name: str, stream: bool
) -> None:
    """
    A reply has as many tokens as it may have and says why it ended.
    """
    async with serve(SCRIPT) as served:
        answer = await served.mock.chat(
            "x",
            stream=stream,
            stream_options={"include_usage": True} if stream else None,
            **{name: 3},
        )

    if stream:
        chunks = [json.loads(event) for event in answer.events[:-1]]
        text = "".join(
            c["choices"][0]["delta"].get("content") or "" for c in chunks[:-1]
        )
        assert chunks[-2]["choices"][0]["finish_reason"] == "length"
        usage = chunks[-1]["usage"]
    else:
        text = answer.json["choices"][0]["message"]["content"]
        assert answer.json["choices"][0]["finish_reason"] == "length"
        usage = answer.json["usage"]
    assert text == TEXT[:12]
    assert usage["completion_tokens"] == 3


async def test_a_call_is_cut_too(serve: Serve) -> None:
    """
    A call that is cut has arguments that end in the middle.
    """
    async with serve(SCRIPT) as served:
        answer = await served.mock.chat("weather", tools=[TOOL], max_tokens=6)

    choice = answer.json["choices"][0]
    assert choice["finish_reason"] == "length"
    arguments = choice["message"]["tool_calls"][0]["function"]["arguments"]
    assert arguments == '{"city":"Par'
    assert answer.json["usage"]["completion_tokens"] == 6


async def test_a_limit_that_is_not_reached_changes_nothing(serve: Serve) -> None:
    """
    A short reply ends by itself.
    """
    async with serve(SCRIPT) as served:
        answer = await served.mock.chat("x", max_tokens=9)

    assert answer.json["choices"][0]["message"]["content"] == TEXT
    assert answer.json["choices"][0]["finish_reason"] == "stop"


@pytest.mark.parametrize("stream", [False, True])
async def test_many_choices(serve: Serve, *, stream: bool) -> None:
    """
    Every choice has its index, its own call ids, and counts in the usage.
    """
    async with serve(SCRIPT) as served:
        create = served.client.chat.completions.create
        options = ask("weather", n=3, tools=[TOOL])
        if stream:
            chunks = [c async for c in await create(**options, stream=True)]
            indexes = [choice.index for chunk in chunks for choice in chunk.choices]
            ids = [
                call.id
                for chunk in chunks
                for choice in chunk.choices
                for call in choice.delta.tool_calls or ()
                if call.id
            ]
            assert indexes == sorted(indexes)
        else:
            reply = await create(**options)
            indexes = [choice.index for choice in reply.choices]
            ids = [choice.message.tool_calls[0].id for choice in reply.choices]

    assert set(indexes) == {0, 1, 2}
    assert len(set(ids)) == 3


async def test_custom_tools_are_called_with_text(serve: Serve) -> None:
    """
    A custom tool is called when it is named, and its input is free text.
    """
    async with serve() as served:
        reply = await served.client.chat.completions.create(
            **ask(
                tools=[TOOL, CUSTOM],
                tool_choice={"type": "custom", "custom": {"name": "run_code"}},
            )
        )

    (call,) = reply.choices[0].message.tool_calls
    assert (call.type, call.custom.name) == ("custom", "run_code")
    assert isinstance(call.custom.input, str)


@pytest.mark.parametrize(
    ("mode", "named", "called"),
    [
        ("auto", TOOL, ["get_weather"]),
        ("auto", CUSTOM, []),
        ("required", CUSTOM, ["run_code"]),
    ],
)
async def test_allowed_tools(
    serve: Serve, mode: str, named: dict[str, Any], called: list[str]
) -> None:
    """
    Tools that are not allowed are not called, though they are offered.
    """
    kind = named["type"]
    allowed = {"type": kind, kind: {"name": named[kind]["name"]}}
    choice = {"mode": mode, "tools": [allowed]}
    async with serve(SCRIPT) as served:
        answer = await served.mock.chat(
            "weather",
            tools=[TOOL, CUSTOM],
            tool_choice={"type": "allowed_tools", "allowed_tools": choice},
        )

    calls = answer.json["choices"][0]["message"].get("tool_calls", [])
    assert [call[call["type"]]["name"] for call in calls] == called


async def test_allowed_tools_must_be_offered(serve: Serve) -> None:
    """
    Only what is offered can be allowed.
    """
    choice = {
        "mode": "auto",
        "tools": [{"type": "function", "function": {"name": "g"}}],
    }
    async with serve(SCRIPT) as served:
        answer = await served.mock.chat(
            "x",
            tools=[TOOL],
            tool_choice={"type": "allowed_tools", "allowed_tools": choice},
        )

    assert answer.status == 400
    assert answer.json["error"]["param"] == "tool_choice.allowed_tools.tools[0]"


async def test_structured_output_follows_its_schema(serve: Serve) -> None:
    """
    Without a script the reply is a value of the schema that was asked for.
    """
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string"},
            "size": {"type": "integer", "minimum": 3},
            "tags": {"type": "array", "items": {"enum": ["a", "b"]}},
            "owner": {"anyOf": [{"$ref": "#/$defs/owner"}, {"type": "null"}]},
        },
        "required": ["name", "size", "tags", "owner"],
        "additionalProperties": False,
        "$defs": {
            "owner": {
                "type": "object",
                "properties": {"email": {"type": "string", "format": "email"}},
                "required": ["email"],
                "additionalProperties": False,
            }
        },
    }
    form = {"name": "thing", "schema": schema, "strict": True}
    async with serve() as served:
        reply = await served.client.chat.completions.create(
            **ask(response_format={"type": "json_schema", "json_schema": form})
        )

    assert json.loads(reply.choices[0].message.content) == {
        "name": "text",
        "size": 3,
        "tags": ["a"],
        "owner": {"email": "user@example.com"},
    }


async def test_an_agent_without_a_script_ends(serve: Serve) -> None:
    """
    Nothing scripted: an offered tool is called once, and its answer ends the loop.
    """
    messages: list[Any] = [{"role": "user", "content": "the weather, please"}]
    turns = 0
    async with serve() as served:
        while True:
            turns += 1
            reply = await served.client.chat.completions.create(
                model="gpt-4o", messages=messages, tools=[TOOL]
            )
            said = reply.choices[0].message
            if not said.tool_calls:
                break
            messages.append(said.model_dump(exclude_none=True))
            messages += [
                {"role": "tool", "tool_call_id": call.id, "content": "sunny"}
                for call in said.tool_calls
            ]

    assert turns == 2
    assert said.content == "The tools answered: sunny"
