"""
The shape of a Responses request.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mock_server.wire.errors import ApiError
from mock_server.wire.request import NAME_LENGTH_MAX, NAME_PATTERN
from mock_server.wire.responses.request import kind_of
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
    missing,
    refuse_type,
)

_TEXT = Text()
_OPEN = Object(fields={})
_NAME = Text(pattern=NAME_PATTERN, length_min=1, length_max=NAME_LENGTH_MAX)
_OUTPUT_TOKENS_MIN = 16

_INPUT_PARTS = {
    "input_text": Object(fields={"text": _TEXT}, required=("text",)),
    "input_image": _OPEN,
    "input_file": _OPEN,
    "input_audio": _OPEN,
}
_OUTPUT_PARTS = {
    "output_text": Object(fields={"text": _TEXT}, required=("text",)),
    "refusal": Object(fields={"refusal": _TEXT}, required=("refusal",)),
}


@dataclass(frozen=True, kw_only=True)
class _Known(Shape):
    """
    An object whose kind one of its fields names; kinds not listed are left alone.
    """

    kinds: Mapping[str, Object]
    noun: str = "an object"

    def check(self, value: Any, path: str) -> None:
        if not isinstance(value, dict):
            refuse_type(self.noun, value, path)
        type_path = f"{path}.type"
        if "type" not in value:
            raise missing(type_path)
        _TEXT.check(value["type"], type_path)
        shape = self.kinds.get(value["type"])
        if shape is not None:
            shape.check(value, path)


@dataclass(frozen=True, kw_only=True)
class _InputItem(Shape):
    """
    An item of the input; messages and references may leave their type out.
    """

    kinds: Mapping[str, Object]
    noun: str = "an object"

    def check(self, value: Any, path: str) -> None:
        if not isinstance(value, dict):
            refuse_type(self.noun, value, path)
        type_path = f"{path}.type"
        if value.get("type") is None and not value.keys() & {"role", "content", "id"}:
            raise missing(type_path)
        if value.get("type") is not None:
            _TEXT.check(value["type"], type_path)
        kind = kind_of(value)
        if kind == "message":
            is_own = value.get("role") == "assistant"
            shape: Shape = _OWN_MESSAGE if is_own else _MESSAGE
            shape.check(value, path)
        elif kind in self.kinds:
            self.kinds[kind].check(value, path)


def _message(parts: Mapping[str, Object]) -> Object:
    content = Either(text=_TEXT, other=Array(item=Tagged(tag="type", kinds=parts)))
    return Object(
        fields={
            "role": Text(words=("assistant", "system", "developer", "user")),
            "content": content,
            "id": Nullable(shape=_TEXT),
            "status": Nullable(shape=_TEXT),
        },
        required=("role", "content"),
    )


def _item(*required: str, **fields: Shape) -> Object:
    ids = {"id": Nullable(shape=_TEXT), "status": Nullable(shape=_TEXT)}
    return Object(fields={**ids, **fields}, required=required)


_MESSAGE = _message(_INPUT_PARTS)
_OWN_MESSAGE = _message(_OUTPUT_PARTS)
_OUTPUT = Either(text=_TEXT, other=Array(item=Tagged(tag="type", kinds=_INPUT_PARTS)))
_CALL_ID = Text(length_min=1)
ITEM: Shape = _InputItem(
    kinds={
        "function_call": _item(
            "call_id",
            "name",
            "arguments",
            call_id=_CALL_ID,
            name=_TEXT,
            arguments=_TEXT,
        ),
        "function_call_output": _item(
            "call_id", "output", call_id=_CALL_ID, output=_OUTPUT
        ),
        "custom_tool_call": _item(
            "call_id", "name", "input", call_id=_CALL_ID, name=_TEXT, input=_TEXT
        ),
        "custom_tool_call_output": _item(
            "call_id", "output", call_id=_CALL_ID, output=_OUTPUT
        ),
        "reasoning": _item("summary", summary=Array(item=_OPEN)),
        "item_reference": Object(fields={"id": _TEXT}, required=("id",)),
    }
)
INPUT = Either(text=_TEXT, other=Array(item=ITEM))

_FUNCTION = Object(
    fields={
        "name": _NAME,
        "description": Nullable(shape=_TEXT),
        "parameters": Nullable(shape=_OPEN),
        "strict": Nullable(shape=Boolean()),
    },
    required=("name",),
)
_CUSTOM = Object(
    fields={
        "name": _NAME,
        "description": Nullable(shape=_TEXT),
        "format": Nullable(shape=_OPEN),
    },
    required=("name",),
)
_NAMESPACE = Object(
    fields={
        "name": _NAME,
        "tools": Array(item=_Known(kinds={"function": _FUNCTION, "custom": _CUSTOM})),
    },
    required=("name", "tools"),
)
_NAMED = Object(fields={"name": _TEXT}, required=("name",))
_TOOL_CHOICE = Either(
    text=Text(words=("none", "auto", "required")),
    other=_Known(
        kinds={
            "function": _NAMED,
            "custom": _NAMED,
            "allowed_tools": Object(
                fields={
                    "mode": Text(words=("auto", "required")),
                    "tools": Array(item=_OPEN),
                },
                required=("mode", "tools"),
            ),
        }
    ),
)
_FORMAT = Tagged(
    tag="type",
    kinds={
        "text": _OPEN,
        "json_object": _OPEN,
        "json_schema": Object(
            fields={
                "name": _NAME,
                "schema": _OPEN,
                "description": Nullable(shape=_TEXT),
                "strict": Nullable(shape=Boolean()),
            },
            required=("name", "schema"),
        ),
    },
)
_EFFORT = Text(words=("none", "minimal", "low", "medium", "high", "xhigh", "max"))
_SUMMARY = Text(words=("auto", "concise", "detailed"))

METADATA = Table(value=Text(length_max=512), key_length_max=64, length_max=16)
FIELDS: Mapping[str, Shape] = {
    "access_programs": _OPEN,
    "background": Boolean(),
    "background_options": _OPEN,
    "context_management": Array(item=_OPEN),
    "conversation": Either(
        text=_TEXT, other=Object(fields={"id": _TEXT}, required=("id",))
    ),
    "image": _OPEN,
    "include": Array(item=_TEXT),
    "input": INPUT,
    "instructions": _TEXT,
    "max_output_tokens": Number(minimum=_OUTPUT_TOKENS_MIN, whole=True),
    "max_tool_calls": Number(minimum=1, whole=True),
    "metadata": METADATA,
    "model": _TEXT,
    "moderation": Anything(),
    "parallel_tool_calls": Boolean(),
    "previous_response_id": _TEXT,
    "prompt": _OPEN,
    "prompt_cache_key": _TEXT,
    "prompt_cache_options": _OPEN,
    "prompt_cache_retention": Text(words=("in_memory", "24h")),
    "reasoning": Object(
        fields={
            "effort": Nullable(shape=_EFFORT),
            "summary": Nullable(shape=_SUMMARY),
        }
    ),
    "safety_identifier": _TEXT,
    "service_tier": Text(
        words=("auto", "default", "flex", "scale", "priority", "fast", "ultrafast")
    ),
    "store": Boolean(),
    "stream": Boolean(),
    "stream_options": Object(fields={"include_obfuscation": Nullable(shape=Boolean())}),
    "temperature": Number(minimum=0, maximum=2),
    "text": Object(
        fields={
            "format": Nullable(shape=_FORMAT),
            "verbosity": Nullable(shape=Text(words=("low", "medium", "high"))),
        }
    ),
    "tool_choice": _TOOL_CHOICE,
    "tools": Array(
        item=_Known(
            kinds={
                "function": _FUNCTION,
                "custom": _CUSTOM,
                "namespace": _NAMESPACE,
            }
        ),
        length_max=128,
    ),
    "top_logprobs": Number(minimum=0, maximum=20, whole=True),
    "top_p": Number(minimum=0, maximum=1),
    "truncation": Text(words=("auto", "disabled")),
    "user": _TEXT,
}


def check_fields(body: Mapping[str, Any], fields: Mapping[str, Shape] = FIELDS) -> None:
    """
    Refuse a body that the API would refuse for its shape.

    Raises:
        ApiError: The first mistake, in the order of the document.
    """
    for name, value in body.items():
        if name not in fields:
            message = f"Unknown parameter: '{name}'."
            raise ApiError(message, param=name, code="unknown_parameter")
        if value is not None:
            fields[name].check(value, name)


def salvage(body: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return all fields that are well-formed; of an input, the items that are.
    """
    kept = {
        name: value
        for name, value in body.items()
        if name in FIELDS and name != "input" and _is_well_formed(FIELDS[name], value)
    }
    given = body.get("input")
    if isinstance(given, str):
        kept["input"] = given
    elif isinstance(given, list):
        kept["input"] = [item for item in given if _is_well_formed(ITEM, item)]
    return kept


def _is_well_formed(shape: Shape, value: Any) -> bool:
    try:
        shape.check(value, "value")
    except (ApiError, RecursionError):
        return False
    return True
