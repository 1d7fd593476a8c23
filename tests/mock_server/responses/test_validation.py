"""
What the Responses API refuses, and in which words.
"""

from typing import Any

import pytest

from mock_server import LoopClock
from mock_server.testing import RawAnswer, mock_in_test

pytestmark = pytest.mark.virtual_time

SCRIPT = "upstream: {models: [gpt-4o, gpt-5], script: [{reply: {text: Hi}}]}"
LOOSE = "upstream: {strict: false, script: [{reply: {text: Hi}}]}"
KEY = {"authorization": "Bearer sk-1"}
FOUR_KEYS = {"message", "type", "param", "code"}
FUNCTION: dict[str, Any] = {"type": "function", "name": "f"}
CALL: dict[str, Any] = {
    "type": "function_call",
    "call_id": "call_1",
    "name": "f",
    "arguments": "{}",
}
OUTPUT: dict[str, Any] = {
    "type": "function_call_output",
    "call_id": "call_1",
    "output": "fine",
}
OPEN_SCHEMA = {"type": "object", "properties": {"p": {"type": "string"}}}
CLOSED_SCHEMA = {**OPEN_SCHEMA, "additionalProperties": False}


def with_schema(schema: object) -> dict[str, Any]:
    """
    Return a request whose only tool has a strict schema.
    """
    return {"tools": [{**FUNCTION, "strict": True, "parameters": schema}]}


def with_format(**form: object) -> dict[str, Any]:
    """
    Return a request for a form of text.
    """
    return {"text": {"format": form}}


REFUSALS: list[tuple[dict[str, Any], str | None, str | None, str]] = [
    (
        {"model": "gpt-9"},
        "model",
        "model_not_found",
        "The requested model 'gpt-9' does not exist.",
    ),
    (
        {"model": None},
        "model",
        "missing_required_parameter",
        "Missing required parameter: 'model'.",
    ),
    (
        {"model": 4},
        "model",
        "invalid_type",
        "Invalid type for 'model': expected a string, but got an integer instead.",
    ),
    (
        {"input": None},
        "input",
        "missing_required_parameter",
        (
            "One of \"input\" or \"previous_response_id\" or 'prompt' or 'conversation' "
            "must be provided."
        ),
    ),
    (
        {"surprise": 1},
        "surprise",
        "unknown_parameter",
        "Unknown parameter: 'surprise'.",
    ),
    (
        {"input": [{k: v for k, v in CALL.items() if k != "arguments"}, OUTPUT]},
        "input[0].arguments",
        "missing_required_parameter",
        "Missing required parameter: 'input[0].arguments'.",
    ),
    (
        {"input": [{"role": "user"}]},
        "input[0].content",
        "missing_required_parameter",
        "Missing required parameter: 'input[0].content'.",
    ),
    (
        {"input": [{"text": "hello"}]},
        "input[0].type",
        "missing_required_parameter",
        "Missing required parameter: 'input[0].type'.",
    ),
    (
        {"input": [{"role": "robot", "content": "hello"}]},
        "input[0].role",
        "invalid_value",
        (
            "Invalid value: 'robot'. Supported values are: 'assistant', 'system', "
            "'developer', and 'user'."
        ),
    ),
    (
        {"input": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}]},
        "input[0].content[0].type",
        "invalid_value",
        (
            "Invalid value: 'text'. Supported values are: 'input_text', 'input_image', "
            "'input_file', and 'input_audio'."
        ),
    ),
    (
        {"input": 5},
        "input",
        "invalid_type",
        (
            "Invalid type for 'input': expected one of a string or array of objects, but "
            "got an integer instead."
        ),
    ),
    (
        {"tools": [{"type": "function", "function": {"name": "f"}}]},
        "tools[0].name",
        "missing_required_parameter",
        "Missing required parameter: 'tools[0].name'.",
    ),
    (
        {"tools": [{"name": "f"}]},
        "tools[0].type",
        "missing_required_parameter",
        "Missing required parameter: 'tools[0].type'.",
    ),
    (
        {"temperature": -1},
        "temperature",
        "decimal_below_min_value",
        (
            "Invalid 'temperature': decimal below minimum value. Expected a value >= 0, "
            "but got -1 instead."
        ),
    ),
    (
        {"max_output_tokens": 1},
        "max_output_tokens",
        "integer_below_min_value",
        (
            "Invalid 'max_output_tokens': integer below minimum value. Expected a value "
            ">= 16, but got 1 instead."
        ),
    ),
    (
        {"model": "gpt-5", "temperature": 0.5},
        "temperature",
        None,
        "Unsupported parameter: 'temperature' is not supported with this model.",
    ),
    (
        {"stream_options": {"include_obfuscation": False}},
        "stream_options",
        None,
        "The 'stream_options' parameter is only allowed when 'stream' is enabled.",
    ),
    (
        {"input": [OUTPUT]},
        "input",
        None,
        "No tool call found for function call output with call_id call_1.",
    ),
    (
        {"input": [OUTPUT, CALL]},
        "input",
        None,
        "No tool call found for function call output with call_id call_1.",
    ),
    (
        {"input": [CALL]},
        "input",
        None,
        "No tool output found for function call call_1.",
    ),
    (
        {
            "input": [
                {
                    "type": "custom_tool_call",
                    "call_id": "c",
                    "name": "f",
                    "input": "",
                }
            ]
        },
        "input",
        None,
        "No tool output found for custom tool call c.",
    ),
    (
        {"previous_response_id": "resp_X"},
        "previous_response_id",
        "previous_response_not_found",
        "Previous response with id 'resp_X' not found.",
    ),
    (
        {"previous_response_id": "resp_X", "conversation": "conv_X"},
        None,
        "mutually_exclusive_parameters",
        (
            "Mutually exclusive parameters: 'previous_response_id' and 'conversation'. "
            "Ensure you are only providing one of them."
        ),
    ),
    (
        {"tool_choice": "required"},
        "tool_choice",
        None,
        "Tool choice 'required' must be specified with 'tools' parameter.",
    ),
    (
        {"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "g"}},
        "tool_choice",
        None,
        "Tool choice 'function' not found in 'tools' parameter.",
    ),
    (
        {
            "tools": [FUNCTION],
            "tool_choice": {
                "type": "allowed_tools",
                "mode": "auto",
                "tools": [FUNCTION, {"type": "function", "name": "g"}],
            },
        },
        "tool_choice",
        None,
        "Tool choice 'allowed_tools' not found in 'tools' parameter.",
    ),
    (
        {"tool_choice": "sometimes"},
        "tool_choice",
        "invalid_value",
        (
            "Invalid value: 'sometimes'. Supported values are: 'none', 'auto', and "
            "'required'."
        ),
    ),
    (
        with_schema(OPEN_SCHEMA),
        "tools[0].parameters",
        "invalid_function_parameters",
        (
            "Invalid schema for function 'f': In context=(), 'additionalProperties' is "
            "required to be supplied and to be false."
        ),
    ),
    (
        with_schema(CLOSED_SCHEMA),
        "tools[0].parameters",
        "invalid_function_parameters",
        (
            "Invalid schema for function 'f': In context=(), 'required' is required to be "
            "supplied and to be an array including every key in properties. Missing 'p'."
        ),
    ),
    (
        with_format(type="json_schema", name="w", strict=True, schema=OPEN_SCHEMA),
        "text.format.schema",
        "invalid_json_schema",
        (
            "Invalid schema for response_format 'w': In context=(), "
            "'additionalProperties' is required to be supplied and to be false."
        ),
    ),
    (
        with_format(type="json_schema", name="w"),
        "text.format.schema",
        "missing_required_parameter",
        "Missing required parameter: 'text.format.schema'.",
    ),
    (
        with_format(type="json_object"),
        "input",
        None,
        (
            "Response input messages must contain the word 'json' in some form to use "
            "'text.format' of type 'json_object'."
        ),
    ),
]


async def ask(clock: LoopClock, body: dict[str, Any], script: str) -> RawAnswer:
    """
    Return the answer to a request that differs so from one that is fine.
    """
    request = {"model": "gpt-4o", "input": "hello", **body}
    async with mock_in_test(script, clock=clock) as mock:
        return await mock.send("POST", "/v1/responses", request, headers=KEY)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("body", "param", "code", "message"), REFUSALS, ids=[r[3][:60] for r in REFUSALS]
)
async def test_refusals(
    body: dict[str, Any],
    param: str | None,
    code: str | None,
    message: str,
    clock: LoopClock,
    *,
    stream: bool,
) -> None:
    """
    A mistake is refused with the API's own status, path, code and words.
    """
    if stream and "stream_options" in body:
        body = {**body, "stream_options": {}, "temperature": -1}
        param, code = "temperature", "decimal_below_min_value"
        message = (
            "Invalid 'temperature': decimal below minimum value. Expected a value >= "
            "0, but got -1 instead."
        )
    answer = await ask(clock, {**body, "stream": stream}, SCRIPT)

    assert answer.status == 400
    assert answer.headers["content-type"] == "application/json"
    error = answer.json["error"]
    assert set(error) == FOUR_KEYS
    assert error["type"] == "invalid_request_error"
    assert (error["message"], error["param"], error["code"]) == (message, param, code)


@pytest.mark.parametrize(
    "body",
    [
        {"tool_choice": "auto"},
        {"tool_choice": "none"},
        {"tools": [{"type": "web_search"}], "tool_choice": {"type": "web_search"}},
        {"tools": [{**FUNCTION, "parameters": OPEN_SCHEMA}]},
        {"tools": [{**FUNCTION, "parameters": OPEN_SCHEMA, "strict": False}]},
        {"tools": [{"type": "namespace", "name": "n", "tools": [FUNCTION]}]},
        {"input": [CALL, OUTPUT]},
        {"input": [{**CALL, "id": None, "status": None}, {**OUTPUT, "id": "x"}]},
        {"input": [CALL, {**OUTPUT, "output": [{"type": "input_text", "text": "x"}]}]},
        {"input": [{"type": "mystery", "anything": 1}]},
        {"input": [{"role": "user", "content": "hi", "phase": "final_answer"}]},
        {"input": "Say json", "text": {"format": {"type": "json_object"}}},
        {"input": [], "instructions": "Be kind."},
        {"include": [], "service_tier": "ultrafast", "truncation": "auto"},
        {"reasoning": {"effort": "low", "summary": None}, "metadata": {"a": "b"}},
        {"temperature": None, "tools": [], "metadata": None},
    ],
    ids=repr,
)
async def test_accepts_what_clients_send(
    body: dict[str, Any], clock: LoopClock
) -> None:
    """
    What real clients send is fine.
    """
    answer = await ask(clock, body, SCRIPT)

    assert answer.status == 200, answer.body


@pytest.mark.parametrize(
    "body", [refusal[0] for refusal in REFUSALS], ids=[r[3][:60] for r in REFUSALS]
)
async def test_loose_mock_answers_what_it_can(
    body: dict[str, Any], clock: LoopClock
) -> None:
    """
    Without ``strict`` only what cannot be found is refused.
    """
    answer = await ask(clock, body, LOOSE)

    is_unknown = "previous_response_id" in body
    assert answer.status == (400 if is_unknown else 200)


async def test_loose_mock_survives_names_that_are_none(clock: LoopClock) -> None:
    """
    What should be a tool's name and is none is nobody's name.
    """
    choice = {"type": "allowed_tools", "mode": "auto", "tools": [{"name": ["f"]}]}
    answer = await ask(clock, {"tool_choice": choice}, LOOSE)

    assert answer.status == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"[" * 100_000,
        b'{"model":NaN}',
        b'{"model":"\xff"}',
        b'{"model":"gpt-4o","input":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    ],
    ids=lambda body: repr(body[:30]),
)
@pytest.mark.parametrize("path", ["/v1/responses", "/v1/responses/input_tokens"])
async def test_garbage_is_a_bad_request(
    body: bytes, path: str, clock: LoopClock
) -> None:
    """
    Whatever the body is, the answer is an error of the API and never a 500.
    """
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.send("POST", path, body, headers=KEY)

    assert answer.status == 400
    assert set(answer.json["error"]) == FOUR_KEYS


@pytest.mark.parametrize(("depth", "status"), [(60, 200), (300, 200), (900, 400)])
async def test_deep_values_are_echoed(
    depth: int, status: int, clock: LoopClock
) -> None:
    """
    A schema that is deeper than the quick encoder goes breaks nothing.
    """
    inner = '{"type":"object","properties":{"p":' * depth + "{}" + "}}" * depth
    body = (
        '{"model":"gpt-4o","input":"hi","tools":'
        f'[{{"type":"function","name":"f","parameters":{inner}}}]}}'
    )
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.send("POST", "/v1/responses", body.encode(), headers=KEY)

    assert answer.status == status


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/v1/responses", 405),
        ("PUT", "/v1/responses/resp_1", 405),
        ("GET", "/v1/responses/resp_1", 404),
        ("POST", "/v1/responses/resp_1/cancel", 404),
        ("DELETE", "/v1/responses/resp_1", 404),
        ("GET", "/v1/responses/resp_1/input_items", 404),
        ("GET", "/v1/responses/resp_1/nothing", 404),
        ("GET", "/v1/conversations/conv_1", 404),
        ("GET", "/v1/conversations/conv_1/items", 404),
        ("GET", "/v1/webhook_endpoints/we_1", 404),
        ("POST", "/v1/webhook_endpoints/we_1/test", 404),
        ("DELETE", "/v1/webhook_event_types", 405),
    ],
)
@pytest.mark.parametrize("key", [None, "sk-1"])
async def test_what_is_not_there(
    method: str, path: str, status: int, key: str | None, clock: LoopClock
) -> None:
    """
    Unknown ids and other methods are errors of the API; without a key, 401.
    """
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    async with mock_in_test(SCRIPT, clock=clock) as mock:
        answer = await mock.send(method, path, headers=headers)

    assert answer.status == (401 if key is None else status)
    assert set(answer.json["error"]) == FOUR_KEYS
