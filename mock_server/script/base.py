"""
What every part of a script has in common.
"""

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict


class ScriptModel(BaseModel):
    """
    A part of a script: frozen, and an unknown key is an error.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        defer_build=True,
    )


def _as_list(value: object) -> object:
    """
    Let a single value stand for a list of one.
    """
    return value if isinstance(value, list | tuple) or value is None else [value]


OneOrMore = Annotated[
    list[str], BeforeValidator(_as_list, json_schema_input_type=str | list[str])
]
"""A text, or a list of texts."""

OneOrMoreNumbers = Annotated[
    list[int], BeforeValidator(_as_list, json_schema_input_type=int | list[int])
]
"""A number, or a list of numbers."""

Json = Any
"""Any value that JSON can hold."""
