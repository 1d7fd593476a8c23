"""
Faults by name and surface.

The catalogue is loaded with the first question: a hundred models take a tenth of the
time until a mock serves, and most mocks have no faults.
"""

from collections.abc import Mapping
from typing import Any

from mock_server.faults.fault import Fault, Target


def all_faults() -> Mapping[str, type[Fault]]:
    """
    Return every fault there is, by name.
    """
    from mock_server.faults.catalogue import CATALOGUE  # noqa: PLC0415 - when it is asked

    return CATALOGUE


def faults_of(target: Target) -> tuple[type[Fault], ...]:
    """
    Return the faults that a surface can have.
    """
    return tuple(fault for fault in all_faults().values() if target in fault.targets)


def build_fault(name: str, target: Target, parameters: Mapping[str, Any]) -> Fault:
    """
    Return the fault of that name with these parameters.

    Raises:
        KeyError: There is no such fault, or not on that surface.
        pydantic.ValidationError: A parameter is unknown or out of range.
    """
    fault = all_faults()[name]
    if target not in fault.targets:
        raise KeyError(name)
    return fault.model_validate(dict(parameters))
