"""
How much faster than real time scenarios run in virtual time.

Runs ``upstream-outage`` and ``hour-outage`` some times each, in this process, and
prints the best ratio of scenario time to the time that the run took, verdict included.
``--seeds N`` also explores N seeds of ``upstream-outage`` on all cores.
"""

import argparse
import os
import platform
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Final

from harness.bench import RunOptions
from harness.scenario import load
from harness.simulation import ExploreOptions, explore_seeds, run_scenario

WANTED: Final = {"upstream-outage": 10, "hour-outage": 1_000}
"""How many times faster than real time each has to be."""

SECONDS_FOR_SEEDS: Final = 300


def time_run(name: str, folder: Path) -> tuple[float, float, float]:
    """
    Run a scenario once; return its length and what it took, by the clock and in CPU.
    """
    scenario = load(name)
    run_dir = folder / str(time.perf_counter_ns())
    run_dir.mkdir()
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    result = run_scenario(scenario, RunOptions(run_dir=run_dir), writes_report=False)
    took_s, took_cpu_s = (
        time.perf_counter() - began_s,
        time.process_time() - began_cpu_s,
    )
    if result.summary["verdict"] != "passed":
        message = f"{name}: {result.summary['verdict']}"
        raise SystemExit(message)
    return scenario.duration_s, took_s, took_cpu_s


def report_scenario(name: str, folder: Path, *, times: int) -> None:
    """
    Print the best of some runs.
    """
    runs = [time_run(name, folder) for _ in range(times)]
    length_s, took_s, _ = min(runs, key=lambda run: run[1])
    _, _, cpu_s = min(runs, key=lambda run: run[2])
    print(
        f"{name:<16} {length_s:6.0f} s in {took_s:6.2f} s ({cpu_s:5.2f} s of CPU): "
        f"{length_s / took_s:7.1f} times real time, {WANTED[name]} wanted"
    )


def report_seeds(count: int, folder: Path) -> None:
    """
    Print how long it takes to explore so many seeds.
    """
    began_s = time.perf_counter()
    options = ExploreOptions(
        scenario="upstream-outage", seeds=range(1, count + 1), out=folder / "seeds"
    )
    verdicts = [outcome.verdict for outcome in explore_seeds(options)]
    took_s = time.perf_counter() - began_s
    print(
        f"{count} seeds of upstream-outage in {took_s:.0f} s on {os.cpu_count()} cores "
        f"({verdicts.count('passed')} passed), {SECONDS_FOR_SEEDS} s wanted for 50"
    )


def main() -> None:
    """
    Print everything.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=3, help="runs of each scenario")
    parser.add_argument("--seeds", type=int, default=0, help="seeds to explore")
    arguments = parser.parse_args()
    print(
        f"Python {platform.python_version()}, aiohttp {metadata.version('aiohttp')}, "
        f"{platform.machine()}, {os.cpu_count()} cores"
    )
    with tempfile.TemporaryDirectory() as folder:
        for name in WANTED:
            report_scenario(name, Path(folder), times=arguments.times)
        if arguments.seeds:
            report_seeds(arguments.seeds, Path(folder))


if __name__ == "__main__":
    main()
