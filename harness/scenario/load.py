"""
A file becomes a scenario, or a list of mistakes with their places.
"""

import json
from pathlib import Path
from typing import Any, Final

from harness.errors import UsageError
from harness.scenario.model import Scenario
from harness.settings import ServiceSettings
from mock_server.documents import (
    Document,
    DocumentError,
    Mistake,
    nearest,
    read_document,
    validate_document,
)
from mock_server.script import lint_script

_PACKAGE: Final = Path(__file__).resolve().parent.parent
SCENARIO_FOLDERS: Final = (_PACKAGE.parent / "scenarios", _PACKAGE / "_scenarios")
"""Where a bare name is looked up after ``./scenarios``: the checkout, then the wheel."""

SCHEMA_FILE: Final = "scenario.schema.json"

_SUFFIXES: Final = (".yaml", ".yml", ".json")


def load(scenario: str | Path) -> Scenario:
    """
    Return the scenario of a file, or of a name like ``upstream-outage``.

    Raises:
        DocumentError: Every mistake, with its place and the nearest right word.
        UsageError: There is no such file and no scenario of that name.
    """
    return parse(read_document(find(scenario)))


def parse(document: Document) -> Scenario:
    """
    Return the scenario that a document holds.

    Raises:
        DocumentError: Every mistake, with its place and the nearest right word.
    """
    if not isinstance(document.data, dict):
        message = "a scenario is a mapping with scenario, title, workload and more"
        raise DocumentError([document.mistake((), message)])
    scenario = validate_document(document, Scenario)
    if mistakes := lint_script(document, scenario):
        raise DocumentError(mistakes)
    return scenario


def load_settings(file: str | Path) -> ServiceSettings:
    """
    Return the settings of the reference service that a file holds.

    A file may hold the settings themselves, or a scenario, whose ``service`` they are
    then.

    Raises:
        DocumentError: Every mistake, with its place and the nearest right word.
    """
    document = read_document(Path(file))
    data = document.data
    if data is None:
        return ServiceSettings()
    if not isinstance(data, dict):
        message = "settings are a mapping, like {breaker: {break_duration: 5s}}"
        raise DocumentError([document.mistake((), message)])
    if "scenario" in data and "workload" in data:
        return parse(document).service
    return validate_document(document, ServiceSettings)


def find(scenario: str | Path) -> Path:
    """
    Return the file of a scenario, given by path or by name.

    Raises:
        UsageError: There is none; it names the nearest.
    """
    path = Path(scenario)
    if path.suffix in _SUFFIXES or len(path.parts) > 1:
        return path
    folders = [Path("scenarios"), *SCENARIO_FOLDERS]
    for folder in folders:
        for suffix in _SUFFIXES:
            if (file := folder / f"{path.name}{suffix}").is_file():
                return file
    known = scenario_names()
    hint = nearest(path.name, known)
    message = f"no scenario {path.name!r}; there are {', '.join(known) or 'none'}"
    raise UsageError(message + (f"; did you mean {hint!r}?" if hint else ""))


def scenario_names() -> list[str]:
    """
    Return the names that can be looked up.
    """
    return sorted(
        {
            file.stem
            for folder in (Path("scenarios"), *SCENARIO_FOLDERS)
            if folder.is_dir()
            for file in folder.iterdir()
            if file.suffix in _SUFFIXES and file.name != SCHEMA_FILE
        }
    )


def schema() -> dict[str, Any]:
    """
    Return the JSON Schema of a scenario file.
    """
    described = Scenario.model_json_schema(by_alias=True, mode="validation")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **described,
        "title": "toolcall-harness scenario",
    }


def schema_text() -> str:
    """
    Return the JSON Schema as the text of the file that lies beside the scenarios.
    """
    return json.dumps(schema(), indent=2, sort_keys=True, ensure_ascii=False) + "\n"


__all__ = ["DocumentError", "Mistake", "find", "load", "load_settings", "parse"]
