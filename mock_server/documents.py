"""
YAML and JSON files as values, with the place of every mistake.

A document keeps the line and column of each of its parts. Whatever is wrong with it
is collected, never only the first mistake, and names the nearest right word.
"""

import difflib
import re
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import pydantic
from pydantic_core import ErrorDetails
from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError, YAMLError

DOCUMENT_BYTES_MAX = 16 * 1024 * 1024
"""A larger file is refused: scripts of 10,000 rules have about 2 MiB."""

REPEATED_VALUES_MAX = 50_000
"""Values that a document holds again by referring to them."""

DEPTH_MAX = 100
"""Levels of a document."""

_TOO_DEEP = re.compile(rf"(?:[\[{{]\s*){{{DEPTH_MAX}}}")
"""Found before the parser sees it: that takes seconds to find it."""

Path_ = tuple[str | int, ...]
ModelT = TypeVar("ModelT", bound=pydantic.BaseModel)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mistake:
    """
    One thing that is wrong with a document, and where.
    """

    file: str
    line: int
    """From 1."""

    column: int
    """From 1."""

    path: str
    """The place in words, like ``upstream.script[2].reply``."""

    message: str
    suggestion: str | None = None
    """The nearest right word, if one is near."""

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}: "
        what = f"{self.path}: {self.message}" if self.path else self.message
        hint = f"; did you mean {self.suggestion!r}?" if self.suggestion else ""
        return where + what + hint


class DocumentError(Exception):
    """
    A document that cannot be used.

    Attributes:
        mistakes: All of them, in the order of the file.
    """

    def __init__(self, mistakes: Iterable[Mistake]) -> None:
        self.mistakes: Sequence[Mistake] = tuple(
            sorted(mistakes, key=lambda mistake: (mistake.line, mistake.column))
        )
        super().__init__("\n".join(str(mistake) for mistake in self.mistakes))


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """
    The plain values of a file, and where each of them stood.
    """

    file: str
    data: Any
    places: dict[Path_, tuple[int, int]] = field(default_factory=dict)

    def mistake(
        self, path: Path_, message: str, *, suggestion: str | None = None
    ) -> Mistake:
        """
        Return a mistake at the deepest part of ``path`` that has a place.
        """
        known = path
        while known and known not in self.places:
            known = known[:-1]
        line, column = self.places.get(known, (1, 1))
        return Mistake(
            file=self.file,
            line=line,
            column=column,
            path=format_path(path),
            message=message,
            suggestion=suggestion,
        )


def format_path(path: Path_) -> str:
    """
    Return a path in words, like ``upstream.script[2].reply``.
    """
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def read_document(file: Path) -> Document:
    """
    Read a YAML or JSON file.

    Raises:
        DocumentError: It cannot be read, is too large, or is not YAML.
    """
    try:
        size_bytes = file.stat().st_size
        if size_bytes > DOCUMENT_BYTES_MAX:
            message = f"{size_bytes} bytes; a document has at most {DOCUMENT_BYTES_MAX}"
            raise DocumentError([_whole_file(str(file), message)])
        text = file.read_text(encoding="utf-8")
    except OSError as error:
        message = f"cannot be read: {error.strerror}"
        raise DocumentError([_whole_file(str(file), message)]) from error
    except UnicodeDecodeError as error:
        message = f"is not UTF-8 at byte {error.start}"
        raise DocumentError([_whole_file(str(file), message)]) from error
    return parse_document(text, file=str(file))


def parse_document(text: str, *, file: str) -> Document:
    """
    Parse YAML or JSON text.

    Args:
        text: The document.
        file: What mistakes call it.

    Raises:
        DocumentError: The text is not YAML, or a key is given twice.
    """
    if _TOO_DEEP.search(text):
        raise DocumentError(
            [_whole_file(file, f"is more than {DEPTH_MAX} levels deep")]
        )
    yaml = YAML(typ="rt", pure=True)
    yaml.allow_duplicate_keys = False
    try:
        tree = yaml.load(StringIO(text))
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = str(error.problem or error.context or "is not YAML").split("\n")[0]
        raise DocumentError(
            [Mistake(file=file, line=line, column=column, path="", message=problem)]
        ) from error
    except (YAMLError, RecursionError, ValueError) as error:
        problem = str(error).split("\n")[0] or "is not YAML"
        raise DocumentError([_whole_file(file, problem)]) from error
    reading = _Reading()
    try:
        data = reading.plain(tree, ())
    except ValueError as error:
        raise DocumentError([_whole_file(file, str(error))]) from error
    return Document(file=file, data=data, places=reading.places)


def validate_document(document: Document, model: type[ModelT]) -> ModelT:
    """
    Return the document as a value of ``model``.

    Raises:
        DocumentError: Every mistake, with its place and the nearest right word.
    """
    try:
        return model.model_validate(document.data)
    except pydantic.ValidationError as error:
        raise DocumentError(mistakes_of(document, error, model)) from error


@runtime_checkable
class Alternatives(Protocol):
    """
    Part of an annotation whose models are made when they are needed.
    """

    def alternatives(self) -> Any:
        """
        Return the union of the models.
        """


def mistakes_of(
    document: Document, error: pydantic.ValidationError, model: type[pydantic.BaseModel]
) -> list[Mistake]:
    """
    Return what pydantic found as mistakes with places, each place and message once.
    """
    found: dict[tuple[str, str], Mistake] = {}
    for detail in error.errors(include_url=False):
        is_missing = detail["type"] == "missing"
        path = _document_path(document, detail["loc"], is_missing=is_missing)
        suggestion = None
        message = _message_of(detail)
        if detail["type"] == "extra_forbidden":
            known = _known_words(model, path[:-1])
            suggestion = nearest(str(path[-1]), known)
            message = "unknown key"
            if suggestion is None and known:
                message += f"; there are {', '.join(sorted(known))}"
        elif detail["type"] in {"literal_error", "enum"}:
            expected = str(detail.get("ctx", {}).get("expected", ""))
            suggestion = nearest(str(detail["input"]), expected.split("'")[1::2])
        mistake = document.mistake(path, message, suggestion=suggestion)
        found.setdefault((mistake.path, mistake.message), mistake)
    return list(found.values())


def nearest(word: str, known: Iterable[str]) -> str | None:
    """
    Return the known word that is most like ``word``, if one is like it at all.
    """
    matches = difflib.get_close_matches(word, sorted(set(known)), n=1, cutoff=0.6)
    return matches[0] if matches else None


def _whole_file(file: str, message: str) -> Mistake:
    return Mistake(file=file, line=1, column=1, path="", message=message)


def _message_of(detail: ErrorDetails) -> str:
    message = detail["msg"].removeprefix("Value error, ")
    if detail["type"] == "missing":
        return "is missing"
    return message[:1].lower() + message[1:]


class _Reading:
    """
    Takes a parsed document apart into plain values and their places.
    """

    def __init__(self) -> None:
        self.places: dict[Path_, tuple[int, int]] = {}
        self._seen: set[int] = set()
        self._repeated = 0

    def plain(self, node: Any, path: Path_) -> Any:
        """
        Return the plain value of a node.

        Raises:
            ValueError: It is too deep or too large, perhaps by referring to itself.
        """
        if len(path) > DEPTH_MAX:
            message = f"is more than {DEPTH_MAX} levels deep"
            raise ValueError(message)
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
            raise ValueError(message)

    def _mapping(self, node: CommentedMap, path: Path_) -> dict[str, Any]:
        self.places.setdefault(path, (node.lc.line + 1, node.lc.col + 1))
        values = {}
        for key, value in node.items():
            name = key if isinstance(key, str) else str(key)
            if (place := _place_of(node, key)) is not None:
                self.places[*path, name] = place
            values[name] = self.plain(value, (*path, name))
        return values

    def _sequence(self, node: CommentedSeq, path: Path_) -> list[Any]:
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


def _document_path(
    document: Document, location: tuple[int | str, ...], *, is_missing: bool
) -> Path_:
    """
    Drop the parts that pydantic adds for alternatives; only real keys stay.
    """
    path: Path_ = ()
    for index, part in enumerate(location):
        is_last = index == len(location) - 1
        if (*path, part) in document.places or _has(document.data, (*path, part)):
            path = (*path, part)
        elif is_missing and is_last and isinstance(part, str):
            parent = _get(document.data, path)
            path = (*path, part) if isinstance(parent, dict) else path
    return path


def _get(data: Any, path: Path_) -> Any:
    for part in path:
        data = data[part]
    return data


def _has(data: Any, path: Path_) -> bool:
    try:
        _get(data, path)
    except (KeyError, IndexError, TypeError):
        return False
    return True


def _known_words(model: Any, path: Path_) -> set[str]:
    """
    Return the keys that the models along ``path`` allow at its end.
    """
    models = _models_in(model)
    for part in path:
        if isinstance(part, int):
            continue
        inner: set[type[pydantic.BaseModel]] = set()
        for candidate in models:
            for name, info in candidate.model_fields.items():
                if part in {name, info.alias}:
                    inner |= _models_in(info.annotation)
        # A key of a free mapping names no field: the models stay as they are.
        models = inner or models
    return {
        info.alias or name
        for candidate in models
        for name, info in candidate.model_fields.items()
    }


def _models_in(annotation: Any) -> set[type[pydantic.BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, pydantic.BaseModel):
        return {annotation}
    if isinstance(annotation, Alternatives):
        return _models_in(annotation.alternatives())
    return {
        model for inner in typing.get_args(annotation) for model in _models_in(inner)
    }
