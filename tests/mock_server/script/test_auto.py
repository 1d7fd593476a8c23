"""
Values made from a JSON Schema are allowed by it.
"""

import json
from typing import Any

import jsonschema
import pytest

from mock_server.script.auto import value_for
from mock_server.script.drawn import auto_call
from mock_server.wire import parse_chat_request

SCHEMAS: list[tuple[dict[str, Any], Any]] = [
    ({"type": "string"}, "text"),
    ({"type": "string", "minLength": 7}, "textttt"),
    ({"type": "string", "maxLength": 2}, "tt"),
    ({"type": "string", "format": "date"}, "2026-01-15"),
    ({"type": "string", "enum": ["a", "b"]}, "a"),
    ({"type": ["null", "integer"]}, 1),
    ({"type": "integer", "minimum": 5}, 5),
    ({"type": "integer", "exclusiveMinimum": 5}, 6),
    ({"type": "number", "maximum": -2}, -2),
    ({"type": "boolean"}, True),
    ({"type": "null"}, None),
    ({"const": 9}, 9),
    ({"type": "integer", "default": 4}, 4),
    ({"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [True, True]),
    ({"anyOf": [{"type": "integer"}, {"type": "null"}]}, 1),
    (
        {
            "type": "object",
            "properties": {"a": {"type": "string"}, "b": {"type": "integer"}},
            "required": ["b"],
        },
        {"b": 1},
    ),
    (
        {"type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": {"type": "integer"}}},
        {"a": 1},
    ),
    ({"type": "integer", "minimum": 3, "multipleOf": 5}, 5),
    ({"type": "integer", "exclusiveMinimum": 3, "maximum": 4}, 4),
    ({"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}, 0.5),
    ({"type": "number", "exclusiveMaximum": -1}, -2),
    ({"type": "number", "multipleOf": 0.25, "minimum": 1.1}, 1.25),
    ({"type": "string", "pattern": "^ORD-[0-9]{4}$"}, "ORD-0000"),
    ({"type": "array", "items": {"type": "integer"}, "minItems": 3, "uniqueItems": True}, [1, 2, 3]),
    ({"type": "array", "items": {"enum": ["a", "b"]}, "minItems": 2, "uniqueItems": True}, ["a", "b"]),
    ({"type": "array", "items": {"type": "string"}, "minItems": 2, "uniqueItems": True}, ["text", "text1"]),
    ({"type": "array", "prefixItems": [{"type": "integer"}, {"type": "string"}], "minItems": 2}, [1, "text"]),
    ({"type": "array", "maxItems": 0}, []),
    ({"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 2}, {"key1": 1, "key2": 1}),
    ({"minimum": 7}, 7),
    ({"required": ["a"]}, {"a": "text"}),
    (
        {
            "type": "object",
            "properties": {"a": {"type": "integer"}, "b": {"type": "string"}},
            "required": [],
            "anyOf": [{"required": ["b"]}, {"required": ["a"]}],
        },
        {"b": "text"},
    ),
    (
        {
            "allOf": [{"$ref": "#/$defs/named"}, {"properties": {"age": {"type": "integer"}}, "required": ["age"]}],
            "$defs": {"named": {"properties": {"name": {"type": "string"}}, "required": ["name"]}},
        },
        {"name": "text", "age": 1},
    ),
    (
        {
            "type": "object",
            "properties": {"mode": {"oneOf": [{"$ref": "#/$defs/fast"}, {"type": "null"}]}},
            "required": ["mode"],
            "$defs": {"fast": {"type": "object", "properties": {"kind": {"const": "fast"}}, "required": ["kind"]}},
        },
        {"mode": {"kind": "fast"}},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "value"), SCHEMAS)
def test_value_fits_its_schema(schema: dict[str, Any], value: Any) -> None:
    """
    The value is the plain one that is expected, and the schema allows it.
    """
    assert value_for(schema) == value
    jsonschema.validate(value, schema)


@pytest.mark.parametrize(
    "schema",
    [
        None,
        True,
        {"$ref": "#"},
        {"$ref": "#/nowhere"},
        {"type": "object", "required": "x", "properties": 3},
        {"type": "array", "minItems": 10**9},
        {"type": "string", "minLength": 10**9},
        {"type": "robot"},
        {"allOf": [{"$ref": "#"}]},
        {"allOf": [{"$ref": "#/$defs/a"}], "$defs": {"a": {"$ref": "#/$defs/a"}}},
        {
            "type": "object",
            "properties": {f"p{number}": {"$ref": "#"} for number in range(10)},
        },
        {"type": "number", "minimum": 10**400, "multipleOf": -1},
        {"type": "integer", "minimum": 2, "maximum": 1},
        {"anyOf": ["x", 3]},
    ],
)
def test_strange_schemas_end(schema: Any) -> None:
    """
    A schema that refers to itself, or makes no sense, still gives a bounded value.
    """
    assert len(repr(value_for(schema))) < 100_000


TREE = {
    "$ref": "#/$defs/node",
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "parent": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["name", "parent", "children"],
            "additionalProperties": False,
        }
    },
}


def test_trees_end_as_their_schema_allows() -> None:
    """
    A schema of nodes that hold nodes gives a tree that it allows, and no large one.
    """
    value = value_for(TREE)

    jsonschema.validate(value, TREE)
    assert len(repr(value)) < 100_000


@pytest.mark.parametrize("parameters", [{}, {"type": "string"}, True])
def test_arguments_are_an_object(parameters: Any) -> None:
    """
    A function is called with an object, also where its schema does not ask for one.
    """
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}
    messages = [{"role": "user", "content": "hi"}]
    body = json.dumps({"model": "m", "messages": messages, "tools": [tool]}).encode()
    request = parse_chat_request(body, strict=False)

    assert request.tools is not None
    assert auto_call(request.tools[0]).arguments == "{}"
