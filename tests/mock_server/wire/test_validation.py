"""
Requests are refused the way the API refuses them.
"""

from typing import Any

import orjson
import pytest

from mock_server.wire import ApiError, parse_chat_request

USER: dict[str, Any] = {"role": "user", "content": "hi"}
CALL: dict[str, Any] = {
    "id": "call_a",
    "type": "function",
    "function": {"name": "f", "arguments": "{}"},
}
ASKS: dict[str, Any] = {"role": "assistant", "content": None, "tool_calls": [CALL]}
RESULT: dict[str, Any] = {"role": "tool", "tool_call_id": "call_a", "content": "1"}
TOOL: dict[str, Any] = {
    "type": "function",
    "function": {"name": "f", "parameters": {"type": "object", "properties": {}}},
}


def chat(**changes: Any) -> dict[str, Any]:
    """
    Return a good body with these changes; ``...`` leaves a field out.
    """
    body = {"model": "gpt-4o", "messages": [USER], **changes}
    return {name: value for name, value in body.items() if value is not ...}


def strict_tool(parameters: dict[str, Any]) -> dict[str, Any]:
    """
    Return a tool whose schema must describe everything.
    """
    function = {"name": "f", "strict": True, "parameters": parameters}
    return {"type": "function", "function": function}


Expected = tuple[str | None, str | None, str]

SHAPE: dict[str, tuple[dict[str, Any], Expected]] = {
    "no model": (chat(model=...), (None, None, "you must provide a model parameter")),
    "empty model": (chat(model=""), (None, None, "you must provide a model parameter")),
    "model of another type": (
        chat(model=4),
        (
            "model",
            "invalid_type",
            "Invalid type for 'model': expected a string, but got an integer instead.",
        ),
    ),
    "no messages": (
        chat(messages=...),
        (
            "messages",
            "missing_required_parameter",
            "Missing required parameter: 'messages'.",
        ),
    ),
    "messages as text": (
        chat(messages="hi"),
        (
            "messages",
            "invalid_type",
            "Invalid type for 'messages': expected an array of objects, but got a string instead.",
        ),
    ),
    "no message at all": (
        chat(messages=[]),
        (
            "messages",
            "empty_array",
            "Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.",
        ),
    ),
    "message as text": (
        chat(messages=["hi"]),
        (
            "messages[0]",
            "invalid_type",
            "Invalid type for 'messages[0]': expected an object, but got a string instead.",
        ),
    ),
    "message without role": (
        chat(messages=[{"content": "hi"}]),
        (
            "messages[0].role",
            "missing_required_parameter",
            "Missing required parameter: 'messages[0].role'.",
        ),
    ),
    "unknown role": (
        chat(messages=[USER, {"role": "robot", "content": "hi"}]),
        (
            "messages[1].role",
            "invalid_value",
            "Invalid value: 'robot'. Supported values are: 'system', 'assistant', 'user', 'function', 'tool', and 'developer'.",
        ),
    ),
    "user without content": (
        chat(messages=[{"role": "user"}]),
        (
            "messages[0].content",
            "missing_required_parameter",
            "Missing required parameter: 'messages[0].content'.",
        ),
    ),
    "user with null": (
        chat(messages=[{"role": "user", "content": None}]),
        (
            "messages[0].content",
            "invalid_type",
            "Invalid type for 'messages[0].content': expected one of a string or array of objects, but got null instead.",
        ),
    ),
    "unknown part": (
        chat(messages=[{"role": "user", "content": [{"type": "video"}]}]),
        (
            "messages[0].content[0].type",
            "invalid_value",
            "Invalid value: 'video'. Supported values are: 'text', 'image_url', 'input_audio', and 'file'.",
        ),
    ),
    "part without text": (
        chat(messages=[{"role": "user", "content": [{"type": "text"}]}]),
        (
            "messages[0].content[0].text",
            "missing_required_parameter",
            "Missing required parameter: 'messages[0].content[0].text'.",
        ),
    ),
    "tool result without id": (
        chat(messages=[{"role": "tool", "content": "1"}]),
        (
            "messages[0].tool_call_id",
            "missing_required_parameter",
            "Missing required parameter: 'messages[0].tool_call_id'.",
        ),
    ),
    "call without arguments": (
        chat(
            messages=[
                {
                    "role": "assistant",
                    "tool_calls": [{**CALL, "function": {"name": "f"}}],
                }
            ]
        ),
        (
            "messages[0].tool_calls[0].function.arguments",
            "missing_required_parameter",
            "Missing required parameter: 'messages[0].tool_calls[0].function.arguments'.",
        ),
    ),
    "arguments as object": (
        chat(
            messages=[
                {
                    "role": "assistant",
                    "tool_calls": [
                        {**CALL, "function": {"name": "f", "arguments": {}}}
                    ],
                }
            ]
        ),
        (
            "messages[0].tool_calls[0].function.arguments",
            "invalid_type",
            "Invalid type for 'messages[0].tool_calls[0].function.arguments': expected a string, but got an object instead.",
        ),
    ),
    "temperature too low": (
        chat(temperature=-1),
        (
            "temperature",
            "decimal_below_min_value",
            "Invalid 'temperature': decimal below minimum value. Expected a value >= 0, but got -1 instead.",
        ),
    ),
    "temperature too high": (
        chat(temperature=2.5),
        (
            "temperature",
            "decimal_above_max_value",
            "Invalid 'temperature': decimal above maximum value. Expected a value <= 2, but got 2.5 instead.",
        ),
    ),
    "temperature as text": (
        chat(temperature="hot"),
        (
            "temperature",
            "invalid_type",
            "Invalid type for 'temperature': expected a decimal, but got a string instead.",
        ),
    ),
    "n too low": (
        chat(n=0),
        (
            "n",
            "integer_below_min_value",
            "Invalid 'n': integer below minimum value. Expected a value >= 1, but got 0 instead.",
        ),
    ),
    "n as decimal": (
        chat(n=1.5),
        (
            "n",
            "invalid_type",
            "Invalid type for 'n': expected an integer, but got a decimal instead.",
        ),
    ),
    "too many stops": (
        chat(stop=["a", "b", "c", "d", "e"]),
        (
            "stop",
            "array_above_max_length",
            "Invalid 'stop': array too long. Expected an array with maximum length 4, but got an array with length 5 instead.",
        ),
    ),
    "too much metadata": (
        chat(metadata={str(number): "x" for number in range(17)}),
        (
            "metadata",
            "object_above_max_properties",
            "Invalid 'metadata': too many properties. Expected an object with at most 16 properties, but got an object with 17 properties instead.",
        ),
    ),
    "long metadata": (
        chat(metadata={"k": "x" * 513}),
        (
            "metadata.k",
            "string_above_max_length",
            "Invalid 'metadata.k': string too long. Expected a string with maximum length 512, but got a string with length 513 instead.",
        ),
    ),
    "stream as text": (
        chat(stream="yes"),
        (
            "stream",
            "invalid_type",
            "Invalid type for 'stream': expected a boolean, but got a string instead.",
        ),
    ),
    "unknown effort": (
        chat(reasoning_effort="huge"),
        (
            "reasoning_effort",
            "invalid_value",
            "Invalid value: 'huge'. Supported values are: 'none', 'minimal', 'low', 'medium', 'high', 'xhigh', and 'max'.",
        ),
    ),
    "empty tools": (
        chat(tools=[]),
        (
            "tools",
            "empty_array",
            "Invalid 'tools': empty array. Expected an array with minimum length 1, but got an empty array instead.",
        ),
    ),
    "tool without name": (
        chat(tools=[{"type": "function", "function": {}}]),
        (
            "tools[0].function.name",
            "missing_required_parameter",
            "Missing required parameter: 'tools[0].function.name'.",
        ),
    ),
    "tool with a bad name": (
        chat(tools=[{"type": "function", "function": {"name": "get weather"}}]),
        (
            "tools[0].function.name",
            "invalid_value",
            "Invalid 'tools[0].function.name': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.",
        ),
    ),
    "tool with a long name": (
        chat(tools=[{"type": "function", "function": {"name": "f" * 65}}]),
        (
            "tools[0].function.name",
            "string_above_max_length",
            "Invalid 'tools[0].function.name': string too long. Expected a string with maximum length 64, but got a string with length 65 instead.",
        ),
    ),
    "tool of unknown type": (
        chat(tools=[{"type": "robot"}]),
        (
            "tools[0].type",
            "invalid_value",
            "Invalid value: 'robot'. Supported values are: 'function' and 'custom'.",
        ),
    ),
    "parameters as list": (
        chat(tools=[{"type": "function", "function": {"name": "f", "parameters": []}}]),
        (
            "tools[0].function.parameters",
            "invalid_type",
            "Invalid type for 'tools[0].function.parameters': expected an object, but got an array instead.",
        ),
    ),
    "unknown tool choice": (
        chat(tools=[TOOL], tool_choice="maybe"),
        (
            "tool_choice",
            "invalid_value",
            "Invalid value: 'maybe'. Supported values are: 'none', 'auto', and 'required'.",
        ),
    ),
    "unknown argument": (
        chat(temprature=1),
        (None, None, "Unrecognized request argument supplied: temprature"),
    ),
}

TRANSCRIPT: dict[str, tuple[dict[str, Any], Expected]] = {
    "result without call": (
        chat(messages=[USER, RESULT]),
        (
            "messages.[1].role",
            None,
            "Invalid parameter: messages with role 'tool' must be a response to a preceeding message with 'tool_calls'.",
        ),
    ),
    "result of another call": (
        chat(messages=[USER, ASKS, {**RESULT, "tool_call_id": "call_b"}]),
        (
            "messages.[2].tool_call_id",
            None,
            "Invalid parameter: 'tool_call_id' of 'call_b' not found in 'tool_calls' of previous message.",
        ),
    ),
    "call without result": (
        chat(messages=[USER, ASKS, USER]),
        (
            "messages.[2].role",
            None,
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The following tool_call_ids did not have response messages: call_a",
        ),
    ),
    "calls without results at the end": (
        chat(messages=[USER, {**ASKS, "tool_calls": [CALL, {**CALL, "id": "call_b"}]}]),
        (
            "messages.[1].role",
            None,
            "An assistant message with 'tool_calls' must be followed by tool messages responding to each 'tool_call_id'. The following tool_call_ids did not have response messages: call_a, call_b",
        ),
    ),
    "assistant that says nothing": (
        chat(messages=[USER, {"role": "assistant", "content": None}]),
        (
            "messages.[1].content",
            None,
            "Invalid value for 'content': expected a string, got null.",
        ),
    ),
    "choice without tools": (
        chat(tool_choice="auto"),
        (
            "tool_choice",
            None,
            "Invalid value for 'tool_choice': 'tool_choice' is only allowed when 'tools' are specified.",
        ),
    ),
    "parallel calls without tools": (
        chat(parallel_tool_calls=True),
        (
            "parallel_tool_calls",
            None,
            "Invalid value for 'parallel_tool_calls': 'parallel_tool_calls' is only allowed when 'tools' are specified.",
        ),
    ),
    "choice of a tool that is not offered": (
        chat(tools=[TOOL], tool_choice={"type": "function", "function": {"name": "g"}}),
        (
            "tool_choice",
            None,
            "Invalid value for 'tool_choice': no function named 'g' was specified in the 'tools' parameter.",
        ),
    ),
    "stream options without stream": (
        chat(stream_options={"include_usage": True}),
        (
            "stream_options",
            None,
            "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
        ),
    ),
    "JSON mode that nobody speaks of": (
        chat(response_format={"type": "json_object"}),
        (
            "messages",
            None,
            "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'.",
        ),
    ),
    "max_tokens of a reasoning model": (
        chat(model="o3", max_tokens=5),
        (
            "max_tokens",
            "unsupported_parameter",
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        ),
    ),
    "temperature of a reasoning model": (
        chat(model="gpt-5", temperature=0.2),
        (
            "temperature",
            None,
            "Unsupported parameter: 'temperature' is not supported with this model.",
        ),
    ),
    "instructions to a model that takes none": (
        chat(
            model="o1-mini-2024-09-12",
            messages=[
                {"role": "developer", "content": "Be kind."},
                {"role": "user", "content": "x"},
            ],
        ),
        (
            "messages[0].role",
            "unsupported_value",
            "Unsupported value: 'messages[0].role' does not support 'developer' with this model.",
        ),
    ),
    "a system prompt to a model that takes none": (
        chat(
            model="o1-preview",
            messages=[
                {"role": "user", "content": "x"},
                {"role": "system", "content": "Be kind."},
            ],
        ),
        (
            "messages[1].role",
            "unsupported_value",
            "Unsupported value: 'messages[1].role' does not support 'system' with this model.",
        ),
    ),
}

SCHEMAS: dict[str, tuple[dict[str, Any], Expected]] = {
    "open object": (
        chat(tools=[strict_tool({"type": "object", "properties": {}})]),
        (
            "tools[0].function.parameters",
            "invalid_function_parameters",
            "Invalid schema for function 'f': In context=(), 'additionalProperties' is required to be supplied and to be false.",
        ),
    ),
    "optional property": (
        chat(
            tools=[
                strict_tool(
                    {
                        "type": "object",
                        "properties": {"p": {"type": "string"}},
                        "required": [],
                        "additionalProperties": False,
                    }
                )
            ]
        ),
        (
            "tools[0].function.parameters",
            "invalid_function_parameters",
            "Invalid schema for function 'f': In context=(), 'required' is required to be supplied and to be an array including every key in properties. Missing 'p'.",
        ),
    ),
    "open object inside": (
        chat(
            tools=[
                strict_tool(
                    {
                        "type": "object",
                        "properties": {"p": {"type": "object"}},
                        "required": ["p"],
                        "additionalProperties": False,
                    }
                )
            ]
        ),
        (
            "tools[0].function.parameters",
            "invalid_function_parameters",
            "Invalid schema for function 'f': In context=('properties', 'p'), 'additionalProperties' is required to be supplied and to be false.",
        ),
    ),
    "no object": (
        chat(
            tools=[
                {
                    "type": "function",
                    "function": {"name": "f", "parameters": {"properties": {}}},
                }
            ]
        ),
        (
            "tools[0].function.parameters",
            "invalid_function_parameters",
            "Invalid schema for function 'f': schema must be a JSON Schema of 'type: \"object\"', got 'type: \"None\"'.",
        ),
    ),
    "response format": (
        chat(
            response_format={
                "type": "json_schema",
                "json_schema": {
                    "name": "W",
                    "strict": True,
                    "schema": {"type": "object"},
                },
            }
        ),
        (
            "response_format",
            None,
            "Invalid schema for response_format 'W': In context=(), 'additionalProperties' is required to be supplied and to be false.",
        ),
    ),
}


def test_strict_schemas_are_checked_to_the_bottom() -> None:
    """
    Items, alternatives and definitions of a strict schema are looked at, too.
    """
    closed: dict[str, Any] = {
        "type": "object",
        "properties": {},
        "required": [],
        "additionalProperties": False,
    }
    places: dict[str, dict[str, Any]] = {
        "('properties', 'a', 'items')": {"type": "array", "items": {"type": "object"}},
        "('properties', 'a', 'anyOf', '1')": {
            "anyOf": [{"type": "null"}, {"type": ["object", "null"]}]
        },
        "('properties', 'a', '$defs', 'x')": {"$defs": {"x": {"type": "object"}}},
    }

    for place, part in places.items():
        schema = {**closed, "properties": {"a": part}, "required": ["a"]}
        with pytest.raises(ApiError) as caught:
            parse_chat_request(orjson.dumps(chat(tools=[strict_tool(schema)])))
        assert f"In context={place}, 'additionalProperties'" in caught.value.message


ROWS = {**SHAPE, **TRANSCRIPT, **SCHEMAS}

GOOD: dict[str, dict[str, Any]] = {
    "least": chat(),
    "nulls": chat(
        temperature=None, tools=None, tool_choice=None, metadata=None, stop=None
    ),
    "tool loop": chat(messages=[USER, ASKS, RESULT], tools=[TOOL], tool_choice="auto"),
    "echo with unknown keys": chat(
        messages=[USER, {**ASKS, "annotations": [], "audio": None}, RESULT]
    ),
    "parts": chat(
        messages=[
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "what is this?"},
                    {"type": "image_url", "image_url": {"url": "data:,"}},
                ],
            }
        ]
    ),
    "strict tool": chat(
        tools=[
            strict_tool(
                {
                    "type": "object",
                    "properties": {"p": {"type": ["string", "null"]}},
                    "required": ["p"],
                    "additionalProperties": False,
                }
            )
        ],
        tool_choice={"type": "function", "function": {"name": "f"}},
        parallel_tool_calls=False,
    ),
    "custom tool": chat(tools=[{"type": "custom", "custom": {"name": "c"}}]),
    "allowed tools": chat(
        tools=[TOOL],
        tool_choice={
            "type": "allowed_tools",
            "allowed_tools": {
                "mode": "auto",
                "tools": [{"type": "function", "function": {"name": "f"}}],
            },
        },
    ),
    "no parameters": chat(tools=[{"type": "function", "function": {"name": "f"}}]),
    "empty parameters": chat(
        tools=[{"type": "function", "function": {"name": "f", "parameters": {}}}]
    ),
    "reasoning model": chat(model="gpt-5", max_completion_tokens=5, temperature=1),
    "everything": chat(
        frequency_penalty=0,
        presence_penalty=-2,
        logit_bias={"50256": -100},
        logprobs=True,
        top_logprobs=3,
        max_completion_tokens=100,
        metadata={"conversation": "c"},
        n=2,
        reasoning_effort="low",
        seed=7,
        service_tier="auto",
        stop=["a"],
        store=False,
        stream=True,
        stream_options={"include_usage": True, "include_obfuscation": False},
        temperature=0.7,
        top_p=1,
        user="u",
        verbosity="low",
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_refuses_in_the_words_of_the_api(name: str) -> None:
    """
    Each mistake has the status, type, param, code and message of the real API.
    """
    body, (param, code, message) = ROWS[name]

    with pytest.raises(ApiError) as caught:
        parse_chat_request(orjson.dumps(body))

    error = caught.value
    assert (error.status, error.type) == (400, "invalid_request_error")
    assert (error.param, error.code, error.message) == (param, code, message)


@pytest.mark.parametrize("name", GOOD)
def test_accepts_what_the_api_accepts(name: str) -> None:
    """
    Good requests pass, with nulls, echoes and every documented field.
    """
    request = parse_chat_request(orjson.dumps(GOOD[name]))

    assert request.model == GOOD[name]["model"]
    assert len(request.messages) == len(GOOD[name]["messages"])


@pytest.mark.parametrize("name", ROWS)
def test_loose_mode_accepts_mistakes(name: str) -> None:
    """
    With ``strict: false`` whatever is JSON is answered.
    """
    body, _ = ROWS[name]

    request = parse_chat_request(orjson.dumps(body), strict=False)

    assert isinstance(request.messages, list)


def test_unknown_model_is_not_found() -> None:
    """
    A model that does not exist is 404 ``model_not_found``.
    """
    with pytest.raises(ApiError) as caught:
        parse_chat_request(orjson.dumps(chat(model="gpt-9")), models=["gpt-4o"])

    error = caught.value
    assert (error.status, error.param, error.code) == (404, None, "model_not_found")
    assert error.message == (
        "The model `gpt-9` does not exist or you do not have access to it."
    )


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (chat(model="gpt-9", messages="hi"), "The model `gpt-9`"),
        (chat(messages=[RESULT], temperature=-1), "Invalid 'temperature'"),
        (
            chat(
                messages=[USER, RESULT],
                tools=[strict_tool({"type": "object", "properties": {}})],
            ),
            "Invalid parameter: messages with role 'tool'",
        ),
    ],
)
def test_checks_model_then_shape_then_transcript_then_schema(
    body: dict[str, Any], message: str
) -> None:
    """
    Of several mistakes the API names the one it looks for first.
    """
    with pytest.raises(ApiError) as caught:
        parse_chat_request(orjson.dumps(body), models=["gpt-4o"])

    assert caught.value.message.startswith(message)
