"""
What ships runs in virtual time: unchanged, to the same verdict, byte for byte the same.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pytest

from harness.bench import RunOptions
from harness.scenario import load, scenario_names, shorten
from harness.simulation import run_scenario

PROGRAM: Final = Path(__file__).with_name("shipped_runs.py")
ROOT: Final = Path(__file__).parents[2]

FACTOR: Final = 0.2
NEEDS_LONGER: Final = {"slow-upstream": 0.6}
"""A fault that is rare does not hit in a shorter run."""

COMPARED: Final = ("deferred-tool", "upstream-outage", "flaky-webhooks")


def logs_of_process(
    out: Path, names: Sequence[str], *, seed: int, hash_seed: int, factor: float
) -> dict[str, bytes]:
    """
    Run scenarios in a process of their own and return their event logs.
    """
    subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, str(PROGRAM), str(out), str(seed), str(factor), *names],
        check=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
    )
    return {name: (out / name / "events.jsonl").read_bytes() for name in names}


def assert_same(first: dict[str, bytes], second: dict[str, bytes]) -> None:
    """
    Say which line differs first, rather than two files.
    """
    for name, log in first.items():
        ours, theirs = log.splitlines(), second[name].splitlines()
        for line, other in zip(ours, theirs, strict=False):
            assert line == other, name
        assert len(ours) == len(theirs), name


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    """
    Two processes with other hash seeds, in the other order, write the same event logs.
    """
    first = logs_of_process(
        tmp_path / "1", COMPARED, seed=5, hash_seed=1, factor=FACTOR
    )
    second = logs_of_process(
        tmp_path / "2", COMPARED[::-1], seed=5, hash_seed=977, factor=FACTOR
    )

    assert_same(first, second)
    assert all(log.count(b"\n") > 500 for log in first.values())


def test_another_seed_gives_another_log(tmp_path: Path) -> None:
    """
    The seed decides what happens, not only what it is called.
    """
    scenario = shorten(load("deferred-tool"), FACTOR)
    logs = []
    for seed in (1, 2):
        run_dir = tmp_path / str(seed)
        run_dir.mkdir()
        run_scenario(
            scenario, RunOptions(run_dir=run_dir, seed=seed), writes_report=False
        )
        logs.append((run_dir / "events.jsonl").read_bytes())

    assert logs[0] != logs[1]


@pytest.mark.parametrize("name", scenario_names())
def test_shipped_scenarios_pass(name: str, tmp_path: Path) -> None:
    """
    Every scenario that ships passes in virtual time, made shorter.
    """
    scenario = shorten(load(name), NEEDS_LONGER.get(name, FACTOR))
    result = run_scenario(scenario, RunOptions(run_dir=tmp_path), writes_report=False)

    summary = result.summary
    bad = [
        entry
        for group in ("expectations", "invariants", "checks")
        for entry in summary[group]
        if entry["status"] in {"failed", "inconclusive"}
    ]
    assert bad == []
    assert summary["verdict"] == "passed"
    assert summary["mode"] == "virtual"


@pytest.mark.long
@pytest.mark.parametrize("name", scenario_names())
def test_shipped_scenarios_repeat_byte_for_byte(name: str, tmp_path: Path) -> None:
    """
    Every scenario that ships, at its full length, writes the same log in two processes.
    """
    first = logs_of_process(tmp_path / "1", [name], seed=3, hash_seed=1, factor=1)
    second = logs_of_process(tmp_path / "2", [name], seed=3, hash_seed=4711, factor=1)

    assert_same(first, second)


@pytest.mark.long
@pytest.mark.parametrize("name", scenario_names())
def test_shipped_scenarios_pass_at_full_length(name: str, tmp_path: Path) -> None:
    """
    Every scenario that ships passes in virtual time with its own seed.
    """
    result = run_scenario(load(name), RunOptions(run_dir=tmp_path), writes_report=False)

    assert result.summary["verdict"] == "passed"
