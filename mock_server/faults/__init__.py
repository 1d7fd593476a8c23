"""
What the mock can do wrong on purpose.
"""

from mock_server.faults.asked import Asked
from mock_server.faults.catalogue import (
    CATALOGUE,
    FAMILIES,
    build_fault,
    faults_of,
)
from mock_server.faults.description import catalogue_page, describe_catalogue
from mock_server.faults.emission import Emission, Signing
from mock_server.faults.fault import Fault, FaultContext, Level, Target
from mock_server.faults.model_output import ArgumentsKind, break_arguments
from mock_server.faults.retry_after import (
    RetryAfterForm,
    asked_delay_s,
    retry_after_headers,
)
from mock_server.faults.rivals import Early
from mock_server.faults.schema_violation import Violation, ViolationKind, violations

__all__ = [
    "CATALOGUE",
    "FAMILIES",
    "ArgumentsKind",
    "Asked",
    "Early",
    "Emission",
    "Fault",
    "FaultContext",
    "Level",
    "RetryAfterForm",
    "Signing",
    "Target",
    "Violation",
    "ViolationKind",
    "asked_delay_s",
    "break_arguments",
    "build_fault",
    "catalogue_page",
    "describe_catalogue",
    "faults_of",
    "retry_after_headers",
    "violations",
]
