"""
JSON Schemas of tools: the smallest value that one allows.
"""

from collections.abc import Mapping
from typing import Any

_DEPTH_MAX = 16
"""A schema that is deeper, or that refers to itself, is cut off with null."""

_ITEMS_MAX = 100
_LENGTH_MAX = 10_000

_FORMATS = {
    "date": "2026-01-15",
    "date-time": "2026-01-15T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "PT1H",
    "email": "user@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def value_for(
    schema: Any, *, root: Mapping[str, Any] | None = None, depth: int = 0
) -> Any:
    """
    Return the smallest plain value that a JSON Schema allows.

    Defaults, constants, examples and enumerations are taken where there are any.
    What cannot be computed (patterns, conditions) is not tried.
    """
    if not isinstance(schema, Mapping) or depth > _DEPTH_MAX:
        return None
    root = schema if root is None else root
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("enum", "examples"):
        given = schema.get(key)
        if isinstance(given, list) and given:
            return given[0]
    if isinstance(schema.get("$ref"), str):
        return value_for(
            follow_reference(schema["$ref"], root), root=root, depth=depth + 1
        )
    for key in ("anyOf", "oneOf", "allOf"):
        options = schema.get(key)
        if isinstance(options, list) and options:
            return value_for(options[0], root=root, depth=depth + 1)
    return _typed(schema, root, depth)


def _typed(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    kind = schema.get("type")
    if isinstance(kind, list):
        kind = next((name for name in kind if name != "null"), "null")
    if kind is None:
        kind = "object" if "properties" in schema else "string"
    value: Any = None
    match kind:
        case "object":
            value = _object(schema, root, depth)
        case "array":
            length = max(1, int(_number(schema, "minItems", 0)))
            value = [value_for(schema.get("items"), root=root, depth=depth + 1)]
            value *= min(length, _ITEMS_MAX)
        case "integer":
            value = int(_within(schema, 1))
        case "number":
            value = _within(schema, 1)
        case "boolean":
            value = True
        case "string":
            value = _string(schema)
        case _:
            pass
    return value


def _object(schema: Mapping[str, Any], root: Mapping[str, Any], depth: int) -> Any:
    properties = schema.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    required = schema.get("required")
    names = required if isinstance(required, list) else list(properties)
    return {
        name: value_for(properties.get(name), root=root, depth=depth + 1)
        for name in names
        if isinstance(name, str)
    }


def _string(schema: Mapping[str, Any]) -> str:
    known = _FORMATS.get(str(schema.get("format")))
    if known is not None:
        return known
    length_min = min(int(_number(schema, "minLength", 0)), _LENGTH_MAX)
    length_max = min(int(_number(schema, "maxLength", _LENGTH_MAX)), _LENGTH_MAX)
    length_max = max(0, length_max)
    text = "text" if length_max >= len("text") else "t" * length_max
    return text + "t" * (length_min - len(text))


def _within(schema: Mapping[str, Any], value: float) -> float:
    low = _number(schema, "minimum", value)
    if "exclusiveMinimum" in schema:
        low = max(low, _number(schema, "exclusiveMinimum", value) + 1)
    high = _number(schema, "maximum", max(low, value))
    if "exclusiveMaximum" in schema:
        high = min(high, _number(schema, "exclusiveMaximum", high + 1) - 1)
    return min(max(value, low), high)


def _number(schema: Mapping[str, Any], key: str, default: float) -> float:
    value = schema.get(key, default)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number else default


def follow_reference(reference: str, root: Mapping[str, Any]) -> Any:
    """
    Return what a reference within the schema points to.
    """
    value: Any = root
    for part in reference.removeprefix("#/").split("/"):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value
