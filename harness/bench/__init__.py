"""
Runs scenarios against a service and brings home a verdict.
"""

from harness.bench.driver import Driver, DriverOptions
from harness.bench.folders import new_run_dir
from harness.bench.foreground import run_in_foreground
from harness.bench.profile import KnownGap, Profile, load_profile
from harness.bench.runner import Kill, RunOptions, RunResult, ScenarioRun

__all__ = [
    "Driver",
    "DriverOptions",
    "Kill",
    "KnownGap",
    "Profile",
    "RunOptions",
    "RunResult",
    "ScenarioRun",
    "load_profile",
    "new_run_dir",
    "run_in_foreground",
]
