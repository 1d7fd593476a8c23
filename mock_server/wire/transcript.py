"""
What the API asks of a request as a whole, beyond the shape of its parts.

Tool results need their calls and calls their results; choices need tools; some models
do not take some parameters.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from mock_server.wire.errors import ApiError
from mock_server.wire.request import (
    AllowedToolsChoice,
    AssistantMessage,
    ChatRequest,
    CustomChoice,
    DeveloperMessage,
    FunctionChoice,
    FunctionTool,
    JsonObjectFormat,
    Message,
    SystemMessage,
    Tool,
    ToolMessage,
    text_of,
)

_REASONING_MODEL = re.compile(r"(o\d|gpt-5(?!.*chat))")
_MODEL_WITHOUT_INSTRUCTIONS = re.compile(r"o1-(mini|preview)")
_INSTRUCTING = {SystemMessage: "system", DeveloperMessage: "developer"}
_DEFAULT_TEMPERATURE = 1.0
_MODELS_KEPT_MAX = 256


def check_transcript(messages: Sequence[Message]) -> None:
    """
    Refuse tool results without their call, and calls without their results.

    Raises:
        ApiError: The first mistake.
    """
    called: dict[str, bool] = {}
    called_index = 0
    for index, message in enumerate(messages):
        # For each message of each request: isinstance asks a struct's metaclass too.
        if type(message) is ToolMessage:
            if not called:
                raise _result_without_call(index)
            if message.tool_call_id not in called:
                raise _result_of_unknown_call(index, message.tool_call_id)
            called[message.tool_call_id] = True
            continue
        if called:
            _check_answered(called, index)
            called = {}
        if type(message) is AssistantMessage:
            if message.tool_calls:
                called = {call.id: False for call in message.tool_calls}
                called_index = index
            elif _says_nothing(message):
                text = "Invalid value for 'content': expected a string, got null."
                raise ApiError(text, param=f"messages.[{index}].content")
    if called:
        _check_answered(called, called_index)


def check_parameters(request: ChatRequest) -> None:
    """
    Refuse parameters that need others, or that the model does not take.

    Raises:
        ApiError: The first mistake.
    """
    if request.tools is None:
        for name in ("tool_choice", "parallel_tool_calls"):
            if getattr(request, name) is not None:
                text = (
                    f"Invalid value for '{name}': '{name}' is only allowed when "
                    "'tools' are specified."
                )
                raise ApiError(text, param=name)
    else:
        _check_choice(request, request.tools)
    if request.stream_options is not None and not request.stream:
        text = (
            "The 'stream_options' parameter is only allowed when 'stream' is enabled."
        )
        raise ApiError(text, param="stream_options")
    if request.top_logprobs is not None and not request.logprobs:
        text = (
            "The 'top_logprobs' parameter is only allowed when 'logprobs' is enabled."
        )
        raise ApiError(text, param="top_logprobs")
    if isinstance(request.response_format, JsonObjectFormat):
        _check_says_json(request.messages)
    if is_reasoning_model(request.model):
        _check_reasoning_model(request)


@lru_cache(_MODELS_KEPT_MAX)
def is_reasoning_model(model: str) -> bool:
    """
    Say whether a model of that name thinks before it answers.
    """
    return _REASONING_MODEL.match(model) is not None


def _says_nothing(message: AssistantMessage) -> bool:
    return (
        message.content is None
        and message.refusal is None
        and message.function_call is None
        and message.audio is None
    )


def _check_answered(called: dict[str, bool], index: int) -> None:
    unanswered = [call_id for call_id, answered in called.items() if not answered]
    if unanswered:
        text = (
            "An assistant message with 'tool_calls' must be followed by tool messages "
            "responding to each 'tool_call_id'. The following tool_call_ids did not "
            f"have response messages: {', '.join(unanswered)}"
        )
        raise ApiError(text, param=f"messages.[{index}].role")


def _result_without_call(index: int) -> ApiError:
    # "preceeding" and the dot before the bracket are the API's own.
    text = (
        "Invalid parameter: messages with role 'tool' must be a response to a "
        "preceeding message with 'tool_calls'."
    )
    return ApiError(text, param=f"messages.[{index}].role")


def _result_of_unknown_call(index: int, tool_call_id: str) -> ApiError:
    text = (
        f"Invalid parameter: 'tool_call_id' of '{tool_call_id}' not found in "
        "'tool_calls' of previous message."
    )
    return ApiError(text, param=f"messages.[{index}].tool_call_id")


def _check_choice(request: ChatRequest, tools: Sequence[Tool]) -> None:
    match request.tool_choice:
        case None:
            return
        case FunctionChoice(function=chosen):
            names = {t.function.name for t in tools if isinstance(t, FunctionTool)}
        case CustomChoice(custom=chosen):
            names = {t.custom.name for t in tools if not isinstance(t, FunctionTool)}
        case AllowedToolsChoice(allowed_tools=allowed):
            _check_allowed(allowed.tools, tools)
            return
        case _:
            return
    if chosen.name not in names:
        text = (
            f"Invalid value for 'tool_choice': no function named '{chosen.name}' was "
            "specified in the 'tools' parameter."
        )
        raise ApiError(text, param="tool_choice")


def _check_allowed(allowed: Sequence[dict[str, Any]], tools: Sequence[Tool]) -> None:
    offered = {
        ("function", tool.function.name)
        if isinstance(tool, FunctionTool)
        else ("custom", tool.custom.name)
        for tool in tools
    }
    for index, tool in enumerate(allowed):
        kind = tool.get("type")
        named = tool.get(str(kind))
        name = named.get("name") if isinstance(named, dict) else None
        if (kind, name) not in offered:
            path = f"tool_choice.allowed_tools.tools[{index}]"
            text = (
                f"Invalid value for '{path}': no {kind} named '{name}' was specified "
                "in the 'tools' parameter."
            )
            raise ApiError(text, param=path)


def _check_says_json(messages: Sequence[Message]) -> None:
    if not any("json" in text_of(message.content).lower() for message in messages):
        text = (
            "'messages' must contain the word 'json' in some form, to use "
            "'response_format' of type 'json_object'."
        )
        raise ApiError(text, param="messages")


def _check_reasoning_model(request: ChatRequest) -> None:
    if _MODEL_WITHOUT_INSTRUCTIONS.match(request.model):
        _check_no_instructions(request.messages)
    if request.max_tokens is not None:
        text = (
            "Unsupported parameter: 'max_tokens' is not supported with this model. "
            "Use 'max_completion_tokens' instead."
        )
        raise ApiError(text, param="max_tokens", code="unsupported_parameter")
    if request.temperature not in {None, _DEFAULT_TEMPERATURE}:
        text = "Unsupported parameter: 'temperature' is not supported with this model."
        raise ApiError(text, param="temperature")


def _check_no_instructions(messages: Sequence[Message]) -> None:
    for index, message in enumerate(messages):
        role = _INSTRUCTING.get(type(message))
        if role is not None:
            path = f"messages[{index}].role"
            text = (
                f"Unsupported value: '{path}' does not support '{role}' with this "
                "model."
            )
            raise ApiError(text, param=path, code="unsupported_value")
