"""
Outages that were made to wedge circuits and to provoke retries.
"""

import json
from pathlib import Path
from typing import Any, Final

import pytest

from harness.bench import RunOptions
from harness.scenario import load, shorten
from harness.simulation import run_scenario

FACTOR: Final = 0.2


def summary_of(name: str, seed: int, run_dir: Path) -> dict[str, Any]:
    """
    Run a scenario, made shorter, and return what it came to.
    """
    scenario = shorten(load(name), FACTOR)
    run_dir.mkdir()
    options = RunOptions(run_dir=run_dir, seed=seed)
    return dict(run_scenario(scenario, options, writes_report=False).summary)


def complaints(summary: dict[str, Any]) -> list[str]:
    """
    Return what did not hold.
    """
    return [
        f"{entry['id']}: {entry['status']}"
        for group in ("expectations", "invariants", "checks")
        for entry in summary[group]
        if entry["status"] in {"failed", "inconclusive"}
    ]


@pytest.mark.parametrize("seed", range(1, 6))
def test_hung_probes_do_not_wedge_the_circuit(seed: int, tmp_path: Path) -> None:
    """
    With whatever seed probes hang, the circuit closes once the upstream is well.
    """
    summary = summary_of("hung-probe", seed, tmp_path / "run")

    assert complaints(summary) == []


def test_the_budget_makes_the_difference(tmp_path: Path) -> None:
    """
    The same outage, the same calls: the report shows three times the load without it.
    """
    amplification = {}
    for name in ("retry-storm", "retry-storm-without-budget"):
        summary = summary_of(name, 3, tmp_path / name)
        assert complaints(summary) == []
        [entry] = [
            each
            for each in summary["expectations"]
            if each["id"].startswith("upstream.amplification")
        ]
        amplification[name] = float(entry["figures"]["value"])

    bounded, unbounded = amplification.values()
    assert bounded < 1.5
    assert unbounded > 2 * bounded


def test_the_twins_differ_in_the_budget_alone() -> None:
    """
    Everything but the budget, and what is expected of it, is the same in both files.
    """
    one, other = (
        json.loads(json.dumps(dict(load(name).source)))
        for name in ("retry-storm", "retry-storm-without-budget")
    )

    assert other["service"]["upstream"].pop("retry_budget") == {"enabled": False}
    for key in ("upstream", "service", "workload", "seed"):
        assert one[key] == other[key]
