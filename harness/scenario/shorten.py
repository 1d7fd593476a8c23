"""
A scenario made shorter, all its times together.
"""

import copy
from collections.abc import Callable
from typing import Any, Final

from harness.errors import UsageError
from harness.scenario.metric import Unit, find_metric
from harness.scenario.model import Scenario
from harness.scenario.phase import OpenPhase
from harness.scenario.workload import expected_arrivals
from harness.units import parse_duration_s

_PERCENTILES: Final = (99.0, 95.0, 90.0, 75.0, 50.0)
_FAULT_TIMES: Final = ("from", "to")
_EVERY_TIMES: Final = ("on", "off")
_WINDOW_TIMES: Final = ("from", "to")


def shorten(scenario: Scenario, factor: float) -> Scenario:
    """
    Return the scenario with its times multiplied by ``factor``.

    The phases, the windows of faults and expectations, and how long a circuit stays
    open shrink together; rates, latencies and timeouts stay what they are. A
    percentile that the fewer samples cannot carry becomes the highest one they can;
    a bound on a duration of the circuit shrinks like the circuit.

    Args:
        scenario: It must have been made from plain values.
        factor: Between 0 and 1.

    Raises:
        UsageError: The factor makes no sense.
    """
    if not 0 < factor <= 1:
        message = (
            f"a scenario is shortened by a factor above 0 and up to 1, not {factor:g}"
        )
        raise UsageError(message)
    data = copy.deepcopy(dict(scenario.source))
    _shorten_faults(data, factor)
    for phase in data.get("workload", ()):
        _scale(phase, ("for",), factor)
        _scale(phase.get("spike"), ("at", "lasts"), factor)
    for section in ("service", "promise"):
        breaker = (data.get(section) or {}).get("breaker")
        _scale(breaker, ("break_duration",), factor)
    if "break_duration" not in ((data.get("service") or {}).get("breaker") or {}):
        service = data.setdefault("service", {}) or {}
        breaker = service.setdefault("breaker", {})
        breaker["break_duration"] = _text(
            scenario.service.breaker.break_duration * factor
        )
        data["service"] = service
    for expectation in data.get("expect") or ():
        _shorten_expectation(expectation, factor)
    shortened = Scenario.model_validate(data)
    _lower_percentiles(data, shortened)
    return Scenario.model_validate(data)


def _shorten_faults(data: dict[str, Any], factor: float) -> None:
    def shorten_one(fault: Any) -> None:
        _scale(fault, _FAULT_TIMES, factor)
        if isinstance(fault, dict):
            _scale(fault.get("every"), _EVERY_TIMES, factor)

    for section in ("upstream", "tools", "webhook_endpoint", "webhook_emitter"):
        _each_fault(data.get(section), shorten_one)


def _each_fault(value: Any, act: Callable[[Any], None]) -> None:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "faults" and isinstance(inner, list):
                for fault in inner:
                    act(fault)
            else:
                _each_fault(inner, act)
    elif isinstance(value, list):
        for inner in value:
            _each_fault(inner, act)


def _shorten_expectation(expectation: dict[str, Any], factor: float) -> None:
    _scale(expectation, _WINDOW_TIMES, factor)
    metric = find_metric(str(expectation.get("metric")))
    is_circuit_time = metric is not None and (
        metric.circuit is not None and metric.unit is Unit.SECONDS
    )
    if is_circuit_time or "lasts" in expectation:
        _scale(expectation, ("is", "at_least", "at_most"), factor)


def _lower_percentiles(data: dict[str, Any], shortened: Scenario) -> None:
    """
    Replace percentiles that the samples within their windows cannot carry.
    """
    for expectation in data.get("expect") or ():
        name = str(expectation.get("metric"))
        metric = find_metric(name)
        if metric is None or metric.percentile is None:
            continue
        samples = expected_samples(
            shortened.phases,
            from_s=_seconds(expectation.get("from")) or 0.0,
            to_s=_seconds(expectation.get("to")),
        )
        head = name.rpartition(".p")[0]
        candidates = [f"{head}.p{value:g}" for value in _PERCENTILES]
        carried = [
            candidate
            for candidate in candidates
            if (found := find_metric(candidate)) is not None
            and found.samples_min <= samples * _SAFETY
            and (found.percentile or 0) <= metric.percentile
        ]
        if metric.samples_min > samples * _SAFETY:
            expectation["metric"] = carried[0] if carried else candidates[-1]


_SAFETY: Final = 0.8
"""Arrivals come by chance: so much of the expected number is counted on."""


def expected_samples(
    phases: list[OpenPhase], *, from_s: float, to_s: float | None
) -> float:
    """
    Return how many arrivals fall in a window on average; warm-up does not count.
    """
    samples, start_s = 0.0, 0.0
    for phase in phases:
        end_s = start_s + phase.for_s
        overlap_s = min(end_s, end_s if to_s is None else to_s) - max(start_s, from_s)
        if overlap_s > 0 and not phase.warmup:
            samples += expected_arrivals(phase) * overlap_s / phase.for_s
        start_s = end_s
    return samples


def _seconds(text: Any) -> float | None:
    return None if text is None else parse_duration_s(text)


def _scale(values: Any, names: tuple[str, ...], factor: float) -> None:
    if not isinstance(values, dict):
        return
    for name in names:
        if isinstance(values.get(name), str):
            values[name] = _text(parse_duration_s(values[name]) * factor)


def _text(duration_s: float) -> str:
    return f"{duration_s * 1000:.3f}ms"
