"""
Every way to break a tool's JSON Schema.
"""

from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_server.faults import ViolationKind, violations
from mock_server.faults.schema_violation import VIOLATIONS_MAX

NESTED: dict[str, Any] = {
    "type": "object",
    "properties": {
        "order": {"$ref": "#/$defs/order"},
        "tags": {
            "type": "array",
            "items": {"type": "string", "enum": ["a", "b"]},
            "minItems": 1,
            "maxItems": 3,
        },
        "price": {"type": "number", "exclusiveMinimum": 0},
    },
    "required": ["order", "tags"],
    "additionalProperties": False,
    "$defs": {
        "order": {
            "type": "object",
            "properties": {"id": {"type": "string", "maxLength": 5}},
            "required": ["id"],
            "additionalProperties": False,
        }
    },
}


def test_each_violation_is_one() -> None:
    """
    Whatever is enumerated, the schema refuses it; and all kinds are there.
    """
    found = violations(NESTED)

    assert {violation.kind for violation in found} == set(ViolationKind)
    for violation in found:
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(violation.arguments, NESTED)


def test_reaches_inside() -> None:
    """
    Nested objects and the items of lists are violated too, one place at a time.
    """
    places = {
        (violation.kind.value, violation.path) for violation in violations(NESTED)
    }

    assert ("missing_required", "order.id") in places
    assert ("extra_property", "order.unexpected_property") in places
    assert ("boundary", "order.id") in places
    assert ("outside_enum", "tags.0") in places
    assert ("boundary", "tags") in places
    assert ("boundary", "price") in places


def test_starts_from_the_call() -> None:
    """
    What is not violated stays as the model said it.
    """
    arguments = {"order": {"id": "A1"}, "tags": ["b"]}

    found = violations(NESTED, arguments)

    [missing] = [v for v in found if (v.kind, v.path) == ("missing_required", "tags")]
    assert missing.arguments == {"order": {"id": "A1"}}


def test_is_bounded() -> None:
    """
    A schema of thousands of properties gives no more than the limit.
    """
    names = [f"p{number}" for number in range(5000)]
    schema = {
        "type": "object",
        "properties": {name: {} for name in names},
        "required": names,
    }

    assert len(violations(schema)) == VIOLATIONS_MAX


def test_ends_where_a_schema_refers_to_itself() -> None:
    """
    A schema that holds itself is violated down to some depth.
    """
    schema = {
        "type": "object",
        "properties": {"child": {"$ref": "#"}},
        "required": ["child"],
    }

    assert 1 < len(violations(schema)) <= VIOLATIONS_MAX


KEYWORDS = st.sampled_from(
    ["type", "properties", "required", "enum", "items", "minimum", "maxLength", "$ref"]
)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(KEYWORDS, inner, max_size=4)
        ),
        max_leaves=12,
    )
)
def test_takes_any_schema(schema: Any) -> None:
    """
    Whatever a client calls a schema, something is enumerated and nothing fails.
    """
    found = violations(schema)

    assert found[-1].kind is ViolationKind.NOT_OBJECT
