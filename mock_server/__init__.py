"""
The mock: everything outside the service under test, on one port.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_HOMES = {
    "Clock": "clock",
    "Limits": "limits",
    "LoopClock": "clock",
    "Mock": "mock",
    "MockOptions": "options",
    "OptionsError": "options",
    "RunningMock": "app",
    "check": "serving",
    "create_app": "app",
    "running_mock": "app",
    "serve": "serving",
}


def __getattr__(name: str) -> Any:
    """
    Load what is asked for when it is asked for.

    Whoever reads a document, as ``harness serve`` does its settings, needs neither the
    surfaces nor the models of a hundred faults, which take seconds to build.
    """
    if name not in _HOMES:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
