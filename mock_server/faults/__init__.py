"""
What the mock can do wrong on purpose.
"""

import importlib
from typing import TYPE_CHECKING, Any

from mock_server.faults.asked import Asked
from mock_server.faults.emission import Emission, Signing
from mock_server.faults.fault import Fault, FaultContext, Level, Target
from mock_server.faults.lookup import all_faults, build_fault, faults_of
from mock_server.faults.retry_after import (
    RetryAfterForm,
    asked_delay_s,
    retry_after_headers,
)

if TYPE_CHECKING:
    from mock_server.faults.catalogue import CATALOGUE, FAMILIES
    from mock_server.faults.description import catalogue_page, describe_catalogue
    from mock_server.faults.model_output import ArgumentsKind, break_arguments
    from mock_server.faults.schema_violation import (
        Violation,
        ViolationKind,
        violations,
    )

__all__ = [
    "CATALOGUE",
    "FAMILIES",
    "ArgumentsKind",
    "Asked",
    "Emission",
    "Fault",
    "FaultContext",
    "Level",
    "RetryAfterForm",
    "Signing",
    "Target",
    "Violation",
    "ViolationKind",
    "all_faults",
    "asked_delay_s",
    "break_arguments",
    "build_fault",
    "catalogue_page",
    "describe_catalogue",
    "faults_of",
    "retry_after_headers",
    "violations",
]

_HOMES = {
    "CATALOGUE": "catalogue",
    "FAMILIES": "catalogue",
    "ArgumentsKind": "model_output",
    "Violation": "schema_violation",
    "ViolationKind": "schema_violation",
    "break_arguments": "model_output",
    "catalogue_page": "description",
    "describe_catalogue": "description",
    "violations": "schema_violation",
}


def __getattr__(name: str) -> Any:
    """
    Load what is asked for when it is asked for: a mock without faults asks for little.
    """
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
