"""
A Responses request as the chat that says the same.

Rules, templates and token counts know chats only: so one script serves both APIs, and
what a rule matches is the same in both.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from msgspec import Raw

from mock_server.encoding import to_json_bytes
from mock_server.wire.request import (
    AllowedTools,
    AllowedToolsChoice,
    AssistantMessage,
    Call,
    ChatRequest,
    CustomCall,
    CustomChoice,
    CustomDefinition,
    CustomTool,
    DeveloperMessage,
    FunctionCall,
    FunctionChoice,
    FunctionDefinition,
    FunctionOfCall,
    FunctionTool,
    InputOfCall,
    JsonObjectFormat,
    JsonSchemaFormat,
    JsonSchemaResponseFormat,
    Message,
    NamedTool,
    ResponseFormat,
    StreamOptions,
    SystemMessage,
    Tool,
    ToolChoice,
    ToolMessage,
    UserMessage,
)
from mock_server.wire.responses.request import (
    CALLS,
    OUTPUTS,
    Item,
    ResponsesRequest,
    kind_of,
    text_of_parts,
)


def chat_of(request: ResponsesRequest, items: Sequence[Item]) -> ChatRequest:
    """
    Return the chat that a request stands for.

    Args:
        request: What was asked.
        items: All that the model reads, what was stored earlier included.
    """
    fields = request.fields
    tools = list(map(_tool, filter(_is_called, request.tools)))
    reasoning = fields.get("reasoning") or {}
    return ChatRequest(
        model=request.model,
        messages=[*_instructions(fields.get("instructions")), *_messages(items)],
        max_completion_tokens=fields.get("max_output_tokens"),
        metadata=fields.get("metadata"),
        parallel_tool_calls=fields.get("parallel_tool_calls"),
        reasoning_effort=reasoning.get("effort"),
        response_format=_format(request.text_format),
        stream=request.streams,
        stream_options=StreamOptions(include_usage=True) if request.streams else None,
        temperature=fields.get("temperature"),
        tool_choice=_choice(fields.get("tool_choice")),
        tools=tools or None,
        top_p=fields.get("top_p"),
        user=fields.get("user"),
    )


def _instructions(instructions: Any) -> Iterator[Message]:
    if isinstance(instructions, str):
        yield SystemMessage(content=instructions)


def _messages(items: Sequence[Item]) -> Iterator[Message]:
    """
    Return the messages; what the model said in one go is one of them.
    """
    said: AssistantMessage | None = None
    for item in items:
        kind = kind_of(item)
        if kind in CALLS or (kind == "message" and item["role"] == "assistant"):
            if said is not None and kind == "message":
                yield said
                said = None
            said = said or AssistantMessage()
            _add(said, item, kind)
            continue
        message = _message(item, kind)
        if message is not None:
            if said is not None:
                yield said
                said = None
            yield message
    if said is not None:
        yield said


def _add(said: AssistantMessage, item: Item, kind: str) -> None:
    if kind in CALLS:
        said.tool_calls = [*(said.tool_calls or ()), _call(item, kind)]
        return
    parts = item["content"] if isinstance(item["content"], list) else []
    refusals = [part["refusal"] for part in parts if "refusal" in part]
    if refusals:
        said.refusal = "".join(refusals)
    text = text_of_parts(item["content"])
    if text or not refusals:
        said.content = text


def _call(item: Item, kind: str) -> Call:
    if kind == "custom_tool_call":
        given = InputOfCall(name=item["name"], input=item["input"])
        return CustomCall(id=item["call_id"], custom=given)
    function = FunctionOfCall(name=item["name"], arguments=item["arguments"])
    return FunctionCall(id=item["call_id"], function=function)


def _message(item: Item, kind: str) -> Message | None:
    """
    Return a message of anybody but the model; None for what no chat has.
    """
    if kind in OUTPUTS:
        text = text_of_parts(item["output"])
        return ToolMessage(content=text, tool_call_id=item["call_id"])
    if kind != "message":
        return None
    text = text_of_parts(item["content"])
    match item["role"]:
        case "system":
            return SystemMessage(content=text)
        case "developer":
            return DeveloperMessage(content=text)
        case _:
            return UserMessage(content=text)


def _is_called(tool: Item) -> bool:
    """
    Say whether a tool is one that the caller runs.
    """
    return tool.get("type") in {"function", "custom"} and "name" in tool


def _tool(tool: Item) -> Tool:
    if tool["type"] == "custom":
        return CustomTool(
            custom=CustomDefinition(
                name=tool["name"],
                description=tool.get("description"),
                format=tool.get("format"),
            )
        )
    schema = tool.get("parameters")
    return FunctionTool(
        function=FunctionDefinition(
            name=tool["name"],
            description=tool.get("description"),
            parameters=Raw() if schema is None else Raw(to_json_bytes(schema)),
            strict=tool.get("strict"),
        )
    )


def _choice(choice: Any) -> ToolChoice | None:
    if not isinstance(choice, Mapping):
        return choice if choice in {"none", "auto", "required"} else None
    match choice.get("type"):
        case "function":
            return FunctionChoice(function=NamedTool(name=choice["name"]))
        case "custom":
            return CustomChoice(custom=NamedTool(name=choice["name"]))
        case "allowed_tools":
            allowed = AllowedTools(mode=choice["mode"], tools=list(choice["tools"]))
            return AllowedToolsChoice(allowed_tools=allowed)
        case _:
            # A hosted tool is nothing that the caller would run.
            return None


def _format(form: Item) -> ResponseFormat | None:
    match form.get("type"):
        case "json_object":
            return JsonObjectFormat()
        case "json_schema":
            return JsonSchemaResponseFormat(
                json_schema=JsonSchemaFormat(
                    name=form["name"],
                    description=form.get("description"),
                    schema=Raw(to_json_bytes(form["schema"])),
                    strict=form.get("strict"),
                )
            )
        case _:
            return None
