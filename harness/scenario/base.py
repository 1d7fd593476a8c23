"""
What every part of a scenario has in common.
"""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict
from pydantic_core import PydanticCustomError

from mock_server.documents import nearest


class ScenarioModel(BaseModel):
    """
    A part of a scenario: frozen, and an unknown key is an error.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, use_attribute_docstrings=True
    )


def unknown_word(word: str, known: Iterable[str], *, what: str) -> PydanticCustomError:
    """
    Return the error for a word that is none of a closed list.

    It has the type of a literal's error, so that the nearest right word is named.
    """
    words = sorted(known)
    message = f"unknown {what}"
    if nearest(word, words) is None:
        message += f"; there are {', '.join(words)}"
    expected = ", ".join(f"'{each}'" for each in words)
    return PydanticCustomError(
        "literal_error", "{message}", {"message": message, "expected": expected}
    )
