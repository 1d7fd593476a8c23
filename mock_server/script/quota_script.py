"""
How much an API key may ask for.
"""

from typing import Annotated

from pydantic import Field

from mock_server.script.base import ScriptModel
from mock_server.units import Duration, Rate


class QuotaScript(ScriptModel):
    """
    Limits that refill continuously; what is not limited is free.
    """

    requests_per_s: Rate | None = Field(default=None, alias="requests", gt=0)
    """Requests, like ``500/min``."""

    tokens_per_s: Rate | None = Field(default=None, alias="tokens", gt=0)
    """Tokens of the prompt, and those that the reply may have, like ``30000/min``."""

    concurrency: int | None = Field(default=None, ge=1)
    """Requests that are being answered at once."""

    period_s: Duration = Field(default=60.0, alias="period", gt=0)
    """An unused account holds what it may spend in so long."""


class QuotasScript(QuotaScript):
    """
    The limits of every API key, each key's its own.
    """

    models: dict[str, QuotaScript] = Field(default_factory=dict)
    """Models with limits of their own, ``*`` stands for anything; first match wins."""

    context_windows: dict[str, Annotated[int, Field(ge=1)]] = Field(
        default_factory=dict
    )
    """Tokens that a model can hold, by name; beside those of well-known models."""

    @property
    def is_limited(self) -> bool:
        """
        Whether there is anything to count.
        """
        return any(
            quota.requests_per_s or quota.tokens_per_s or quota.concurrency
            for quota in (self, *self.models.values())
        )
