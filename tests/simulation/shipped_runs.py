"""
A program that runs scenarios in virtual time, one after the other.

Arguments: a folder, a seed, a factor to shorten by, names of scenarios. The event log
of ``demo`` ends up in ``demo/events.jsonl`` in the folder.
"""

import sys
from pathlib import Path

from harness.bench import RunOptions
from harness.scenario import load, shorten
from harness.simulation import run_scenario


def main(out: Path, seed: int, factor: float, names: list[str]) -> None:
    """
    Run each scenario in a folder of its own.
    """
    for name in names:
        run_dir = out / name
        run_dir.mkdir(parents=True)
        scenario = load(name)
        run_scenario(
            scenario if factor == 1 else shorten(scenario, factor),
            RunOptions(run_dir=run_dir, seed=seed),
            writes_report=False,
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4:])
