"""
A run in the terminal, while it goes on or afterwards.
"""

from harness.dashboard.app import DashboardApp
from harness.dashboard.source import RunFolder

__all__ = ["DashboardApp", "RunFolder"]
