"""
What every part of a script has in common.
"""

from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, GetJsonSchemaHandler
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from mock_server.attribute_docs import attribute_docs


class ScriptModel(BaseModel):
    """
    A part of a script: frozen, and an unknown key is an error.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    @classmethod
    def empty(cls) -> Self:
        """
        Return the part of which a script says nothing.

        What is given by default is not checked, so that the validators of a script,
        which take a tenth of the time until a mock serves, are built for one that says
        something.
        """
        return cls.model_construct()  # type: ignore[return-value]  # it is one

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler, /
    ) -> JsonSchemaValue:
        """
        Return the schema, with what the docstrings say of the keys.

        They are read for the schema alone: to have them read wherever a class is made
        takes a quarter of the time until a mock serves.
        """
        schema = handler(core_schema)
        described = handler.resolve_ref_schema(schema).get("properties", {})
        docs = attribute_docs(cls)
        for name, field in cls.model_fields.items():
            key = described.get(field.alias or name)
            if key is not None and name in docs:
                key.setdefault("description", docs[name])
        return schema


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
