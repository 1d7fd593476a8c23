"""
A fault as a script asks for it: which, when, how often, with which parameters.
"""

from collections.abc import Mapping
from typing import Any, Self

from pydantic import ConfigDict, Field, model_validator

from mock_server.script.base import OneOrMore, OneOrMoreNumbers, ScriptModel
from mock_server.units import Duration


class EverySchedule(ScriptModel):
    """
    A square wave: on for a while, then off for a while, from ``from`` on.
    """

    on_s: Duration = Field(alias="on", gt=0)
    off_s: Duration = Field(alias="off", gt=0)


class FaultMatch(ScriptModel):
    """
    Which requests a fault is for; an empty match is for all.
    """

    model: str | None = None
    """``*`` stands for anything."""

    tool: OneOrMore | None = None
    """The tool that runs, or a tool that the reply calls."""

    endpoint: OneOrMore | None = None
    """The name of the webhook endpoint."""

    stream: bool | None = None
    header: dict[str, str] | None = None
    turn: OneOrMoreNumbers | None = None
    world: str | None = None


class FaultScript(ScriptModel):
    """
    One fault of a surface.
    """

    model_config = ConfigDict(extra="allow", frozen=True)

    fault: str
    """Its name in the catalogue."""

    from_s: Duration = Field(default=0.0, alias="from")
    """Scenario time at which it begins."""

    to_s: Duration | None = Field(default=None, alias="to")
    """Scenario time at which it ends; by default never."""

    times: int | None = Field(default=None, ge=1)
    """Only the first so many requests that it could hit."""

    attempts: OneOrMoreNumbers | None = None
    """Only these attempts of a call, from 1."""

    injection_rate: float = Field(default=1.0, ge=0, le=1)
    """The share of requests that it hits."""

    every: EverySchedule | None = None
    match: FaultMatch = Field(default_factory=FaultMatch)

    @model_validator(mode="after")
    def _check_window(self) -> Self:
        if self.to_s is not None and self.to_s <= self.from_s:
            message = "to is not after from"
            raise ValueError(message)
        return self

    @property
    def parameters(self) -> Mapping[str, Any]:
        """
        The keys that belong to the fault itself, as its catalogue entry names them.
        """
        return dict(self.__pydantic_extra__ or {})


UpstreamFault = FaultScript
ToolFault = FaultScript
WebhookEndpointFault = FaultScript
WebhookEmitterFault = FaultScript
