"""
What the API asks of a Responses request as a whole, beyond the shape of its parts.
"""

from collections.abc import Sequence

from mock_server.encoding import to_json_bytes
from mock_server.wire.errors import ApiError
from mock_server.wire.responses.request import (
    CALLS,
    OUTPUTS,
    Item,
    ResponsesRequest,
    kind_of,
    text_of_parts,
)
from mock_server.wire.strict_schema import find_problem
from mock_server.wire.transcript import is_reasoning_model

_DEFAULT_TEMPERATURE = 1.0
_NAMED_KINDS = frozenset({"function", "custom"})


def check_transcript(items: Sequence[Item]) -> None:
    """
    Refuse results without their call, and calls without their results.

    Args:
        items: All that the model reads, what was stored earlier included.

    Raises:
        ApiError: The first mistake.
    """
    waiting: dict[tuple[str, str], bool] = {}
    for item in items:
        kind, call_id = kind_of(item), item.get("call_id")
        if kind in CALLS and call_id is not None:
            waiting[kind, call_id] = True
        elif kind in OUTPUTS and call_id is not None:
            called = (OUTPUTS[kind], call_id)
            if called not in waiting:
                words = CALLS[OUTPUTS[kind]]
                message = (
                    f"No tool call found for {words} output with call_id {call_id}."
                )
                raise ApiError(message, param="input")
            waiting[called] = False
    for (kind, call_id), is_waiting in waiting.items():
        if is_waiting:
            message = f"No tool output found for {CALLS[kind]} {call_id}."
            raise ApiError(message, param="input")


def check_parameters(request: ResponsesRequest) -> None:
    """
    Refuse parameters that exclude or need others, or that the model does not take.

    Raises:
        ApiError: The first mistake.
    """
    fields = request.fields
    if request.previous_response_id and request.conversation_id:
        message = (
            "Mutually exclusive parameters: 'previous_response_id' and "
            "'conversation'. Ensure you are only providing one of them."
        )
        raise ApiError(message, code="mutually_exclusive_parameters")
    sources = {"input", "previous_response_id", "prompt", "conversation"}
    if not sources & fields.keys():
        message = (
            'One of "input" or "previous_response_id" or \'prompt\' or '
            "'conversation' must be provided."
        )
        raise ApiError(message, param="input", code="missing_required_parameter")
    if "stream_options" in fields and not request.streams:
        message = (
            "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        )
        raise ApiError(message, param="stream_options")
    temperature = fields.get("temperature")
    if is_reasoning_model(request.model) and temperature not in {
        None,
        _DEFAULT_TEMPERATURE,
    }:
        text = "Unsupported parameter: 'temperature' is not supported with this model."
        raise ApiError(text, param="temperature")
    _check_choice(request)


def check_says_json(request: ResponsesRequest, items: Sequence[Item]) -> None:
    """
    Refuse to ask for JSON without a word of it.

    Raises:
        ApiError: Nothing that the model reads says "json".
    """
    if request.text_format.get("type") != "json_object":
        return
    texts = [str(request.fields.get("instructions") or "")]
    texts += [text_of_parts(item.get("content")) for item in items]
    if not any("json" in text.lower() for text in texts):
        message = (
            "Response input messages must contain the word 'json' in some form to use "
            "'text.format' of type 'json_object'."
        )
        raise ApiError(message, param="input")


def check_schemas(request: ResponsesRequest) -> None:
    """
    Refuse schemas that the API refuses.

    Raises:
        ApiError: The first mistake.
    """
    for path, tool in request.placed_tools:
        if tool.get("type") != "function":
            continue
        problem = _problem_of(tool.get("parameters"), tool.get("strict"))
        if problem is not None:
            text = f"Invalid schema for function '{tool['name']}': {problem}"
            code = "invalid_function_parameters"
            raise ApiError(text, param=f"{path}.parameters", code=code)
    form = request.text_format
    if form.get("type") == "json_schema":
        problem = _problem_of(form.get("schema"), form.get("strict"))
        if problem is not None:
            text = f"Invalid schema for response_format '{form['name']}': {problem}"
            code = "invalid_json_schema"
            raise ApiError(text, param="text.format.schema", code=code)


def _problem_of(schema: object, strict: object) -> str | None:
    if schema is None:
        return None
    return find_problem(to_json_bytes(schema), bool(strict))


def _check_choice(request: ResponsesRequest) -> None:
    choice = request.fields.get("tool_choice")
    if choice == "required" and not request.tools:
        message = "Tool choice 'required' must be specified with 'tools' parameter."
        raise ApiError(message, param="tool_choice")
    if not isinstance(choice, dict):
        return
    wanted = choice["tools"] if choice["type"] == "allowed_tools" else [choice]
    if not all(_is_offered(tool, request.tools) for tool in wanted):
        message = f"Tool choice '{choice['type']}' not found in 'tools' parameter."
        raise ApiError(message, param="tool_choice")


def _is_offered(wanted: Item, tools: Sequence[Item]) -> bool:
    kind = wanted.get("type")
    return any(
        tool.get("type") == kind
        and (kind not in _NAMED_KINDS or tool.get("name") == wanted.get("name"))
        for tool in tools
    )
