"""
The mock: everything outside the service under test, on one port.
"""

from mock_server.app import RunningMock, create_app, running_mock
from mock_server.clock import Clock, LoopClock
from mock_server.limits import Limits
from mock_server.mock import Mock
from mock_server.options import MockOptions, OptionsError
from mock_server.serving import check, serve

__all__ = [
    "Clock",
    "Limits",
    "LoopClock",
    "Mock",
    "MockOptions",
    "OptionsError",
    "RunningMock",
    "check",
    "create_app",
    "running_mock",
    "serve",
]
