"""
The text of a document as plain values, each with its place.
"""

import re
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

REPEATED_VALUES_MAX = 50_000
"""Values that a document holds again by referring to them."""

DEPTH_MAX = 100
"""Levels of a document."""

_TOO_DEEP = re.compile(rf"(?:[\[{{]\s*){{{DEPTH_MAX}}}")
"""Found before the parser sees it: that takes seconds to find it."""

Keys = tuple[str | int, ...]
Places = dict[Keys, tuple[int, int]]
"""The line and column, from 1, at which each part of a document stands."""


class YamlMistakeError(ValueError):
    """
    A text that is not YAML, or more of it than can be used.

    Attributes:
        line: Where, from 1.
        column: From 1.
    """

    def __init__(self, message: str, *, line: int = 1, column: int = 1) -> None:
        super().__init__(message)
        self.line = line
        self.column = column


def read_yaml(text: str) -> tuple[Any, Places]:
    """
    Return the plain values of YAML or JSON text, and where each of them stands.

    Raises:
        YamlMistakeError: The text is not YAML, a key is given twice, or there is too
            much of it.
    """
    if _TOO_DEEP.search(text):
        message = f"is more than {DEPTH_MAX} levels deep"
        raise YamlMistakeError(message)
    yaml = YAML(typ="rt", pure=True)
    yaml.allow_duplicate_keys = False
    try:
        tree = yaml.load(StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = str(error.problem or error.context or "is not YAML").split("\n")[0]
        raise YamlMistakeError(problem, line=line, column=column) from error
    except (YAMLError, RecursionError, ValueError) as error:
        problem = str(error).split("\n")[0] or "is not YAML"
        raise YamlMistakeError(problem) from error
    reading = _Reading()
    return reading.plain(tree, ()), reading.places


class _Reading:
    """
    Takes a parsed document apart into plain values and their places.
    """

    def __init__(self) -> None:
        self.places: Places = {}
        self._seen: set[int] = set()
        self._repeated = 0

    def plain(self, node: Any, path: Keys) -> Any:
        """
        Return the plain value of a node.

        Raises:
            YamlMistakeError: It is too deep or too large, perhaps by referring to itself.
        """
        if len(path) > DEPTH_MAX:
            message = f"is more than {DEPTH_MAX} levels deep"
            raise YamlMistakeError(message)
        if not isinstance(node, CommentedMap | CommentedSeq):
            return _plain_scalar(node)
        self._count_again(node)
        if isinstance(node, CommentedMap):
            return self._mapping(node, path)
        return self._sequence(node, path)

    def _count_again(self, node: CommentedMap | CommentedSeq) -> None:
        if id(node) not in self._seen:
            self._seen.add(id(node))
            return
        self._repeated += 1 + len(node)
        if self._repeated > REPEATED_VALUES_MAX:
            message = f"refers to more than {REPEATED_VALUES_MAX} values again"
            raise YamlMistakeError(message)

    def _mapping(self, node: CommentedMap, path: Keys) -> dict[str, Any]:
        self.places.setdefault(path, (node.lc.line + 1, node.lc.col + 1))
        values = {}
        for key, value in node.items():
            name = key if isinstance(key, str) else str(key)
            if (place := _place_of(node, key)) is not None:
                self.places[*path, name] = place
            values[name] = self.plain(value, (*path, name))
        return values

    def _sequence(self, node: CommentedSeq, path: Keys) -> list[Any]:
        self.places.setdefault(path, (node.lc.line + 1, node.lc.col + 1))
        for index in range(len(node)):
            if (place := _place_of(node, index)) is not None:
                self.places[*path, index] = place
        return [self.plain(value, (*path, index)) for index, value in enumerate(node)]


def _place_of(node: Any, key: Any) -> tuple[int, int] | None:
    place = node.lc.data.get(key) if node.lc.data else None
    return None if place is None else (place[0] + 1, place[1] + 1)


def _plain_scalar(node: Any) -> Any:
    for kind in (bool, int, float, str):
        # ruamel's round-trip scalars are subclasses that keep their spelling.
        if isinstance(node, kind):
            return kind(node)
    return node
