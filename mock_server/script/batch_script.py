"""
How batches go.
"""

from pydantic import Field

from mock_server.script.base import ScriptModel
from mock_server.units import Duration


class BatchScript(ScriptModel):
    """
    How long the stages of a batch take, and when it is given up.
    """

    validating_s: Duration = Field(default=0.1, alias="validating")
    in_progress_s: Duration = Field(default=1.0, alias="in_progress")
    """All requests together; they are spread evenly over it."""

    finalizing_s: Duration = Field(default=0.1, alias="finalizing")
    window_s: Duration = Field(default=24 * 3600.0, alias="window", gt=0)
    """A batch that is still in progress then has expired."""
