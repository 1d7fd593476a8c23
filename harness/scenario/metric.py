"""
The figures that an expectation can bound: a closed list.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final

_SAMPLES_BEYOND = 10
"""A percentile is read only where so many samples lie beyond it."""


class Unit(StrEnum):
    """
    What a figure counts in.
    """

    COUNT = "count"
    RATIO = "ratio"
    SECONDS = "seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """
    A figure over the event log.
    """

    name: str
    """As the scenario wrote it."""

    family: str
    """The entry of :data:`METRICS` that says what it means."""

    unit: Unit
    percentile: float | None = None
    """Between 0 and 100, for the families that end in ``.pN``."""

    circuit: str | None = None
    """The circuit, for the families that start with ``circuit NAME.``."""

    @property
    def samples_min(self) -> int:
        """
        How many samples the figure needs before it says anything.
        """
        if self.percentile is None:
            return 1
        return round(_SAMPLES_BEYOND / (1 - self.percentile / 100))


METRICS: Final[Mapping[str, tuple[Unit, str]]] = MappingProxyType(
    {
        "load.offered": (Unit.COUNT, "arrivals that were due"),
        "load.done": (Unit.COUNT, "calls that ended"),
        "load.dropped": (Unit.COUNT, "arrivals that could not be sent"),
        "load.lag": (Unit.SECONDS, "how late the generator was at worst"),
        "chat.success_ratio": (Unit.RATIO, "share of calls that were answered"),
        "chat.answered": (Unit.COUNT, "calls that were answered"),
        "chat.failed": (Unit.COUNT, "calls that failed"),
        "chat.refused": (Unit.COUNT, "calls that the service refused by itself"),
        "chat.latency.pN": (
            Unit.SECONDS,
            "time from the intended start; a dropped call counts as infinite",
        ),
        "chat.service_time.pN": (Unit.SECONDS, "time from the actual start"),
        "chat.goodput": (Unit.RATIO, "share of calls that met all limits at once"),
        "upstream.attempts": (Unit.COUNT, "requests to the model API, as the mock saw"),
        "upstream.attempts_per_call": (
            Unit.COUNT,
            "most attempts that one request to the model took",
        ),
        "upstream.amplification": (
            Unit.RATIO,
            "attempts divided by the requests that reached the model API",
        ),
        "tools.executions": (Unit.COUNT, "executions, as the tool backend saw"),
        "tools.duplicates": (Unit.COUNT, "executions of a tool call beyond its first"),
        "webhooks.enqueued": (Unit.COUNT, "messages that the service committed"),
        "webhooks.delivered": (Unit.COUNT, "messages that the endpoint acknowledged"),
        "webhooks.dead": (Unit.COUNT, "messages that were given up"),
        "webhooks.lost": (Unit.COUNT, "messages that ended nowhere"),
        "webhooks.duplicates": (Unit.COUNT, "deliveries after an acknowledged one"),
        "webhooks.attempts": (Unit.COUNT, "delivery attempts, as the endpoint saw"),
        "circuit NAME.opens": (Unit.COUNT, "how often the circuit opened"),
        "circuit NAME.open_time": (Unit.SECONDS, "how long it was open in all"),
        "circuit NAME.time_to_open": (
            Unit.SECONDS,
            "from the first upstream fault that hit to the first opening",
        ),
        "circuit NAME.time_to_close": (
            Unit.SECONDS,
            "from the last upstream fault that hit to the last closing",
        ),
        "circuit NAME.probes": (Unit.COUNT, "calls let through while half-open"),
        "circuit NAME.probes_at_once": (Unit.COUNT, "most probes under way at once"),
    }
)
"""Unit and meaning of each family."""

_PERCENTILE = re.compile(r"(?P<head>.+\.p)(?P<value>\d{1,2}(\.\d+)?)")
_CIRCUIT = re.compile(r"circuit (?P<circuit>\S+)\.(?P<figure>[a-z_]+)")


def find_metric(name: str) -> Metric | None:
    """
    Return the metric of that name, or None if there is none.
    """
    family, percentile, circuit = name, None, None
    if match := _CIRCUIT.fullmatch(name):
        circuit = match["circuit"]
        family = f"circuit NAME.{match['figure']}"
    elif match := _PERCENTILE.fullmatch(name):
        family = f"{match['head']}N"
        percentile = float(match["value"])
    if family not in METRICS or (percentile == 0):
        return None
    if family.endswith(".pN") and percentile is None:
        return None
    return Metric(
        name=name,
        family=family,
        unit=METRICS[family][0],
        percentile=percentile,
        circuit=circuit,
    )


def metric_names() -> list[str]:
    """
    Return the names that people can write, with common percentiles filled in.
    """
    names = []
    for family in METRICS:
        if family.endswith(".pN"):
            names += [family[:-1] + value for value in ("50", "90", "95", "99")]
        else:
            names.append(family)
    return names
