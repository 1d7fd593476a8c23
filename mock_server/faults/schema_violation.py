"""
Arguments that a tool's own JSON Schema forbids, one violation at a time.

Every way in which a schema can be violated is enumerated, the nested ones too, so that
a test can try them all; a fault takes one of them.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Any, ClassVar

import orjson
from msgspec.structs import replace
from pydantic import Field

from mock_server.faults.fault import Fault, FaultContext, Level, Target
from mock_server.schemas import follow_reference, value_for

VIOLATIONS_MAX = 500
"""A schema that could be violated in more ways is violated in the first so many."""

_DEPTH_MAX = 8
_EXTRA_KEY = "unexpected_property"

Path = Sequence[str | int]


class ViolationKind(StrEnum):
    """
    What is wrong with the arguments.
    """

    MISSING_REQUIRED = "missing_required"
    """A required property is not there."""

    WRONG_TYPE = "wrong_type"
    """A value of another type."""

    EXTRA_PROPERTY = "extra_property"
    """A property that ``additionalProperties: false`` forbids."""

    OUTSIDE_ENUM = "outside_enum"
    """A value that the enumeration, or the constant, does not hold."""

    NOT_OBJECT = "not_object"
    """A list in place of the arguments."""

    BOUNDARY = "boundary"
    """Just beyond a limit: of a number, a length or a count of items."""


@dataclass(frozen=True, slots=True)
class Violation:
    """
    Arguments that break the schema in one place.
    """

    kind: ViolationKind
    path: str
    """Where, with dots."""

    arguments: Any


def violations(schema: Any, arguments: Any = None) -> tuple[Violation, ...]:
    """
    Return every way to break a schema, each with the whole arguments.

    Args:
        schema: Of the arguments.
        arguments: Valid ones to start from; by default they are made.
    """
    valid = arguments if isinstance(arguments, dict) else value_for(schema)
    if not isinstance(valid, dict):
        valid = {}
    found = _object(schema, valid, (), schema, valid)
    return (
        *tuple(
            islice(
                (
                    Violation(kind, ".".join(map(str, path)), value)
                    for kind, path, value in found
                ),
                VIOLATIONS_MAX - 1,
            )
        ),
        Violation(ViolationKind.NOT_OBJECT, "", [valid]),
    )


_Found = Iterator[tuple[ViolationKind, Path, Any]]


def _object(schema: Any, value: Any, path: Path, root: Any, whole: Any) -> _Found:
    """
    Yield the violations of an object's own rules, then those of its properties.
    """
    if not isinstance(schema, Mapping) or not isinstance(value, dict):
        return
    properties = schema.get("properties")
    properties = properties if isinstance(properties, Mapping) else {}
    required = schema.get("required")
    for name in required if isinstance(required, list) else ():
        if not isinstance(name, str):
            continue
        without = {key: inner for key, inner in value.items() if key != name}
        yield (
            ViolationKind.MISSING_REQUIRED,
            (*path, name),
            _put(whole, path, without),
        )
    if schema.get("additionalProperties") is False:
        more = {**value, _EXTRA_KEY: "value"}
        yield ViolationKind.EXTRA_PROPERTY, (*path, _EXTRA_KEY), _put(whole, path, more)
    for name, inner in properties.items():
        resolved = _resolved(inner, root)
        filled = (
            value if name in value else {**value, name: value_for(inner, root=root)}
        )
        base = _put(whole, path, filled)
        yield from _value(resolved, filled[name], (*path, name), root, base)


def _value(schema: Any, value: Any, path: Path, root: Any, whole: Any) -> _Found:
    if not isinstance(schema, Mapping) or len(path) > _DEPTH_MAX:
        return
    for kind, wrong in _wrong_values(schema, value):
        yield kind, path, _put(whole, path, wrong)
    if isinstance(value, dict):
        yield from _object(schema, value, path, root, whole)
    elif isinstance(value, list) and value:
        items = _resolved(schema.get("items"), root)
        yield from _value(items, value[0], (*path, 0), root, whole)


def _wrong_values(
    schema: Mapping[str, Any], value: Any
) -> Iterator[tuple[ViolationKind, Any]]:
    wrong = _of_other_type(schema.get("type"))
    if wrong is not None:
        yield ViolationKind.WRONG_TYPE, wrong
    allowed = schema.get("enum") or ([schema["const"]] if "const" in schema else None)
    if isinstance(allowed, list):
        yield ViolationKind.OUTSIDE_ENUM, _outside(allowed)
    for beyond in _beyond_limits(schema, value):
        yield ViolationKind.BOUNDARY, beyond


def _of_other_type(kind: Any) -> Any:
    """
    Return a value of a type that is not allowed; None if all are, or null might be.
    """
    kinds = set(kind) if isinstance(kind, list) else {kind}
    candidates = [
        ({"string"}, "not what was asked for"),
        ({"integer", "number"}, 12345),
        ({"boolean"}, True),
        ({"array"}, ["a", "list"]),
        ({"object"}, {"an": "object"}),
    ]
    if kinds == {None}:
        return None
    return next((value for types, value in candidates if not types & kinds), None)


def _outside(allowed: list[Any]) -> Any:
    if all(isinstance(value, str) for value in allowed):
        return "".join(map(str, allowed)) + "_not"
    numbers = [v for v in allowed if isinstance(v, int | float)]
    return max(numbers) + 1 if len(numbers) == len(allowed) else "not_allowed"


def _beyond_limits(schema: Mapping[str, Any], value: Any) -> Iterator[Any]:
    for name, step in _BESIDE.items():
        if (bound := _limit(schema, name)) is not None:
            yield bound + step
    if (length := _limit(schema, "minLength")) is not None and length >= 1:
        yield "x" * (int(length) - 1)
    if (length := _limit(schema, "maxLength")) is not None:
        yield "x" * (int(length) + 1)
    if isinstance(value, list):
        yield from _beyond_items(schema, value)


def _beyond_items(schema: Mapping[str, Any], value: list[Any]) -> Iterator[Any]:
    item = value[:1] or [None]
    if (length := _limit(schema, "minItems")) is not None and length >= 1:
        yield item * (int(length) - 1)
    if (length := _limit(schema, "maxItems")) is not None:
        yield item * (int(length) + 1)


_BESIDE = {"minimum": -1, "maximum": 1, "exclusiveMinimum": 0, "exclusiveMaximum": 0}
"""How far from each limit the nearest forbidden whole number is."""

_LIMIT_MAX = 1_000_000


def _limit(schema: Mapping[str, Any], name: str) -> float | None:
    found = schema.get(name)
    if not isinstance(found, int | float) or isinstance(found, bool):
        return None
    return found if abs(found) <= _LIMIT_MAX else None


def _resolved(schema: Any, root: Any) -> Any:
    for _ in range(_DEPTH_MAX):
        if not isinstance(schema, Mapping):
            return schema
        if isinstance(schema.get("$ref"), str):
            schema = follow_reference(schema["$ref"], root)
            continue
        options = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
        if not isinstance(options, list) or not options:
            return schema
        schema = options[0]
    return schema


def _put(whole: Any, path: Path, value: Any) -> Any:
    """
    Return a copy of the whole with another value at a place.
    """
    if not path:
        return value
    first = path[0]
    inner = _put(whole[first], path[1:], value)
    if isinstance(whole, list):
        return [inner if place == first else old for place, old in enumerate(whole)]
    return {**whole, first: inner}


class SchemaViolation(Fault):
    """
    Calls a tool with arguments that its own JSON Schema forbids.
    """

    name: ClassVar[str] = "schema_violation"
    level: ClassVar[Level] = Level.REPLY
    targets: ClassVar[frozenset[Target]] = frozenset({Target.UPSTREAM})
    needs_tool_calls: ClassVar[bool] = True

    kind: ViolationKind | None = None
    """What is wrong; null is anything that the schema can be broken by."""

    number: int | None = Field(default=None, ge=0)
    """Which of the enumerated violations of that kind, from 0; null draws one."""

    def fits(self, reply: Any, context: FaultContext) -> bool:
        """
        Say whether the schema of the first tool that is called can be broken so.
        """
        return super().fits(reply, context) and bool(self._found(reply, context))

    def on_reply(self, reply: Any, context: FaultContext) -> Any:
        """
        Return the reply whose first call is violated.
        """
        found = self._found(reply, context)
        number = self.number
        if number is None:
            number = int(context.draw("violation") * len(found))
        first, *others = reply.tool_calls
        wrong = found[number % len(found)].arguments
        text = orjson.dumps(wrong, default=str).decode()
        return replace(reply, tool_calls=(replace(first, arguments=text), *others))

    def _found(self, reply: Any, context: FaultContext) -> list[Violation]:
        calls: tuple[Any, ...] = getattr(reply, "tool_calls", ())
        tool = context.asked.tool(calls[0].name) if calls else None
        if tool is None:
            return []
        try:
            arguments = orjson.loads(calls[0].arguments)
        except orjson.JSONDecodeError:
            arguments = None
        return [
            violation
            for violation in violations(tool.schema, arguments)
            if self.kind in {None, violation.kind}
        ]
