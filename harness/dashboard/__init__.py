"""
A run in the terminal, while it goes on or afterwards.
"""

from harness.dashboard.app import DashboardApp
from harness.dashboard.source import RunFolder
from harness.dashboard.state import RunState

__all__ = ["DashboardApp", "RunFolder", "RunState"]
