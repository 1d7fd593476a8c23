"""
What somebody's service promises, and how it is asked.
"""

import datetime as dt
from pathlib import Path
from typing import Annotated

from pydantic import Field

from harness.scenario import (
    DocumentError,
    Promise,
    ScenarioModel,
    read_document,
    validate_document,
)


class KnownGap(ScenarioModel):
    """
    A check that is known to fail, why, and until when that is accepted.
    """

    check: str
    reason: Annotated[str, Field(min_length=1)]
    until: dt.date


class Profile(Promise):
    """
    A service under test: what it promises, and where it says that it is well.
    """

    health: Annotated[str | None, Field(pattern="^/")] = "/healthz"
    """Answers 2xx once the service accepts requests; null if there is no such path."""

    known: tuple[KnownGap, ...] = ()


def load_profile(file: Path) -> Profile:
    """
    Return the profile that a file holds.

    Raises:
        DocumentError: Every mistake, with its place and the nearest right word.
    """
    document = read_document(file)
    if not isinstance(document.data, dict):
        message = "a profile is a mapping, like {health: /healthz, breaker: null}"
        raise DocumentError([document.mistake((), message)])
    return validate_document(document, Profile)
