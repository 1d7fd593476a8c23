"""
Runs scenarios against a service and brings home a verdict.
"""

from harness.bench.driver import Driver, DriverOptions
from harness.bench.folders import new_run_dir
from harness.bench.foreground import (
    ProgressLines,
    run_in_foreground,
    verdict_lines,
)
from harness.bench.live_world import live_world
from harness.bench.profile import KnownGap, Profile, load_profile
from harness.bench.run_log import RunLog, read_records
from harness.bench.runner import Kill, RunOptions, RunResult, ScenarioRun
from harness.bench.surroundings import (
    API_KEY,
    service_environment,
    service_settings,
    webhook_secret,
)
from harness.bench.world import World

__all__ = [
    "API_KEY",
    "Driver",
    "DriverOptions",
    "Kill",
    "KnownGap",
    "Profile",
    "ProgressLines",
    "RunLog",
    "RunOptions",
    "RunResult",
    "ScenarioRun",
    "World",
    "live_world",
    "load_profile",
    "new_run_dir",
    "read_records",
    "run_in_foreground",
    "service_environment",
    "service_settings",
    "verdict_lines",
    "webhook_secret",
]
