"""
How slow a surface is, as a script says it.
"""

from typing import Annotated, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from mock_server.script.base import ScriptModel
from mock_server.units import Duration

_ALL = 100
_SHARE_ERROR_MAX = 1e-6


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


class TableLatency(ScriptModel):
    """
    A measured latency: what so many percent of the requests took at most.
    """

    percentiles: dict[float, Duration] = Field(min_length=1)
    """Like ``{50: 80ms, 90: 200ms, 99: 1s, 100: 3s}``; straight lines in between."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if not all(0 <= percent <= _ALL for percent in self.percentiles):
            message = "a percentile is between 0 and 100"
            raise ValueError(message)
        delays_s = [delay_s for _, delay_s in sorted(self.percentiles.items())]
        if delays_s != sorted(delays_s):
            message = "a higher percentile is not quicker"
            raise ValueError(message)
        return self


def _simple_kind_of(value: object) -> str:
    match value:
        case RecordedLatency() | {"recorded": _}:
            return "<recorded>"
        case UniformLatency() | {"low": _} | {"high": _}:
            return "<uniform>"
        case NormalLatency() | {"mean": _} | {"deviation": _}:
            return "<normal>"
        case TableLatency() | {"percentiles": _}:
            return "<table>"
        case LogNormalLatency() | dict():
            return "<log_normal>"
        case _:
            return "<fixed>"


SimpleLatency = Annotated[
    Annotated[Duration, Tag("<fixed>")]
    | Annotated[UniformLatency, Tag("<uniform>")]
    | Annotated[NormalLatency, Tag("<normal>")]
    | Annotated[LogNormalLatency, Tag("<log_normal>")]
    | Annotated[TableLatency, Tag("<table>")],
    Discriminator(_simple_kind_of),
]
"""A fixed duration (seconds, once parsed), or a distribution."""


class MixturePart(ScriptModel):
    """
    One kind of request in a mixture.
    """

    share: float = Field(gt=0, le=1)
    of: SimpleLatency


class MixtureLatency(ScriptModel):
    """
    Several kinds of requests: most are quick, and a few take twenty times as long.
    """

    mixture: list[MixturePart] = Field(min_length=1)
    """The shares together are 1."""

    @model_validator(mode="after")
    def _check_shares(self) -> Self:
        if abs(sum(part.share for part in self.mixture) - 1) > _SHARE_ERROR_MAX:
            message = "the shares of a mixture are 1 together"
            raise ValueError(message)
        return self


class Spells(ScriptModel):
    """
    When everything is slow, and by how much.
    """

    every_s: Duration = Field(alias="every", gt=0)
    """From the beginning of one to that of the next."""

    lasts_s: Duration = Field(alias="lasts", gt=0)
    times: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    """How many times as long everything takes."""


class SpellLatency(ScriptModel):
    """
    A slow minute now and then, not slow requests; it follows scenario time.
    """

    of: SimpleLatency
    """At all other times."""

    spells: Spells


class Load(ScriptModel):
    """
    How long a machine takes that answers several requests at once.
    """

    base_s: Duration = Field(default=0.0, alias="base")
    per_prompt_token_s: Duration = Field(default=0.0, alias="per_prompt_token")
    """Reading the prompt."""

    slowdown: float = Field(default=0.0, ge=0, allow_inf_nan=False)
    """By what share of it every other request that is worked on slows one down."""

    slots: int = Field(default=8, ge=1, le=100_000)
    """So many are worked on at once; all others wait for their turn."""


class LoadLatency(ScriptModel):
    """
    A latency that depends on how much there is to do: it cannot be repeated live.
    """

    load: Load


def _kind_of(value: object) -> str:
    match value:
        case MixtureLatency() | {"mixture": _}:
            return "<mixture>"
        case SpellLatency() | {"spells": _}:
            return "<spells>"
        case LoadLatency() | {"load": _}:
            return "<load>"
        case _:
            return _simple_kind_of(value)


LatencyValue = Annotated[
    Annotated[Duration, Tag("<fixed>")]
    | Annotated[UniformLatency, Tag("<uniform>")]
    | Annotated[NormalLatency, Tag("<normal>")]
    | Annotated[LogNormalLatency, Tag("<log_normal>")]
    | Annotated[TableLatency, Tag("<table>")]
    | Annotated[MixtureLatency, Tag("<mixture>")]
    | Annotated[SpellLatency, Tag("<spells>")]
    | Annotated[LoadLatency, Tag("<load>")],
    Discriminator(_kind_of),
]
"""A fixed duration, a distribution, or something that depends on time or load."""

PacedLatencyValue = Annotated[
    Annotated[Duration, Tag("<fixed>")]
    | Annotated[UniformLatency, Tag("<uniform>")]
    | Annotated[NormalLatency, Tag("<normal>")]
    | Annotated[LogNormalLatency, Tag("<log_normal>")]
    | Annotated[TableLatency, Tag("<table>")]
    | Annotated[MixtureLatency, Tag("<mixture>")]
    | Annotated[SpellLatency, Tag("<spells>")]
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

    argument_token: LatencyValue | None = None
    """Before each piece of a tool call's arguments; by default like any other."""
