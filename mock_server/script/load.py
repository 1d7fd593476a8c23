"""
A file becomes a script, or a list of mistakes with their places.
"""

from pathlib import Path
from typing import Any, Final

from mock_server.documents import (
    Document,
    DocumentError,
    Mistake,
    nearest,
    read_document,
    validate_document,
)
from mock_server.script.lint import lint_script
from mock_server.script.model import MockScript

SURFACES: Final = tuple(MockScript.model_fields)
"""The keys of a script."""

_SCENARIO_KEY: Final = "scenario"
_SCENARIO_KEYS: Final = frozenset(
    {
        _SCENARIO_KEY,
        "title",
        "seed",
        "service",
        "promise",
        "workload",
        "expect",
        "description",
        "bench",
    }
)


def load_script(file: Path) -> MockScript:
    """
    Return the script of a file, which may be a whole scenario.

    Raises:
        DocumentError: Every mistake, with its place and the nearest right word.
    """
    return script_of(read_document(file))


def script_of(document: Document) -> MockScript:
    """
    Return the script that a document holds; of a scenario, the surfaces' part.

    Raises:
        DocumentError: Every mistake, with its place and the nearest right word.
    """
    if document.data is None:
        return MockScript.empty()
    if not isinstance(document.data, dict):
        message = f"a script is a mapping with {', '.join(SURFACES)}"
        raise DocumentError([document.mistake((), message)])
    part = document
    misspelt: list[Mistake] = []
    if _SCENARIO_KEY in document.data:
        misspelt = list(_misspelt(document))
        part = Document(
            file=document.file,
            data={key: document.data[key] for key in SURFACES if key in document.data},
            places=document.places,
        )
    try:
        script = validate_document(part, MockScript)
    except DocumentError as error:
        raise DocumentError([*error.mistakes, *misspelt]) from error
    mistakes = [*misspelt, *lint_script(part, script)]
    if mistakes:
        raise DocumentError(mistakes)
    return script


def seed_of(document: Document) -> int | None:
    """
    Return the seed of a scenario, if the document is one and names it.
    """
    data: Any = document.data
    seed = data.get("seed") if isinstance(data, dict) else None
    return seed if isinstance(seed, int) and not isinstance(seed, bool) else None


def _misspelt(document: Document) -> list[Mistake]:
    """
    Return the keys of a scenario that look like a surface and are none.
    """
    return [
        document.mistake((key,), "unknown key", suggestion=hint)
        for key in document.data
        if key not in SURFACES
        and key not in _SCENARIO_KEYS
        and (hint := nearest(key, SURFACES)) is not None
    ]
