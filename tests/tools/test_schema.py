import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.errors import InvalidArgumentsError, UsageError
from harness.tools import ArgumentsSchema, parse_json

SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string", "minLength": 1},
        "unit": {"enum": ["celsius", "fahrenheit"]},
        "when": {"type": "string", "format": "date-time"},
        "days": {"type": "array", "items": {"type": "integer", "minimum": 0}},
        "self": {"$ref": "#"},
    },
    "required": ["city"],
    "additionalProperties": False,
}


def object_of(**properties: Any) -> dict[str, Any]:
    """
    Return the schema of an object with these properties.
    """
    return {"type": "object", "properties": properties}


def mistakes_of(text: str, schema: dict[str, Any] | None = None) -> tuple[str, ...]:
    """
    Return why a text was refused.
    """
    with pytest.raises(InvalidArgumentsError) as caught:
        ArgumentsSchema("f", SCHEMA if schema is None else schema).parse(text)
    return caught.value.mistakes


def test_parses_arguments() -> None:
    """
    Arguments that keep the schema are returned as they are; no default is put in.
    """
    arguments = {"city": "Paris", "days": [0, 1], "self": {"city": "Rome"}}

    assert ArgumentsSchema("f", SCHEMA).parse(json.dumps(arguments)) == arguments


@pytest.mark.parametrize("text", ["", " \n", "{}"])
def test_takes_blank_for_none(text: str) -> None:
    """
    A model that writes nothing gives no arguments.
    """
    assert ArgumentsSchema("f", object_of()).parse(text) == {}


@pytest.mark.parametrize(
    ("text", "mistake"),
    [
        ("{}", "'city' is a required property"),
        ('{"city": 7}', "city: 7 is not of type 'string'"),
        ('{"city": ""}', "city: '' should be non-empty"),
        (
            '{"city": "x", "unit": "kelvin"}',
            "unit: 'kelvin' is not one of ['celsius', 'fahrenheit']",
        ),
        ('{"city": "x", "when": "soon"}', "when: 'soon' is no date-time"),
        (
            '{"city": "x", "days": [1, -1]}',
            "days[1]: -1 is less than the minimum of 0",
        ),
        ('{"city": "x", "self": {}}', "self: 'city' is a required property"),
        (
            '{"city": "x", "town": 1}',
            "Additional properties are not allowed ('town' was unexpected) (known: city, days, self, unit, when)",
        ),
        ("[]", "[] is not of type 'object'"),
        ('"Paris"', "'Paris' is not of type 'object'"),
        ("null", "None is not of type 'object'"),
        (
            '{"city": "Pa',
            "not JSON: Unterminated string starting at at line 1, column 10",
        ),
        (
            "{'city': 'x'}",
            "not JSON: Expecting property name enclosed in double quotes at line 1, column 2",
        ),
        ('{"city": "x"} {}', "not JSON: Extra data at line 1, column 15"),
        ('{"city": "x", "city": "y"}', "the key 'city' stands there twice"),
        ('{"city": NaN}', "NaN is no JSON"),
        ('{"city": -Infinity}', "-Infinity is no JSON"),
        ('{"city": 1e999}', "1e999 is out of range"),
        ('{"city": 18446744073709551616}', "18446744073709551616 is out of range"),
        ('{"city": -9223372036854775809}', "-9223372036854775809 is out of range"),
        ('{"city": ' + "9" * 5000 + "}", "9" * 40 + " is out of range"),
        (
            r'{"city": "\ud83d"}',
            "a text holds half of a surrogate pair, which is not Unicode",
        ),
        ("[" * 33 + "]" * 33, "nested deeper than 32 levels"),
        ("[" * 65_000, "nested deeper than 32 levels"),
        (
            '{"city": "' + "x" * 65_536 + '"}',
            "65548 bytes, and at most 65536 are allowed",
        ),
    ],
)
def test_names_mistake(text: str, mistake: str) -> None:
    """
    Whatever is wrong is said in a sentence the model can act upon.
    """
    assert mistakes_of(text) == (mistake,)


def test_names_all_mistakes() -> None:
    """
    Mistakes are named together, in the order of their places.
    """
    assert mistakes_of('{"unit": 1, "days": 2}') == (
        "'city' is a required property",
        "days: 2 is not of type 'array'",
        "unit: 1 is not one of ['celsius', 'fahrenheit']",
    )


def test_bounds_mistakes() -> None:
    """
    However much is wrong, the answer to the model stays short.
    """
    mistakes = mistakes_of(
        json.dumps({"city": "x" * 9999, "days": [-1] * 5000}),
        object_of(
            city={"type": "integer"}, days={"type": "array", "items": {"minimum": 0}}
        ),
    )

    assert len(mistakes) == 10
    assert max(len(mistake) for mistake in mistakes) <= 310
    assert mistakes[0].endswith("xxx' is not of type 'integer'")


@pytest.mark.parametrize(
    "text",
    ['{"a":"' + '\\"' * 30_000, '"' * 60_001, "\\" * 60_000, '{"a":' * 9 + '"]'],
)
def test_refuses_unclosed_text_quickly(text: str) -> None:
    """
    Texts made to be slow to measure are refused like any other.
    """
    with pytest.raises(ValueError, match=r"not JSON|nested"):
        parse_json(text)


def test_counts_no_brackets_in_text() -> None:
    """
    Brackets within strings nest nothing.
    """
    value = {"a": '[{"[{' * 20, "b": ["\\", "]"]}

    assert parse_json(json.dumps(value)) == value


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**63), max_value=2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(value=JSON_VALUES)
def test_round_trips(value: Any) -> None:
    """
    What every reader understands is read as what it is.
    """
    assert parse_json(json.dumps(value), depth_max=100) == value


@given(text=st.text())
def test_survives_anything(text: str) -> None:
    """
    Any text is arguments or a refusal; nothing else is raised.
    """
    schema = ArgumentsSchema("f", {"type": "object"})

    try:
        arguments = schema.parse(text)
    except InvalidArgumentsError as error:
        assert error.mistakes  # noqa: PT017
    else:
        assert isinstance(arguments, dict)


@pytest.mark.parametrize(
    ("schema", "words"),
    [
        ({}, "must have type 'object'"),
        ({"type": "string"}, "must have type 'object'"),
        ({"type": ["object", "null"]}, "must have type 'object'"),
        (object_of(city={"type": "text"}), "properties.city.type"),
        (object_of(city={"minLength": "one"}), "minLength"),
        (object_of(city={"pattern": "("}), "'\\(' is not a 'regex'"),
        ({"type": "object", "patternProperties": {"[": {}}}, "is not a 'regex'"),
        (object_of(city={"$ref": "#/$defs/city"}), "cannot be used"),
        (object_of(city={"$ref": "https://example.com/city"}), "cannot be used"),
        (object_of(city={"default": object()}), "no JSON"),
        (object_of(city={"description": "x" * 70_000}), "at most 65536"),
    ],
)
def test_refuses_broken_schema(schema: dict[str, Any], words: str) -> None:
    """
    A schema that cannot check anything is refused when it is given.
    """
    with pytest.raises(UsageError, match=words):
        ArgumentsSchema("f", schema)


def test_takes_annotations_for_what_they_are() -> None:
    """
    A default or an example that looks like a schema is none.
    """
    example = {"pattern": "(", "$ref": "nowhere"}

    schema = object_of(city={"default": example, "examples": [example]})

    assert ArgumentsSchema("f", schema).parse('{"city": 1}') == {"city": 1}


def test_keeps_schema_from_changes() -> None:
    """
    Changing what was given changes nothing that was checked.
    """
    given_schema: dict[str, Any] = object_of(city={"type": "string"})
    schema = ArgumentsSchema("f", given_schema)

    given_schema["properties"]["city"]["type"] = "integer"

    assert schema.parse('{"city": "x"}') == {"city": "x"}


def test_refuses_endless_schema() -> None:
    """
    A schema that leads to itself without end refuses arguments instead of crashing.
    """
    endless = {"type": "object", "allOf": [{"$ref": "#"}]}

    assert mistakes_of("{}", endless) == (
        "nested deeper than the schema can be followed",
    )
