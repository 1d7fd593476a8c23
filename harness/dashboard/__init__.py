"""
A run in the terminal, while it goes on or afterwards.
"""

from harness.dashboard.app import DashboardApp
from harness.dashboard.source import EventStream, RunFolder, Source, find_stream

__all__ = ["DashboardApp", "EventStream", "RunFolder", "Source", "find_stream"]
