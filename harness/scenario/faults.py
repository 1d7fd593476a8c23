"""
The faults that a scenario plans, wherever in it they stand.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from harness.scenario.model import Scenario
from mock_server.script import FaultScript


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedFault:
    """
    A fault of the script.
    """

    path: tuple[str | int, ...]
    """Where it stands, like ``("upstream", "faults", 0)``."""

    target: str
    """``upstream``, ``tools``, ``webhook_endpoint`` or ``webhook_emitter``."""

    fault: str
    """Its name in the catalogue."""

    from_s: float
    to_s: float | None
    """None: until the end."""

    injection_rate: float = 1.0


def planned_faults(scenario: Scenario) -> tuple[PlannedFault, ...]:
    """
    Return every fault that the script can apply, in the order of the file.
    """
    upstream = scenario.upstream
    found = [*_listed(("upstream", "faults"), "upstream", upstream.faults)]
    for index, rule in enumerate(upstream.script):
        path = ("upstream", "script", index, "faults")
        found += _listed(path, "upstream", rule.faults)
    for name, tool in scenario.tools.items():
        found += _listed(("tools", name, "faults"), "tools", tool.faults)
    endpoint = scenario.webhook_endpoint
    target = "webhook_endpoint"
    found += _listed((target, "faults"), target, endpoint.faults)
    for name, named in endpoint.endpoints.items():
        found += _listed((target, "endpoints", name, "faults"), target, named.faults)
    target = "webhook_emitter"
    found += _listed((target, "faults"), target, scenario.webhook_emitter.faults)
    return tuple(found)


def _listed(
    path: tuple[str | int, ...], target: str, faults: list[FaultScript]
) -> Iterator[PlannedFault]:
    for index, fault in enumerate(faults):
        yield PlannedFault(
            path=(*path, index),
            target=target,
            fault=fault.fault,
            from_s=fault.from_s,
            to_s=fault.to_s,
            injection_rate=fault.injection_rate,
        )
