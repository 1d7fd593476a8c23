"""
What a scenario says must hold: a small closed vocabulary over the event log.
"""

from typing import Annotated, Any, Final, Self

from pydantic import (
    AfterValidator,
    Discriminator,
    Field,
    RootModel,
    Tag,
    ValidationInfo,
    field_validator,
    model_validator,
)

from harness.scenario.base import ScenarioModel
from harness.scenario.expectation_parts import (
    Bounded,
    CircuitState,
    Condition,
    Events,
    Windowed,
    check_metric,
    parse_bound,
)
from harness.scenario.metric import Metric, Unit, find_metric
from harness.settings import PositiveDuration
from harness.units import format_duration


class Limits(ScenarioModel):
    """
    What a call must meet to count as goodput.
    """

    latency: PositiveDuration | None = None
    service_time: PositiveDuration | None = None


class _Figured(ScenarioModel):
    # A base of its own, so that the metric is known when the bounds are checked.
    metric: Annotated[str, AfterValidator(check_metric)]


class MetricExpectation(Bounded, _Figured):
    """
    A figure lies within bounds, in a window, while a circuit is in a state.
    """

    while_: Annotated[Condition | None, Field(alias="while")] = None
    limits: Limits | None = None
    """What ``chat.goodput`` asks of a call, besides being answered."""

    @field_validator("is_", "at_least", "at_most", mode="before")
    @classmethod
    def _check_unit(cls, value: object, info: ValidationInfo) -> object:
        metric = find_metric(str(info.data.get("metric")))
        if metric is not None and value is not None:
            is_duration = isinstance(value, str)
            if is_duration != (metric.unit is Unit.SECONDS):
                message = (
                    f"{metric.name} is a {metric.unit}: write a number without a unit"
                    if is_duration
                    else f"{metric.name} is a duration: write it with a unit, like 800ms"
                )
                raise ValueError(message)
        return parse_bound(value)

    @model_validator(mode="after")
    def _check_sense(self) -> Self:
        if (self.limits is not None) != (self.metric == "chat.goodput"):
            message = (
                "chat.goodput needs limits, like {latency: 800ms}"
                if self.metric == "chat.goodput"
                else f"{self.metric} has no limits"
            )
            raise ValueError(message)
        if self.while_ is not None and self.metric not in WHILE_METRICS:
            message = f"{self.metric} has no while; {', '.join(WHILE_METRICS)} have"
            raise ValueError(message)
        return self

    @property
    def figure(self) -> Metric:
        """
        The metric that is meant.
        """
        metric = find_metric(self.metric)
        if metric is None:
            raise LookupError(self.metric)
        return metric

    def __str__(self) -> str:
        while_ = "" if self.while_ is None else f" while {self.while_}"
        limits = ""
        if self.limits is not None:
            limits = "".join(
                f" ({name.replace('_', ' ')} {format_duration(value)})"
                for name, value in self.limits
                if value is not None
            )
        bounds = self.bound_words(self.figure.unit)
        return f"{self.metric}{limits}{while_}{self.window_words()}{bounds}"


WHILE_METRICS: Final = ("upstream.attempts", "chat.refused", "chat.answered")
"""The figures that can be counted while a circuit is in a state."""


class Repeat(ScenarioModel):
    """
    States that come any number of times, one after the other, at least once.
    """

    repeat: Annotated[list[CircuitState], Field(min_length=1)]


def _step_kind(value: Any) -> str:
    return "<repeat>" if isinstance(value, dict | Repeat) else "<state>"


# Tags of alternatives stand in brackets, so that no place in a file looks like one.
PathStep = Annotated[
    Annotated[CircuitState, Tag("<state>")] | Annotated[Repeat, Tag("<repeat>")],
    Discriminator(_step_kind),
]
_CircuitKey = Annotated[str, Field(pattern=r"^circuit \S+$")]


class CircuitExpectation(
    RootModel[
        Annotated[
            dict[_CircuitKey, Annotated[list[PathStep], Field(min_length=1)]],
            Field(min_length=1, max_length=1),
        ]
    ]
):
    """
    A circuit goes through exactly these states; loops are allowed where said.
    """

    @property
    def circuit(self) -> str:
        """
        The circuit's name.
        """
        return next(iter(self.root)).split(" ", 1)[1]

    @property
    def path(self) -> list[str | Repeat]:
        """
        The states, in their order.
        """
        return list(next(iter(self.root.values())))

    def __str__(self) -> str:
        steps = [
            step if isinstance(step, str) else f"({' › '.join(step.repeat)})…"  # noqa: RUF001
            for step in self.path
        ]
        return f"circuit {self.circuit}: {' › '.join(steps)}"  # noqa: RUF001


class SometimesExpectation(Windowed):
    """
    Something happens at least once.
    """

    sometimes: Events

    def __str__(self) -> str:
        return f"sometimes {self.sometimes}{self.window_words()}"


class NeverExpectation(Windowed):
    """
    Something does not happen.
    """

    never: Events

    def __str__(self) -> str:
        return f"never {self.never}{self.window_words()}"


class CountExpectation(Bounded):
    """
    Something happens so often.
    """

    count: Events

    def __str__(self) -> str:
        bounds = self.bound_words(Unit.COUNT)
        return f"count of {self.count}{self.window_words()}{bounds}"


class WithinExpectation(Windowed):
    """
    After each of one thing, another happens soon enough.
    """

    within: PositiveDuration
    after: Events
    then: Events

    def __str__(self) -> str:
        within = format_duration(self.within)
        return f"{self.then} within {within} after {self.after}{self.window_words()}"


class LastsExpectation(Bounded):
    """
    Each time a circuit is in a state, it stays there so long.
    """

    lasts: Condition

    @field_validator("is_", "at_least", "at_most", mode="before")
    @classmethod
    def _check_unit(cls, value: object) -> object:
        if value is not None and not isinstance(value, str):
            message = "a duration has a unit, like 5s"
            raise ValueError(message)
        return parse_bound(value)

    def __str__(self) -> str:
        bounds = self.bound_words(Unit.SECONDS)
        return f"{self.lasts} lasts{self.window_words()}{bounds}"


def _expectation_kind(value: Any) -> str:
    keys = value if isinstance(value, dict) else type(value).model_fields
    if isinstance(value, CircuitExpectation) or any(
        str(key).startswith("circuit ") for key in keys
    ):
        return "<circuit>"
    for kind in ("sometimes", "never", "count", "within", "lasts"):
        if kind in keys:
            return f"<{kind}>"
    # What is none of these is told what a metric's expectation looks like.
    return "<metric>"


Expectation = Annotated[
    Annotated[CircuitExpectation, Tag("<circuit>")]
    | Annotated[MetricExpectation, Tag("<metric>")]
    | Annotated[SometimesExpectation, Tag("<sometimes>")]
    | Annotated[NeverExpectation, Tag("<never>")]
    | Annotated[CountExpectation, Tag("<count>")]
    | Annotated[WithinExpectation, Tag("<within>")]
    | Annotated[LastsExpectation, Tag("<lasts>")],
    Discriminator(_expectation_kind),
]
