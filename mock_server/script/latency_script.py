"""
How slow a surface is, as a script says it.
"""

from typing import Annotated, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from mock_server.script.base import ScriptModel
from mock_server.units import Duration


class LogNormalLatency(ScriptModel):
    """
    A long-tailed latency, given by its median and its 99th percentile.
    """

    median_s: Duration = Field(alias="median", gt=0)
    p99_s: Duration = Field(alias="p99", gt=0)

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.p99_s < self.median_s:
            message = "p99 is below the median"
            raise ValueError(message)
        return self


class UniformLatency(ScriptModel):
    """
    A latency that is anywhere between two bounds, equally likely.
    """

    low_s: Duration = Field(alias="low")
    high_s: Duration = Field(alias="high")

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.high_s < self.low_s:
            message = "high is below low"
            raise ValueError(message)
        return self


class NormalLatency(ScriptModel):
    """
    A latency spread around its mean, cut off at zero and at four deviations.
    """

    mean_s: Duration = Field(alias="mean")
    deviation_s: Duration = Field(alias="deviation")


def _split_delays(value: object) -> object:
    return value.split() if isinstance(value, str) else value


Delays = Annotated[
    list[Duration],
    BeforeValidator(_split_delays, json_schema_input_type=str | list[Duration]),
]
"""Durations in their order."""


class RecordedLatency(ScriptModel):
    """
    The delays of a record, one for each further output of a stream; then none.
    """

    recorded: Delays
    """Durations in their order: a list, or one text with spaces between them."""

    speed: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    """How many times as fast as recorded."""

    @property
    def delays_s(self) -> tuple[float, ...]:
        """
        The delays at that speed.
        """
        return tuple(delay_s / self.speed for delay_s in self.recorded)


def _kind_of(value: object) -> str:
    match value:
        case RecordedLatency() | {"recorded": _}:
            return "<recorded>"
        case UniformLatency() | {"low": _} | {"high": _}:
            return "<uniform>"
        case NormalLatency() | {"mean": _} | {"deviation": _}:
            return "<normal>"
        case LogNormalLatency() | dict():
            return "<log_normal>"
        case _:
            return "<fixed>"


LatencyValue = Annotated[
    Annotated[Duration, Tag("<fixed>")]
    | Annotated[UniformLatency, Tag("<uniform>")]
    | Annotated[NormalLatency, Tag("<normal>")]
    | Annotated[LogNormalLatency, Tag("<log_normal>")],
    Discriminator(_kind_of),
]
"""A fixed duration (seconds, once parsed), or a distribution."""

PacedLatencyValue = Annotated[
    Annotated[Duration, Tag("<fixed>")]
    | Annotated[UniformLatency, Tag("<uniform>")]
    | Annotated[NormalLatency, Tag("<normal>")]
    | Annotated[LogNormalLatency, Tag("<log_normal>")]
    | Annotated[RecordedLatency, Tag("<recorded>")],
    Discriminator(_kind_of),
]
"""A latency, or those of a record, one after the other."""


class LatencyScript(ScriptModel):
    """
    How slow the model API is.
    """

    time_to_first_token: LatencyValue | None = None
    """Before the first output; of a plain answer, before the whole body."""

    inter_token: PacedLatencyValue | None = None
    """Before each further output of a stream."""
