"""
What the API asks of the JSON Schemas of tools and response formats.
"""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

import orjson

from mock_server.wire.errors import ApiError
from mock_server.wire.request import (
    ChatRequest,
    FunctionTool,
    JsonSchemaResponseFormat,
)
from mock_server.wire.shape import refuse_type

_KNOWN_SCHEMAS_MAX = 1024
"""The same few schemas come with every request: the verdict on so many is kept."""

_SCHEMA_DEPTH_MAX = 100

_OBJECT_STARTS = frozenset({b"", b"{", b"n"})
"""How a schema begins that is an object, null, or not there."""

Context = tuple[str, ...]


def check_schemas(request: ChatRequest) -> None:
    """
    Refuse schemas that the API refuses.

    Raises:
        ApiError: The first mistake.
    """
    for index, tool in enumerate(request.tools or ()):
        if type(tool) is FunctionTool:
            definition = tool.function
            schema = bytes(definition.parameters)
            if schema[:1] not in _OBJECT_STARTS:
                path = f"tools[{index}].function.parameters"
                refuse_type("an object", orjson.loads(schema), path)
            problem = find_problem(schema, definition.strict is True)
            if problem is not None:
                path = f"tools[{index}].function.parameters"
                text = f"Invalid schema for function '{definition.name}': {problem}"
                code = "invalid_function_parameters"
                raise ApiError(text, param=path, code=code)
    if type(request.response_format) is JsonSchemaResponseFormat:
        form = request.response_format.json_schema
        schema = bytes(form.schema)
        if schema[:1] not in _OBJECT_STARTS:
            path = "response_format.json_schema.schema"
            refuse_type("an object", orjson.loads(schema), path)
        problem = find_problem(schema, form.strict is True)
        if problem is not None:
            text = f"Invalid schema for response_format '{form.name}': {problem}"
            raise ApiError(text, param="response_format")


@lru_cache(maxsize=_KNOWN_SCHEMAS_MAX)
def find_problem(schema: bytes, strict: bool) -> str | None:  # noqa: FBT001 - a key of the cache
    """
    Return what is wrong with a schema, in the API's words, if anything is.

    Args:
        schema: The schema as it was sent; empty or ``null`` when none was.
        strict: It must describe every object to the end.
    """
    try:
        value = orjson.loads(schema) if schema else None
    except orjson.JSONDecodeError:
        return "it is nested too deeply."
    if value is None or value == {}:
        return None
    if value.get("type") != "object":
        kind = orjson.dumps(value.get("type")).decode().strip('"')
        kind = "None" if kind == "null" else kind
        return (
            "schema must be a JSON Schema of 'type: \"object\"', got "
            f"'type: \"{kind}\"'."
        )
    if not strict:
        return None
    for context, part in _objects(value, ()):
        problem = _problem_of(part)
        if problem is not None:
            return f"In context={context!r}, {problem}"
    return None


def _problem_of(part: Mapping[str, Any]) -> str | None:
    if part.get("additionalProperties") is not False:
        return "'additionalProperties' is required to be supplied and to be false."
    properties = part.get("properties", {})
    required = part.get("required", [])
    if not isinstance(properties, dict) or not isinstance(required, list):
        return "'properties' is not of type 'object' or 'required' not of type 'array'."
    for name in properties:
        if name not in required:
            return (
                "'required' is required to be supplied and to be an array including "
                f"every key in properties. Missing '{name}'."
            )
    return None


def _objects(schema: Any, context: Context) -> Iterator[tuple[Context, dict[str, Any]]]:
    """
    Walk over all parts of a schema that describe objects.
    """
    if not isinstance(schema, dict) or len(context) > _SCHEMA_DEPTH_MAX:
        return
    kind = schema.get("type")
    if kind == "object" or (isinstance(kind, list) and "object" in kind):
        yield context, schema
    for key in ("properties", "$defs", "definitions"):
        inner = schema.get(key)
        if isinstance(inner, dict):
            for name, part in inner.items():
                yield from _objects(part, (*context, key, name))
    if "items" in schema:
        yield from _objects(schema["items"], (*context, "items"))
    for key in ("anyOf", "allOf", "oneOf"):
        inner = schema.get(key)
        if isinstance(inner, list):
            for index, part in enumerate(inner):
                yield from _objects(part, (*context, key, str(index)))
