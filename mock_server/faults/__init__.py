"""
What the mock can do wrong on purpose.
"""

from mock_server.faults.asked import Asked
from mock_server.faults.catalogue import (
    CATALOGUE,
    build_fault,
    describe_catalogue,
    faults_of,
)
from mock_server.faults.emission import Emission, Signing
from mock_server.faults.fault import Fault, FaultContext, Level, Target
from mock_server.faults.model_output import ArgumentsKind, break_arguments
from mock_server.faults.retry_after import (
    RetryAfterForm,
    asked_delay_s,
    retry_after_headers,
)

__all__ = [
    "CATALOGUE",
    "ArgumentsKind",
    "Asked",
    "Emission",
    "Fault",
    "FaultContext",
    "Level",
    "RetryAfterForm",
    "Signing",
    "Target",
    "asked_delay_s",
    "break_arguments",
    "build_fault",
    "describe_catalogue",
    "faults_of",
    "retry_after_headers",
]
