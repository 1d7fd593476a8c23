"""
A Chat Completions request as typed values.

The decoder accepts exactly what the API accepts; what it refuses is looked at again
by :mod:`mock_server.wire.shape`, which is slower and knows the API's words for it.
"""

from typing import Annotated, Any, Literal

from msgspec import Meta, Raw, Struct

NAME_PATTERN = r"^[a-zA-Z0-9_-]+$"
NAME_LENGTH_MAX = 64

Name = Annotated[str, Meta(min_length=1, max_length=64, pattern=NAME_PATTERN)]
Penalty = Annotated[float, Meta(ge=-2, le=2)]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]
Tier = Literal["auto", "default", "flex", "scale", "priority", "fast"]


class TextPart(Struct, tag_field="type", tag="text"):
    """
    Text within a message's content.
    """

    text: str


class RefusalPart(Struct, tag_field="type", tag="refusal"):
    """
    A refusal within an assistant message's content.
    """

    refusal: str


class ImageUrl(Struct):
    """
    Where an image is.
    """

    url: str
    detail: Literal["auto", "low", "high", "original"] | None = None


class ImagePart(Struct, tag_field="type", tag="image_url"):
    """
    An image within a user message's content.
    """

    image_url: ImageUrl


class InputAudio(Struct):
    """
    Sound, in base64.
    """

    data: str
    format: Literal["wav", "mp3"]


class AudioPart(Struct, tag_field="type", tag="input_audio"):
    """
    Sound within a user message's content.
    """

    input_audio: InputAudio


class FilePart(Struct, tag_field="type", tag="file"):
    """
    A file within a user message's content.
    """

    file: dict[str, Any]


TextContent = str | list[TextPart]
UserPart = TextPart | ImagePart | AudioPart | FilePart
AssistantPart = TextPart | RefusalPart


class FunctionOfCall(Struct):
    """
    Which function a call is for, and the arguments as text.
    """

    name: str
    arguments: str


class FunctionCall(Struct, tag_field="type", tag="function"):
    """
    A call of a function tool in an assistant message.
    """

    id: str
    function: FunctionOfCall


class InputOfCall(Struct):
    """
    Which custom tool a call is for, and its free input.
    """

    name: str
    input: str


class CustomCall(Struct, tag_field="type", tag="custom"):
    """
    A call of a custom tool in an assistant message.
    """

    id: str
    custom: InputOfCall


Call = FunctionCall | CustomCall


class SystemMessage(Struct, tag_field="role", tag="system"):
    """
    What the application tells the model.
    """

    content: TextContent
    name: str | None = None


class DeveloperMessage(Struct, tag_field="role", tag="developer"):
    """
    What the application tells a reasoning model.
    """

    content: TextContent
    name: str | None = None


class UserMessage(Struct, tag_field="role", tag="user"):
    """
    What the user says.
    """

    content: str | list[UserPart]
    name: str | None = None


class AssistantMessage(Struct, tag_field="role", tag="assistant"):
    """
    What the model said.
    """

    content: str | list[AssistantPart] | None = None
    refusal: str | None = None
    tool_calls: Annotated[list[Call], Meta(min_length=1)] | None = None
    function_call: FunctionOfCall | None = None
    audio: dict[str, Any] | None = None
    name: str | None = None


class ToolMessage(Struct, tag_field="role", tag="tool"):
    """
    What a tool answered.
    """

    content: TextContent
    tool_call_id: str


class FunctionMessage(Struct, tag_field="role", tag="function"):
    """
    What a function answered, in the oldest form.
    """

    content: str | None
    name: str


Message = (
    SystemMessage
    | DeveloperMessage
    | UserMessage
    | AssistantMessage
    | ToolMessage
    | FunctionMessage
)


class FunctionDefinition(Struct):
    """
    A function that is offered to the model.
    """

    name: Name
    description: str | None = None
    parameters: Raw = Raw()
    """Its JSON Schema, as bytes: most requests never look inside."""

    strict: bool | None = None


class FunctionTool(Struct, tag_field="type", tag="function"):
    """
    A function tool that is offered.
    """

    function: FunctionDefinition


class CustomDefinition(Struct):
    """
    A custom tool that is offered to the model.
    """

    name: Name
    description: str | None = None
    format: dict[str, Any] | None = None


class CustomTool(Struct, tag_field="type", tag="custom"):
    """
    A custom tool that is offered.
    """

    custom: CustomDefinition


Tool = FunctionTool | CustomTool


class NamedTool(Struct):
    """
    A tool by its name.
    """

    name: str


class FunctionChoice(Struct, tag_field="type", tag="function"):
    """
    This function and no other.
    """

    function: NamedTool


class CustomChoice(Struct, tag_field="type", tag="custom"):
    """
    This custom tool and no other.
    """

    custom: NamedTool


class AllowedTools(Struct):
    """
    Some of the offered tools.
    """

    mode: Literal["auto", "required"]
    tools: list[dict[str, Any]]


class AllowedToolsChoice(Struct, tag_field="type", tag="allowed_tools"):
    """
    Only some of the offered tools.
    """

    allowed_tools: AllowedTools


ToolChoice = (
    Literal["none", "auto", "required"]
    | FunctionChoice
    | CustomChoice
    | AllowedToolsChoice
)


class JsonSchemaFormat(Struct):
    """
    The schema that the answer must follow.
    """

    name: Name
    description: str | None = None
    schema: Raw = Raw()
    strict: bool | None = None


class TextFormat(Struct, tag_field="type", tag="text"):
    """
    Free text.
    """


class JsonObjectFormat(Struct, tag_field="type", tag="json_object"):
    """
    Any JSON object.
    """


class JsonSchemaResponseFormat(Struct, tag_field="type", tag="json_schema"):
    """
    JSON that follows a schema.
    """

    json_schema: JsonSchemaFormat


ResponseFormat = TextFormat | JsonObjectFormat | JsonSchemaResponseFormat


class StreamOptions(Struct):
    """
    What a stream holds besides the answer.
    """

    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ChatRequest(Struct, forbid_unknown_fields=True, kw_only=True):
    """
    The body of ``POST /v1/chat/completions``.
    """

    model: Annotated[str, Meta(min_length=1)]
    messages: Annotated[list[Message], Meta(min_length=1)]
    audio: dict[str, Any] | None = None
    frequency_penalty: Penalty | None = None
    function_call: Literal["none", "auto"] | NamedTool | None = None
    functions: list[FunctionDefinition] | None = None
    logit_bias: dict[str, Annotated[int, Meta(ge=-100, le=100)]] | None = None
    logprobs: bool | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    metadata: (
        Annotated[
            dict[
                Annotated[str, Meta(max_length=64)],
                Annotated[str, Meta(max_length=512)],
            ],
            Meta(max_length=16),
        ]
        | None
    ) = None
    modalities: list[Literal["text", "audio"]] | None = None
    moderation: Any = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    parallel_tool_calls: bool | None = None
    prediction: dict[str, Any] | None = None
    presence_penalty: Penalty | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: dict[str, Any] | None = None
    prompt_cache_retention: str | None = None
    reasoning_effort: Effort | None = None
    response_format: ResponseFormat | None = None
    safety_identifier: str | None = None
    seed: int | None = None
    service_tier: Tier | None = None
    stop: str | Annotated[list[str], Meta(max_length=4)] | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    tool_choice: ToolChoice | None = None
    tools: Annotated[list[Tool], Meta(min_length=1, max_length=128)] | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    user: str | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    web_search_options: dict[str, Any] | None = None


def text_of(content: str | list[Any] | None) -> str:
    """
    Return the text of a content: the text parts joined, anything else left out.
    """
    if type(content) is str:
        return content
    if content is None:
        return ""
    return "".join(part.text for part in content if isinstance(part, TextPart))
