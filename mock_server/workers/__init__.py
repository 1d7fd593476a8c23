"""
Several processes that are one mock.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mock_server.workers.team import WORKERS_MAX, Team, WorkerError, refusal_of

__all__ = ["WORKERS_MAX", "Team", "WorkerError", "refusal_of"]


def __getattr__(name: str) -> Any:
    """
    Load the owner's side when it is asked for: a worker has no use for it.
    """
    if name not in __all__:
        message = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(message)
    return getattr(importlib.import_module(f"{__name__}.team"), name)
