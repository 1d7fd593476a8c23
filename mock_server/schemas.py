"""
JSON Schemas of tools: the smallest value that one allows.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

from mock_server.patterns import text_for

_DEPTH_MAX = 16
"""A schema that is deeper, or that refers to itself, is cut off with null."""

_PLAIN_DEPTH = 4
"""Deeper lists are empty and options null where they may: a tree ends there."""

_VALUES_MAX = 2000
"""So many values are made of one schema; the others are null."""

_NUMBER_MAX = 1e300
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
_IMPLIED = {
    "object": {"properties", "required", "additionalProperties", "minProperties"},
    "array": {"items", "prefixItems", "minItems", "uniqueItems"},
    "number": {"minimum", "maximum", "exclusiveMinimum", "multipleOf"},
}


def value_for(schema: Any, *, root: Mapping[str, Any] | None = None) -> Any:
    """
    Return the smallest plain value that a JSON Schema allows.

    Defaults, constants, examples and enumerations are taken where there are any. What
    cannot be computed (conditions, negations) is not tried.

    Args:
        schema: A schema, or a part of one.
        root: What its references point into; by default itself.
    """
    if root is None:
        root = schema if isinstance(schema, Mapping) else {}
    return _Maker(root).make(schema, depth=0)


class _Maker:
    """
    Makes one value, within bounds: a schema may refer to itself many times over.
    """

    def __init__(self, root: Mapping[str, Any]) -> None:
        self._root = root
        self._left = _VALUES_MAX

    def make(self, schema: Any, *, depth: int, number: int = 0) -> Any:
        """
        Return a value; another ``number`` gives another one where there are several.
        """
        self._left -= 1
        if not isinstance(schema, Mapping) or depth > _DEPTH_MAX or self._left < 0:
            return None
        given = _given(schema, number)
        if given:
            return given[0]
        further = self._further(schema, depth)
        if further is not None:
            return self.make(further, depth=depth + 1, number=number)
        return self._typed(schema, depth, number)

    def _further(self, schema: Mapping[str, Any], depth: int) -> Any:
        """
        Return the schema that this one stands for; None if it speaks for itself.
        """
        if isinstance(schema.get("$ref"), str):
            target = follow_reference(schema["$ref"], self._root)
            return {"type": "null"} if target is None else target
        for key in ("anyOf", "oneOf"):
            options = schema.get(key)
            if isinstance(options, list) and options:
                option = self._option(options, depth)
                return self._joined(schema, [option], without=key)
        parts = schema.get("allOf")
        if isinstance(parts, list) and parts:
            return self._joined(schema, parts, without="allOf")
        return None

    @staticmethod
    def _option(options: list[Any], depth: int) -> Any:
        """
        Return the first option; deep inside, where a tree has to end, null if it may.
        """
        if depth > _PLAIN_DEPTH:
            for option in options:
                if isinstance(option, Mapping) and option.get("type") == "null":
                    return option
        return options[0]

    def _joined(
        self, schema: Mapping[str, Any], parts: Iterable[Any], *, without: str
    ) -> dict[str, Any]:
        """
        Return one schema that asks for all that a schema and its parts ask for.
        """
        joined = {key: value for key, value in schema.items() if key != without}
        for part in parts:
            seen = 0
            while isinstance(part, Mapping) and isinstance(part.get("$ref"), str):
                part = follow_reference(part["$ref"], self._root)  # noqa: PLW2901
                seen += 1
                if seen > _DEPTH_MAX:
                    return joined
            if not isinstance(part, Mapping):
                continue
            for key, value in part.items():
                mine = joined.get(key)
                if isinstance(mine, Mapping) and isinstance(value, Mapping):
                    joined[key] = {**mine, **value}
                elif key == "required" and isinstance(mine, list):
                    joined[key] = [*mine, *(value if isinstance(value, list) else ())]
                else:
                    joined[key] = value
        return joined

    def _typed(self, schema: Mapping[str, Any], depth: int, number: int) -> Any:
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((name for name in kind if name != "null"), "null")
        if kind is None:
            kind = _implied_type(schema)
        match kind:
            case "object":
                return self._object(schema, depth, number)
            case "array":
                return self._array(schema, depth)
            case "integer" | "number":
                return _number_for(schema, is_whole=kind == "integer", number=number)
            case "boolean":
                return number % 2 == 0
            case "string":
                return _string(schema, number)
            case _:
                return None

    def _object(self, schema: Mapping[str, Any], depth: int, number: int) -> Any:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, Mapping) else {}
        required = schema.get("required")
        names = required if isinstance(required, list) else list(properties)
        made = {
            name: self.make(properties.get(name, {}), depth=depth + 1, number=number)
            for name in names
            if isinstance(name, str)
        }
        others = schema.get("additionalProperties")
        names_min = min(_number(schema, "minProperties", 0), _ITEMS_MAX)
        while len(made) < names_min and others is not False:
            made[f"key{len(made) + 1}"] = self.make(
                others if isinstance(others, Mapping) else {}, depth=depth + 1
            )
        return made

    def _array(self, schema: Mapping[str, Any], depth: int) -> list[Any]:
        length = int(min(_number(schema, "minItems", 0), _ITEMS_MAX))
        if depth <= _PLAIN_DEPTH and _number(schema, "maxItems", 1) >= 1:
            length = max(1, length)
        first = schema.get("prefixItems")
        first = first if isinstance(first, list) else []
        if length <= 1 or not schema.get("uniqueItems"):
            numbers = [0] * length
        else:
            numbers = list(range(length))
        rest = schema.get("items", {})
        return [
            self.make(
                first[place] if place < len(first) else rest,
                depth=depth + 1,
                number=number,
            )
            for place, number in enumerate(numbers)
        ]


def _given(schema: Mapping[str, Any], number: int) -> list[Any]:
    """
    Return the value that a schema itself holds, alone in a list; else an empty one.
    """
    for key in ("const", "default"):
        if key in schema:
            return [schema[key]]
    for key in ("enum", "examples"):
        given = schema.get(key)
        if isinstance(given, list) and given:
            return [given[number % len(given)]]
    return []


def _implied_type(schema: Mapping[str, Any]) -> str:
    """
    Return the type of a schema that does not say it.
    """
    for kind, keys in _IMPLIED.items():
        if keys & schema.keys():
            return kind
    return "string"


def _string(schema: Mapping[str, Any], number: int) -> str:
    pattern = schema.get("pattern")
    if isinstance(pattern, str):
        text = text_for(pattern)
        if text is not None:
            return text
    known = _FORMATS.get(str(schema.get("format")))
    if known is not None:
        return known
    length_min = min(int(_number(schema, "minLength", 0)), _LENGTH_MAX)
    length_max = min(int(_number(schema, "maxLength", _LENGTH_MAX)), _LENGTH_MAX)
    length_max = max(0, length_max)
    text = "text" if length_max >= len("text") else "t" * length_max
    text += "t" * (length_min - len(text))
    end = str(number) if number else ""
    return (text + end)[-length_max:] if length_max else ""


def _number_for(schema: Mapping[str, Any], *, is_whole: bool, number: int) -> float:
    """
    Return 1 if it is allowed, else what is nearest to a bound.
    """
    low = _number(schema, "minimum", -math.inf)
    high = _number(schema, "maximum", math.inf)
    above = _number(schema, "exclusiveMinimum", -math.inf)
    below = _number(schema, "exclusiveMaximum", math.inf)
    step = _number(schema, "multipleOf", 0)
    least, most = max(low, above), min(high, below)
    pace = step if step > 0 else 1
    candidates = [1 + number * pace, 0]
    for bound in (least, most):
        if math.isfinite(bound):
            on_step = math.floor(bound / pace) * pace
            candidates += [bound, on_step, on_step + pace, on_step + 2 * pace]
            candidates += [on_step - pace, on_step + (number + 1) * pace]
    if step > 0:
        candidates.append((number + 1) * step)
    if math.isfinite(least) and math.isfinite(most):
        candidates.append((least + most) / 2)

    def fits(value: float) -> bool:
        return (
            low <= value <= high
            and above < value < below
            and (not is_whole or value == int(value))
            and (step <= 0 or math.isclose(value / step, round(value / step)))
        )

    value = next((value for value in candidates if fits(value)), 1)
    return int(value) if is_whole else value


def _number(schema: Mapping[str, Any], key: str, default: float) -> float:
    value = schema.get(key, default)
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and abs(value) < _NUMBER_MAX else default


def follow_reference(reference: str, root: Mapping[str, Any]) -> Any:
    """
    Return what a reference within the schema points to.
    """
    value: Any = root
    if reference == "#":
        return value
    for part in reference.removeprefix("#/").split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(value, Mapping) or name not in value:
            return None
        value = value[name]
    return value
