"""
What expectations are made of: conditions, events, windows, bounds.
"""

import re
import typing
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    WithJsonSchema,
    model_validator,
)

from harness.scenario.base import ScenarioModel, unknown_word
from harness.scenario.kinds import KINDS
from harness.scenario.metric import Unit, find_metric, metric_names
from harness.settings import Duration, PositiveDuration
from harness.units import format_duration, parse_duration_s
from mock_server.documents import nearest

CircuitState = Literal[
    "closed", "open", "half_open", "isolated", "disabled", "observing"
]

_STATES: Final = typing.get_args(CircuitState)
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


def check_metric(name: str) -> str:
    """
    Return the name if a metric has it.
    """
    if find_metric(name) is None:
        raise unknown_word(name, metric_names(), what="metric")
    return name


def _check_kind(kind: str) -> str:
    if kind not in KINDS:
        raise unknown_word(kind, KINDS, what="kind of event")
    return kind


def parse_bound(value: object) -> object:
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


class Windowed(ScenarioModel):
    """
    What may be bound to a window of scenario time.
    """

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

    def window_words(self) -> str:
        """
        Return the window in words, beginning with a space if there is one.
        """
        words = ""
        if self.from_s is not None:
            words += f" from {format_duration(self.from_s)}"
        if self.to_s is not None:
            words += f" to {format_duration(self.to_s)}"
        return words


class Bounded(Windowed):
    """
    What bounds a figure.
    """

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

    def bound_words(self, unit: Unit) -> str:
        """
        Return the bounds in words, beginning with a space.
        """
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


def format_value(value: float, unit: Unit) -> str:
    """
    Return a figure as people write it.
    """
    if unit is Unit.SECONDS:
        return format_duration(value)
    return f"{value:g}"
