"""
What a scenario says must hold: a small closed vocabulary over the event log.
"""

import re
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Discriminator,
    Field,
    RootModel,
    Tag,
    ValidationInfo,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from harness.scenario.base import ScenarioModel, unknown_word
from harness.scenario.kinds import KINDS
from harness.scenario.metric import Metric, Unit, find_metric, metric_names
from harness.settings import Duration, PositiveDuration
from harness.units import format_duration, parse_duration_s
from mock_server.documents import nearest

CircuitState = Literal["closed", "open", "half_open", "isolated", "disabled"]

# Tags of alternatives stand in brackets, so that no place in a file looks like one.
_STATES: Final = ("closed", "open", "half_open", "isolated", "disabled")
_WHILE = re.compile(r"circuit (?P<circuit>\S+) is (?P<state>\S+)")


class CircuitCondition(ScenarioModel):
    """
    That a circuit is in a state.
    """

    circuit: str
    state: CircuitState

    def __str__(self) -> str:
        return f"circuit {self.circuit} is {self.state}"


def _parse_condition(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = _WHILE.fullmatch(" ".join(value.split()))
    if match is None:
        message = (
            f"{value!r} is no condition: write one like 'circuit upstream is open'"
        )
        raise ValueError(message)
    if match["state"] not in _STATES:
        hint = nearest(match["state"], _STATES)
        message = f"{match['state']!r} is no state of a circuit"
        raise ValueError(message + (f"; did you mean {hint!r}?" if hint else ""))
    return {"circuit": match["circuit"], "state": match["state"]}


Condition = Annotated[
    CircuitCondition,
    BeforeValidator(_parse_condition),
    WithJsonSchema({"type": "string", "pattern": r"^circuit \S+ is \S+$"}),
]
"""Written as ``circuit NAME is STATE``."""


def _check_metric(name: str) -> str:
    if find_metric(name) is None:
        raise unknown_word(name, metric_names(), what="metric")
    return name


def _check_kind(kind: str) -> str:
    if kind not in KINDS:
        raise unknown_word(kind, KINDS, what="kind of event")
    return kind


def _parse_bound(value: object) -> object:
    """
    Let a text be a duration in seconds; a number stays one.
    """
    return parse_duration_s(value) if isinstance(value, str) else value


Bound = Annotated[
    float,
    Field(strict=True, ge=0),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0},
                {
                    "type": "string",
                    "pattern": r"^\s*\d+(\.\d+)?\s*(us|µs|ms|s|m|min|h|d)\s*$",
                },
            ]
        }
    ),
]
"""A number, or a duration with its unit."""


class _Windowed(ScenarioModel):
    from_s: Annotated[Duration | None, Field(alias="from")] = None
    """Scenario time at which it begins to count; by default after the warm-up."""

    to_s: Annotated[PositiveDuration | None, Field(alias="to")] = None
    """Scenario time at which it ends; by default with the run."""

    @model_validator(mode="after")
    def _check_window(self) -> Self:
        if self.to_s is not None and self.to_s <= (self.from_s or 0.0):
            message = "to is not after from"
            raise ValueError(message)
        return self

    def _window_words(self) -> str:
        words = ""
        if self.from_s is not None:
            words += f" from {format_duration(self.from_s)}"
        if self.to_s is not None:
            words += f" to {format_duration(self.to_s)}"
        return words


class _Bounded(_Windowed):
    is_: Annotated[Bound | None, Field(alias="is")] = None
    at_least: Bound | None = None
    at_most: Bound | None = None

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        given = [self.is_, self.at_least, self.at_most]
        if all(bound is None for bound in given):
            message = "one of is, at_least, at_most must be given"
            raise ValueError(message)
        if self.is_ is not None and given != [self.is_, None, None]:
            message = "is excludes at_least and at_most"
            raise ValueError(message)
        return self

    def holds(self, value: float, *, slack: float = 0.0) -> bool:
        """
        Say whether a value lies within the bounds.
        """
        if self.is_ is not None:
            return abs(value - self.is_) <= slack + 1e-9
        is_enough = self.at_least is None or value >= self.at_least - slack - 1e-12
        return is_enough and (self.at_most is None or value <= self.at_most + slack)

    def _bound_words(self, unit: Unit) -> str:
        words = ""
        for word, bound in (
            ("is", self.is_),
            ("at least", self.at_least),
            ("at most", self.at_most),
        ):
            if bound is not None:
                words += f" {word} {format_value(bound, unit)}"
        return words


class EventMatch(ScenarioModel):
    """
    Which records are meant.
    """

    event: Annotated[str, AfterValidator(_check_kind)]
    """The record's kind."""

    where: dict[str, Any] = Field(default_factory=dict)
    """Values that its fields must have."""

    def __str__(self) -> str:
        wanted = ", ".join(f"{name}: {value}" for name, value in self.where.items())
        return f"{self.event} ({wanted})" if wanted else self.event


def _as_event(value: object) -> object:
    return {"event": value} if isinstance(value, str) else value


Events = Annotated[EventMatch, BeforeValidator(_as_event)]
"""A kind of record, or ``{event: KIND, where: {field: value}}``."""


class Limits(ScenarioModel):
    """
    What a call must meet to count as goodput.
    """

    latency: PositiveDuration | None = None
    service_time: PositiveDuration | None = None


class _Figured(ScenarioModel):
    # A base of its own, so that the metric is known when the bounds are checked.
    metric: Annotated[str, AfterValidator(_check_metric)]


class MetricExpectation(_Bounded, _Figured):
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
        return _parse_bound(value)

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
        bounds = self._bound_words(self.figure.unit)
        return f"{self.metric}{limits}{while_}{self._window_words()}{bounds}"


WHILE_METRICS: Final = ("upstream.attempts", "chat.refused", "chat.answered")
"""The figures that can be counted while a circuit is in a state."""


class Repeat(ScenarioModel):
    """
    States that come any number of times, one after the other, at least once.
    """

    repeat: Annotated[list[CircuitState], Field(min_length=1)]


def _step_kind(value: Any) -> str:
    return "<repeat>" if isinstance(value, dict | Repeat) else "<state>"


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


class SometimesExpectation(_Windowed):
    """
    Something happens at least once.
    """

    sometimes: Events

    def __str__(self) -> str:
        return f"sometimes {self.sometimes}{self._window_words()}"


class NeverExpectation(_Windowed):
    """
    Something does not happen.
    """

    never: Events

    def __str__(self) -> str:
        return f"never {self.never}{self._window_words()}"


class CountExpectation(_Bounded):
    """
    Something happens so often.
    """

    count: Events

    def __str__(self) -> str:
        bounds = self._bound_words(Unit.COUNT)
        return f"count of {self.count}{self._window_words()}{bounds}"


class WithinExpectation(_Windowed):
    """
    After each of one thing, another happens soon enough.
    """

    within: PositiveDuration
    after: Events
    then: Events

    def __str__(self) -> str:
        within = format_duration(self.within)
        return f"{self.then} within {within} after {self.after}{self._window_words()}"


class LastsExpectation(_Bounded):
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
        return _parse_bound(value)

    def __str__(self) -> str:
        bounds = self._bound_words(Unit.SECONDS)
        return f"{self.lasts} lasts{self._window_words()}{bounds}"


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


def format_value(value: float, unit: Unit) -> str:
    """
    Return a figure as people write it.
    """
    if unit is Unit.SECONDS:
        return format_duration(value)
    return f"{value:g}"
