"""
The shape of a Chat Completions request.
"""

from typing import Any

from mock_server.wire.errors import ApiError
from mock_server.wire.request import NAME_LENGTH_MAX, NAME_PATTERN
from mock_server.wire.shape import (
    Anything,
    Array,
    Boolean,
    Either,
    Nullable,
    Number,
    Object,
    Shape,
    Table,
    Tagged,
    Text,
)

_TEXT = Text()
_OPEN = Object(fields={})
_NAME = Text(pattern=NAME_PATTERN, length_min=1, length_max=NAME_LENGTH_MAX)
_PENALTY = Number(minimum=-2, maximum=2)
_POSITIVE = Number(minimum=1, whole=True)

_TEXT_PART = Object(fields={"text": _TEXT}, required=("text",))
_REFUSAL_PART = Object(fields={"refusal": _TEXT}, required=("refusal",))
_IMAGE_PART = Object(
    fields={
        "image_url": Object(
            fields={
                "url": _TEXT,
                "detail": Nullable(
                    shape=Text(words=("auto", "low", "high", "original"))
                ),
            },
            required=("url",),
        )
    },
    required=("image_url",),
)
_AUDIO_PART = Object(
    fields={
        "input_audio": Object(
            fields={"data": _TEXT, "format": Text(words=("wav", "mp3"))},
            required=("data", "format"),
        )
    },
    required=("input_audio",),
)
_FILE_PART = Object(fields={"file": _OPEN}, required=("file",))


def _content(kinds: dict[str, Object]) -> Shape:
    return Either(text=_TEXT, other=Array(item=Tagged(tag="type", kinds=kinds)))


_TEXT_CONTENT = _content({"text": _TEXT_PART})
_USER_CONTENT = _content(
    {
        "text": _TEXT_PART,
        "image_url": _IMAGE_PART,
        "input_audio": _AUDIO_PART,
        "file": _FILE_PART,
    }
)
_ASSISTANT_CONTENT = _content({"text": _TEXT_PART, "refusal": _REFUSAL_PART})

_FUNCTION_OF_CALL = Object(
    fields={"name": _TEXT, "arguments": _TEXT}, required=("name", "arguments")
)
_CALL = Tagged(
    tag="type",
    kinds={
        "function": Object(
            fields={"id": _TEXT, "function": _FUNCTION_OF_CALL},
            required=("id", "function"),
        ),
        "custom": Object(
            fields={
                "id": _TEXT,
                "custom": Object(
                    fields={"name": _TEXT, "input": _TEXT}, required=("name", "input")
                ),
            },
            required=("id", "custom"),
        ),
    },
)
_NAMED = {"name": Nullable(shape=_TEXT)}
_INSTRUCTION = Object(
    fields={"content": _TEXT_CONTENT, **_NAMED}, required=("content",)
)
_MESSAGE = Tagged(
    tag="role",
    kinds={
        "system": _INSTRUCTION,
        "assistant": Object(
            fields={
                "content": Nullable(shape=_ASSISTANT_CONTENT),
                "refusal": Nullable(shape=_TEXT),
                "tool_calls": Nullable(shape=Array(item=_CALL, length_min=1)),
                "function_call": Nullable(shape=_FUNCTION_OF_CALL),
                "audio": Nullable(shape=_OPEN),
                **_NAMED,
            }
        ),
        "user": Object(
            fields={"content": _USER_CONTENT, **_NAMED}, required=("content",)
        ),
        "function": Object(
            fields={"content": Nullable(shape=_TEXT), "name": _TEXT},
            required=("content", "name"),
        ),
        "tool": Object(
            fields={"content": _TEXT_CONTENT, "tool_call_id": _TEXT},
            required=("content", "tool_call_id"),
        ),
        "developer": _INSTRUCTION,
    },
)

_FUNCTION = Object(
    fields={
        "name": _NAME,
        "description": Nullable(shape=_TEXT),
        "parameters": Nullable(shape=_OPEN),
        "strict": Nullable(shape=Boolean()),
    },
    required=("name",),
)
_TOOL = Tagged(
    tag="type",
    kinds={
        "function": Object(fields={"function": _FUNCTION}, required=("function",)),
        "custom": Object(
            fields={
                "custom": Object(
                    fields={
                        "name": _NAME,
                        "description": Nullable(shape=_TEXT),
                        "format": Nullable(shape=_OPEN),
                    },
                    required=("name",),
                )
            },
            required=("custom",),
        ),
    },
)
_NAMED_TOOL = Object(fields={"name": _TEXT}, required=("name",))
_TOOL_CHOICE = Either(
    text=Text(words=("none", "auto", "required")),
    other=Tagged(
        tag="type",
        kinds={
            "function": Object(
                fields={"function": _NAMED_TOOL}, required=("function",)
            ),
            "custom": Object(fields={"custom": _NAMED_TOOL}, required=("custom",)),
            "allowed_tools": Object(
                fields={
                    "allowed_tools": Object(
                        fields={
                            "mode": Text(words=("auto", "required")),
                            "tools": Array(item=_OPEN),
                        },
                        required=("mode", "tools"),
                    )
                },
                required=("allowed_tools",),
            ),
        },
    ),
)
_RESPONSE_FORMAT = Tagged(
    tag="type",
    kinds={
        "text": _OPEN,
        "json_object": _OPEN,
        "json_schema": Object(
            fields={
                "json_schema": Object(
                    fields={
                        "name": _NAME,
                        "description": Nullable(shape=_TEXT),
                        "schema": Nullable(shape=_OPEN),
                        "strict": Nullable(shape=Boolean()),
                    },
                    required=("name",),
                )
            },
            required=("json_schema",),
        ),
    },
)
_EFFORT = Text(words=("none", "minimal", "low", "medium", "high", "xhigh", "max"))
_TIER = Text(words=("auto", "default", "flex", "scale", "priority", "fast"))

_MESSAGES = Array(item=_MESSAGE, length_min=1)
_OPTIONAL: dict[str, Shape] = {
    "audio": _OPEN,
    "frequency_penalty": _PENALTY,
    "function_call": Either(text=Text(words=("none", "auto")), other=_NAMED_TOOL),
    "functions": Array(item=_FUNCTION),
    "logit_bias": Table(value=Number(minimum=-100, maximum=100, whole=True)),
    "logprobs": Boolean(),
    "max_completion_tokens": _POSITIVE,
    "max_tokens": _POSITIVE,
    "metadata": Table(value=Text(length_max=512), key_length_max=64, length_max=16),
    "modalities": Array(item=Text(words=("text", "audio"))),
    "moderation": Anything(),
    "n": Number(minimum=1, maximum=128, whole=True),
    "parallel_tool_calls": Boolean(),
    "prediction": _OPEN,
    "presence_penalty": _PENALTY,
    "prompt_cache_key": _TEXT,
    "prompt_cache_options": _OPEN,
    "prompt_cache_retention": _TEXT,
    "reasoning_effort": _EFFORT,
    "response_format": _RESPONSE_FORMAT,
    "safety_identifier": _TEXT,
    "seed": Number(whole=True),
    "service_tier": _TIER,
    "stop": Either(text=_TEXT, other=Array(item=_TEXT, length_max=4)),
    "store": Boolean(),
    "stream": Boolean(),
    "stream_options": Object(
        fields={
            "include_usage": Nullable(shape=Boolean()),
            "include_obfuscation": Nullable(shape=Boolean()),
        }
    ),
    "temperature": Number(minimum=0, maximum=2),
    "tool_choice": _TOOL_CHOICE,
    "tools": Array(item=_TOOL, length_min=1, length_max=128),
    "top_logprobs": Number(minimum=0, maximum=20, whole=True),
    "top_p": Number(minimum=0, maximum=1),
    "user": _TEXT,
    "verbosity": Text(words=("low", "medium", "high")),
    "web_search_options": _OPEN,
}

KNOWN_FIELDS = frozenset({"model", "messages", *_OPTIONAL})


def check_chat_shape(body: dict[str, Any]) -> None:
    """
    Refuse a body that the API would refuse for its shape.

    Raises:
        ApiError: The first mistake, in the order of the document.
    """
    if "messages" not in body:
        message = "Missing required parameter: 'messages'."
        code = "missing_required_parameter"
        raise ApiError(message, param="messages", code=code)
    for name, value in body.items():
        if name == "messages":
            _MESSAGES.check(value, name)
        elif name != "model":
            if name not in KNOWN_FIELDS:
                message = f"Unrecognized request argument supplied: {name}"
                raise ApiError(message)
            if value is not None:
                _OPTIONAL[name].check(value, name)
