"""
What all sections of the settings have in common.
"""

from pydantic import BaseModel, ConfigDict


class Section(BaseModel):
    """
    Base of all sections: unknown keys are refused, fields explain themselves.
    """

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )
