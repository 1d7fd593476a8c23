"""
What shape a value must have, and the API's own words for what is wrong with it.

A shape is a small tree of these nodes. ``check`` raises the first mistake, in the
order of the document, with the path of the value and the code the API gives it.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from mock_server.wire.errors import ApiError

_KINDS = {
    type(None): "null",
    bool: "a boolean",
    int: "an integer",
    float: "a decimal",
    str: "a string",
    list: "an array",
}


class Shape(ABC):
    """
    What a value must be.
    """

    noun: str
    """With its article, like ``a string``."""

    @abstractmethod
    def check(self, value: Any, path: str) -> None:
        """
        Refuse a value that is not like this.

        Raises:
            ApiError: The first mistake in it.
        """


def kind_of(value: object) -> str:
    """
    Return what a JSON value is, with its article, as the API's errors say it.
    """
    # A bool is an int to isinstance, so the exact type is looked up.
    return _KINDS.get(type(value), "an object")


def refuse_type(noun: str, value: object, path: str) -> NoReturn:
    """
    Refuse a value of another type.

    Raises:
        ApiError: Always.
    """
    message = (
        f"Invalid type for '{path}': expected {noun}, but got {kind_of(value)} instead."
    )
    raise ApiError(message, param=path, code="invalid_type")


def missing(path: str) -> ApiError:
    """
    Return the error of a field that is not there.
    """
    message = f"Missing required parameter: '{path}'."
    return ApiError(message, param=path, code="missing_required_parameter")


def unsupported(value: str, supported: Sequence[str], path: str) -> ApiError:
    """
    Return the error of a word that is not one of those that are known.
    """
    *others, last = [f"'{word}'" for word in supported]
    words = f"{', '.join(others)}{',' if len(others) > 1 else ''} and {last}"
    message = (
        f"Invalid value: '{value}'. Supported values are: {words if others else last}."
    )
    return ApiError(message, param=path, code="invalid_value")


def _bound(path: str, what: str, expected: str, got: str, code: str) -> ApiError:
    message = f"Invalid '{path}': {what}. Expected {expected}, but got {got} instead."
    return ApiError(message, param=path, code=code)


@dataclass(frozen=True, kw_only=True)
class Text(Shape):
    """
    A string.
    """

    words: tuple[str, ...] = ()
    """The only ones allowed, if any are named."""

    pattern: str | None = None
    length_min: int = 0
    length_max: int | None = None
    noun: str = "a string"

    def check(self, value: Any, path: str) -> None:
        """
        Refuse another type, an unknown word, a bad length or spelling.
        """
        if not isinstance(value, str):
            refuse_type(self.noun, value, path)
        if self.words and value not in self.words:
            raise unsupported(value, self.words, path)
        if len(value) < self.length_min:
            expected = f"a string with minimum length {self.length_min}"
            raise _bound(
                path, "empty string", expected, "an empty string", "empty_string"
            )
        if self.length_max is not None and len(value) > self.length_max:
            expected = f"a string with maximum length {self.length_max}"
            got = f"a string with length {len(value)}"
            raise _bound(
                path, "string too long", expected, got, "string_above_max_length"
            )
        if self.pattern is not None and not re.search(self.pattern, value):
            message = (
                f"Invalid '{path}': string does not match pattern. Expected a string "
                f"that matches the pattern '{self.pattern}'."
            )
            raise ApiError(message, param=path, code="invalid_value")


@dataclass(frozen=True, kw_only=True)
class Number(Shape):
    """
    A number between bounds.
    """

    minimum: int | None = None
    maximum: int | None = None
    whole: bool = False
    noun: str = "a decimal"

    def check(self, value: Any, path: str) -> None:
        """
        Refuse another type, or a number outside the bounds.
        """
        is_number = isinstance(value, int if self.whole else int | float)
        if not is_number or isinstance(value, bool):
            refuse_type("an integer" if self.whole else self.noun, value, path)
        kind = "integer" if self.whole else "decimal"
        if self.minimum is not None and value < self.minimum:
            expected = f"a value >= {self.minimum}"
            what, code = f"{kind} below minimum value", f"{kind}_below_min_value"
            raise _bound(path, what, expected, f"{value}", code)
        if self.maximum is not None and value > self.maximum:
            expected = f"a value <= {self.maximum}"
            what, code = f"{kind} above maximum value", f"{kind}_above_max_value"
            raise _bound(path, what, expected, f"{value}", code)


@dataclass(frozen=True, kw_only=True)
class Boolean(Shape):
    """
    True or false.
    """

    noun: str = "a boolean"

    def check(self, value: Any, path: str) -> None:
        """
        Refuse another type.
        """
        if not isinstance(value, bool):
            refuse_type(self.noun, value, path)


@dataclass(frozen=True, kw_only=True)
class Anything(Shape):
    """
    Any value: the API looks at it elsewhere.
    """

    noun: str = "a value"

    def check(self, value: Any, path: str) -> None:
        """
        Accept it.
        """


@dataclass(frozen=True, kw_only=True)
class Nullable(Shape):
    """
    A value that may be null.
    """

    shape: Shape

    @property
    def noun(self) -> str:  # type: ignore[override]
        """
        What it is when it is not null.
        """
        return self.shape.noun

    def check(self, value: Any, path: str) -> None:
        """
        Refuse what is neither null nor of the shape.
        """
        if value is not None:
            self.shape.check(value, path)


@dataclass(frozen=True, kw_only=True)
class Array(Shape):
    """
    A list whose items are alike.
    """

    item: Shape
    length_min: int = 0
    length_max: int | None = None

    @property
    def noun(self) -> str:  # type: ignore[override]
        """
        What it holds, in the plural.
        """
        return f"an array of {self.item.noun.split(' ', 1)[1]}s"

    def check(self, value: Any, path: str) -> None:
        """
        Refuse another type, a bad length, or the first bad item.
        """
        if not isinstance(value, list):
            refuse_type(self.noun, value, path)
        if len(value) < self.length_min:
            expected = f"an array with minimum length {self.length_min}"
            raise _bound(path, "empty array", expected, "an empty array", "empty_array")
        if self.length_max is not None and len(value) > self.length_max:
            expected = f"an array with maximum length {self.length_max}"
            got = f"an array with length {len(value)}"
            code = "array_above_max_length"
            raise _bound(path, "array too long", expected, got, code)
        for index, item in enumerate(value):
            self.item.check(item, f"{path}[{index}]")


@dataclass(frozen=True, kw_only=True)
class Object(Shape):
    """
    An object with known fields; those not named are left alone, unless it is closed.
    """

    fields: Mapping[str, Shape]
    required: tuple[str, ...] = ()
    noun: str = "an object"

    def check(self, value: Any, path: str) -> None:
        """
        Refuse another type, a missing field, or the first bad one.
        """
        if not isinstance(value, dict):
            refuse_type(self.noun, value, path)
        prefix = f"{path}." if path else ""
        for name in self.required:
            if name not in value:
                raise missing(prefix + name)
        for name, item in value.items():
            shape = self.fields.get(name)
            if shape is not None:
                shape.check(item, prefix + name)


@dataclass(frozen=True, kw_only=True)
class Table(Shape):
    """
    An object with free keys.
    """

    value: Shape
    key_length_max: int | None = None
    length_max: int | None = None
    noun: str = "an object"

    def check(self, value: Any, path: str) -> None:
        """
        Refuse another type, too many keys, or the first bad key or value.
        """
        if not isinstance(value, dict):
            refuse_type(self.noun, value, path)
        if self.length_max is not None and len(value) > self.length_max:
            expected = f"an object with at most {self.length_max} properties"
            got = f"an object with {len(value)} properties"
            code = "object_above_max_properties"
            raise _bound(path, "too many properties", expected, got, code)
        for key, item in value.items():
            if self.key_length_max is not None and len(key) > self.key_length_max:
                Text(length_max=self.key_length_max).check(key, path)
            self.value.check(item, f"{path}.{key}")


@dataclass(frozen=True, kw_only=True)
class Tagged(Shape):
    """
    An object whose kind one of its fields names.
    """

    tag: str
    kinds: Mapping[str, Object]
    noun: str = "an object"

    def check(self, value: Any, path: str) -> None:
        """
        Refuse another type, an unknown kind, or what is wrong for its kind.
        """
        if not isinstance(value, dict):
            refuse_type(self.noun, value, path)
        tag_path = f"{path}.{self.tag}"
        if self.tag not in value:
            raise missing(tag_path)
        kind = value[self.tag]
        Text(words=tuple(self.kinds)).check(kind, tag_path)
        self.kinds[kind].check(value, path)


@dataclass(frozen=True, kw_only=True)
class Either(Shape):
    """
    One shape for a string, another for anything else.
    """

    text: Shape
    other: Shape

    @property
    def noun(self) -> str:  # type: ignore[override]
        """
        Both, the way the API names alternatives.
        """
        return f"one of {self.text.noun} or {self.other.noun.split(' ', 1)[1]}"

    def check(self, value: Any, path: str) -> None:
        """
        Refuse what fits neither.
        """
        if isinstance(value, str):
            self.text.check(value, path)
        elif isinstance(value, list if isinstance(self.other, Array) else dict):
            self.other.check(value, path)
        else:
            refuse_type(self.noun, value, path)
