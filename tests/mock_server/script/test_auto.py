"""
Values made from a JSON Schema are allowed by it.
"""

from typing import Any

import jsonschema
import pytest

from mock_server.script.auto import value_for

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
    ],
)
def test_strange_schemas_end(schema: Any) -> None:
    """
    A schema that refers to itself, or makes no sense, still gives a bounded value.
    """
    assert len(repr(value_for(schema))) < 100_000
