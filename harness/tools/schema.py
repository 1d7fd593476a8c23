"""
The arguments of a tool call, checked against the tool's JSON Schema (Draft 2020-12).

The text comes from a model and can be anything: it is bounded before it is parsed,
what JSON readers disagree about (repeated keys, ``NaN``, numbers without end) is
refused, and every mistake is a sentence that the model can act upon.
"""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NoReturn

import orjson
import referencing
import referencing.jsonschema
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError, ValidationError
from referencing.exceptions import Unresolvable

from harness.errors import InvalidArgumentsError, UsageError

ARGUMENTS_BYTES_MAX = 64 * 1024
"""Longer arguments are refused unread."""

ARGUMENTS_DEPTH_MAX = 32
"""So many arrays and objects may be nested."""

SCHEMA_BYTES_MAX = 64 * 1024
"""A longer schema is refused: it is sent to the model with every request."""

MISTAKES_MAX = 10
"""So many mistakes are named; the model corrects few at a time anyway."""

_MISTAKE_CHARACTERS_MAX = 300
_INTEGER_BITS_MAX: Final = 64
_INTEGER_DIGITS_MAX = 20
# Possessive and never failing, so that it takes one pass over any text.
_STRING: Final = re.compile(r'"(?:[^"\\]++|\\.?)*+"?', re.DOTALL)
_ANNOTATIONS: Final = frozenset({"const", "default", "enum", "examples"})
_NO_RETRIEVAL: referencing.Registry[Any] = referencing.Registry()


class ArgumentsSchema:
    """
    A tool's JSON Schema, checked when built.

    Args:
        tool: The name, for errors.
        schema: The schema; of an object, as a model gives arguments by name.

    Raises:
        UsageError: It is no schema, not one of an object, or refers elsewhere.
    """

    def __init__(self, tool: str, schema: Mapping[str, Any]) -> None:
        self._tool = tool
        self.schema = _plain_schema(tool, schema)
        _check_schema(tool, self.schema)
        self._validator = Draft202012Validator(
            self.schema,
            registry=_NO_RETRIEVAL,
            format_checker=Draft202012Validator.FORMAT_CHECKER,
        )

    def parse(self, text: str) -> dict[str, Any]:
        """
        Return the arguments that a text stands for; blank text stands for none.

        Raises:
            InvalidArgumentsError: It is no JSON object or breaks the schema; all
                mistakes at once, up to a limit.
        """
        try:
            arguments = parse_json(text) if text.strip() else {}
        except ValueError as error:
            raise InvalidArgumentsError(
                tool=self._tool, mistakes=[str(error)]
            ) from error
        mistakes = self.mistakes(arguments)
        if mistakes:
            raise InvalidArgumentsError(tool=self._tool, mistakes=mistakes)
        if not isinstance(arguments, dict):
            raise InvalidArgumentsError(
                tool=self._tool, mistakes=["a JSON object is needed"]
            )
        return arguments

    def mistakes(self, arguments: object) -> Sequence[str]:
        """
        Return what is wrong with arguments, in the order of their paths.
        """
        found: list[tuple[str, str]] = []
        try:
            for error in self._validator.iter_errors(arguments):
                found.append((error.json_path, _describe(error)))
                if len(found) == MISTAKES_MAX:
                    break
        except RecursionError:
            return ["nested deeper than the schema can be followed"]
        return [message for _, message in sorted(found)]


def parse_json(
    text: str,
    *,
    bytes_max: int = ARGUMENTS_BYTES_MAX,
    depth_max: int = ARGUMENTS_DEPTH_MAX,
) -> Any:
    """
    Return the value of a JSON text that every reader takes for the same value.

    Raises:
        ValueError: It is no JSON, too large or too deep, repeats a key, holds a
            number that is none or fits no 64 bits, or text that is not Unicode.
    """
    size_bytes = len(text.encode(errors="surrogatepass"))
    if size_bytes > bytes_max:
        message = f"{size_bytes} bytes, and at most {bytes_max} are allowed"
        raise ValueError(message)
    if _depth(text) > depth_max:
        message = f"nested deeper than {depth_max} levels"
        raise ValueError(message)
    try:
        value = json.loads(
            text,
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
            parse_float=_float,
            parse_int=_int,
        )
    except json.JSONDecodeError as error:
        message = f"not JSON: {error.msg} at line {error.lineno}, column {error.colno}"
        raise ValueError(message) from error
    try:
        orjson.dumps(value)
    except TypeError as error:
        message = "a text holds half of a surrogate pair, which is not Unicode"
        raise ValueError(message) from error
    return value


def _depth(text: str) -> int:
    if text.count("[") + text.count("{") <= 1:
        return 1
    depth = deepest = 0
    for character in _STRING.sub("", text):
        if character in "[{":
            depth += 1
            deepest = max(deepest, depth)
        elif character in "]}":
            depth -= 1
    return deepest


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, value in pairs:
        if name in values:
            message = f"the key {name[:80]!r} stands there twice"
            raise ValueError(message)
        values[name] = value
    return values


def _refuse_constant(name: str) -> NoReturn:
    message = f"{name} is no JSON"
    raise ValueError(message)


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        message = f"{text[:40]} is out of range"
        raise ValueError(message)
    return value


def _int(text: str) -> int:
    fits = len(text.lstrip("-")) <= _INTEGER_DIGITS_MAX
    value = int(text) if fits else 0
    if not fits or not -(2 ** (_INTEGER_BITS_MAX - 1)) <= value < 2**_INTEGER_BITS_MAX:
        message = f"{text[:40]} is out of range"
        raise ValueError(message)
    return value


def _describe(error: ValidationError) -> str:
    path = error.json_path.removeprefix("$").removeprefix(".")
    if error.validator == "additionalProperties":
        schema = error.schema if isinstance(error.schema, Mapping) else {}
        known = ", ".join(sorted(schema.get("properties", {})))
        message = f"{error.message} (known: {known or 'none'})"
    elif error.validator == "format":
        message = f"{error.instance!r} is no {error.validator_value}"
    else:
        message = error.message
    sentence = f"{path}: {message}" if path else message
    if len(sentence) <= _MISTAKE_CHARACTERS_MAX:
        return sentence
    # The end says what was expected, the beginning where; the value is the middle.
    half = _MISTAKE_CHARACTERS_MAX // 2
    return f"{sentence[:half]} … {sentence[-half:]}"


def _plain_schema(tool: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    try:
        text = orjson.dumps(schema)
    except TypeError as error:
        message = f"the schema of {tool!r} is no JSON: {error}"
        raise UsageError(message) from error
    if len(text) > SCHEMA_BYTES_MAX:
        message = f"the schema of {tool!r} has {len(text)} bytes; at most {SCHEMA_BYTES_MAX} are allowed"
        raise UsageError(message)
    # A copy: what was checked cannot be changed from outside afterwards.
    plain = orjson.loads(text)
    if not isinstance(plain, dict) or plain.get("type") != "object":
        message = f"the schema of {tool!r} must have type 'object'"
        raise UsageError(message)
    return plain


def _check_schema(tool: str, schema: dict[str, Any]) -> None:
    try:
        Draft202012Validator.check_schema(schema)
        # References are followed when first used, which would be in a chat.
        for name, value in _walk(schema):
            if name in {"$ref", "$dynamicRef"} and isinstance(value, str):
                _resolve(schema, value)
    except SchemaError as error:
        message = f"the schema of {tool!r} is none, at {error.json_path}: {error.message[:300]}"
        raise UsageError(message) from error
    except (Unresolvable, RecursionError) as error:
        message = f"the schema of {tool!r} cannot be used: {str(error)[:300]}"
        raise UsageError(message) from error


def _walk(value: object) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield name, inner
            if name not in _ANNOTATIONS:
                yield from _walk(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner)


def _resolve(schema: dict[str, Any], reference: str) -> None:
    resource = referencing.Resource.from_contents(
        schema, default_specification=referencing.jsonschema.DRAFT202012
    )
    base = schema.get("$id", "")
    _NO_RETRIEVAL.with_resource(base, resource).resolver(base).lookup(reference)
