"""
YAML and JSON files as values, with the place of every mistake.

A document keeps the line and column of each of its parts. Whatever is wrong with it
is collected, never only the first mistake, and names the nearest right word.
"""

import difflib
import typing
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import pydantic
from pydantic_core import ErrorDetails

DOCUMENT_BYTES_MAX = 16 * 1024 * 1024
"""A larger file is refused: scripts of 10,000 rules have about 2 MiB."""

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
    # Loaded with the first document: a mock without a script reads none.
    from mock_server.yaml_text import YamlMistakeError, read_yaml  # noqa: PLC0415

    try:
        data, places = read_yaml(text)
    except YamlMistakeError as error:
        mistake = Mistake(
            file=file,
            line=error.line,
            column=error.column,
            path="",
            message=str(error),
        )
        raise DocumentError([mistake]) from error
    return Document(file=file, data=data, places=places)


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
