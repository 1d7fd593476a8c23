"""
The workload as a scenario says it: phases, one after the other.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from harness.scenario.base import ScenarioModel
from harness.settings import Count, PositiveDuration, Rate

Mode = Literal["sync", "async", "stream"]
Shape = Literal["constant", "ramp", "step", "spike"]


class Send(ScenarioModel):
    """
    What a caller sends.
    """

    message: Annotated[str, Field(min_length=1, max_length=32_000)]
    """The user's message; every arrival's is made unique by a tag at its end."""

    weight: Annotated[float, Field(gt=0)] = 1.0
    """How often it is sent, compared with the others of its phase."""

    mode: Mode | None = None
    """Replaces the phase's mode."""

    user_id: str | None = None
    """By default one of a hundred users."""


class SpikeShape(ScenarioModel):
    """
    When a spike comes, and for how long.
    """

    at: PositiveDuration
    lasts: PositiveDuration


def _as_list(value: object) -> object:
    return [value] if isinstance(value, dict | Send) else value


class OpenPhase(ScenarioModel):
    """
    Arrivals that come on schedule, whatever became of earlier ones.
    """

    name: str | None = None
    arrivals: Rate
    """How many per second; where the shape changes it, at the beginning."""

    for_s: Annotated[PositiveDuration, Field(alias="for")]
    """How long the phase lasts."""

    send: Annotated[list[Send], BeforeValidator(_as_list), Field(min_length=1)]
    """One message, or several with weights."""

    mode: Mode = "sync"
    spacing: Literal["poisson", "even"] = "poisson"
    """``poisson`` comes as independent callers do, ``even`` at equal distances."""

    warmup: bool = False
    """Sent like the rest, and left out of every figure."""

    shape: Shape = "constant"
    to: Rate | None = None
    """The rate at the end of a ramp or of steps, or at the top of a spike."""

    steps: Annotated[int, Field(ge=2, le=1000)] | None = None
    """How many equal steps lead from ``arrivals`` to ``to``."""

    spike: SpikeShape | None = None
    """When the spike comes; by default in the middle third."""

    @model_validator(mode="after")
    def _check_shape(self) -> Self:
        wrong = []
        if (self.shape == "constant") != (self.to is None):
            wrong.append(
                "a constant rate has no to"
                if self.shape == "constant"
                else f"the shape {self.shape} needs to"
            )
        if (self.shape == "step") != (self.steps is not None):
            wrong.append(
                "the shape step needs steps"
                if self.shape == "step"
                else f"the shape {self.shape} has no steps"
            )
        if self.spike is not None and self.shape != "spike":
            wrong.append(f"the shape {self.shape} has no spike")
        if self.spike is not None and self.spike.at + self.spike.lasts > self.for_s:
            wrong.append("the spike does not fit in the phase")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self


class ClosedPhase(ScenarioModel):
    """
    Users who wait for each answer and think before they ask again.

    They are part of the grammar and refused with the reason, because nothing drives
    them yet.
    """

    users: Count
    think: PositiveDuration | None = None
    for_s: Annotated[PositiveDuration, Field(alias="for")]
    send: Annotated[list[Send], BeforeValidator(_as_list), Field(min_length=1)]
    name: str | None = None
    mode: Mode = "sync"
    warmup: bool = False

    @model_validator(mode="after")
    def _refuse(self) -> Self:
        message = (
            "closed users with think time are driven by Locust alone "
            "(locust -f loadtests/locustfile.py); give arrivals, like 10/s"
        )
        raise ValueError(message)


def _kind_of(value: Any) -> str:
    has_users = (
        "users" in value if isinstance(value, dict) else isinstance(value, ClosedPhase)
    )
    return "<closed>" if has_users else "<open>"


Phase = Annotated[
    Annotated[OpenPhase, Tag("<open>")] | Annotated[ClosedPhase, Tag("<closed>")],
    Discriminator(_kind_of),
]
