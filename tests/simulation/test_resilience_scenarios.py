"""
Outages that were made to break circuits and to provoke retries, over many seeds.
"""

import asyncio
import contextlib
import functools
import json
import math
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pytest

from harness.bench import RunOptions
from harness.bus import EventBus
from harness.clock import LoopClock
from harness.errors import HarnessError, UpstreamStatusError
from harness.events import AttemptStarted, CircuitChanged, Envelope
from harness.randomness import Randomness
from harness.resilience import Attempt, Pipelines, PipelineStatistics
from harness.scenario import load, shorten
from harness.simulation import (
    ExploreOptions,
    explore_in_foreground,
    parse_seeds,
    run_scenario,
)
from harness.testing import Recorder, SimLoop
from harness.upstream import classify

FACTOR: Final = 0.2
FULL: Final = ("1..1", 0.5)
SHORT: Final = tuple(
    (f"{first}..{min(first + 4, 30)}", 0.1) for first in range(2, 31, 5)
)
"""Thirty seeds with the whole stack, shortened: a full run takes ten seconds of CPU."""


def summary_of(name: str, seed: int, factor: float, run_dir: Path) -> dict[str, Any]:
    """
    Run a scenario and return what it came to.
    """
    scenario = load(name)
    if factor < 1:
        scenario = shorten(scenario, factor)
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


@pytest.mark.parametrize(("seeds", "factor"), [FULL, *SHORT])
def test_flapping_upstream_passes_with_every_seed(
    seeds: str, factor: float, tmp_path: Path
) -> None:
    """
    Whatever the seed, retries stay few, no circuit sticks and all invariants hold.
    """
    for seed in parse_seeds(seeds):
        summary = summary_of("flapping-upstream", seed, factor, tmp_path / str(seed))

        assert complaints(summary) == [], f"seed {seed}"
        assert summary["verdict"] == "passed", f"seed {seed}"


async def flap(seed: int, recorder: Recorder) -> PipelineStatistics:
    """
    Make the calls of the scenario, at full length, through the pipeline alone.
    """
    draws = random.Random(seed)  # noqa: S311 - a test's own chance
    clock = LoopClock(0.0)
    bus = EventBus(clock=clock)
    scenario = load("flapping-upstream")
    pipelines = Pipelines(
        clock=clock,
        randomness=Randomness(seed),
        bus=bus,
        options_for=lambda _name: scenario.service.pipeline_options(),
        classify=classify,
    )
    pipeline = pipelines.for_destination("upstream/gpt-4o")
    started_s = clock.monotonic()

    async def ask(_attempt: Attempt) -> None:
        asked_s = clock.monotonic() - started_s
        await clock.sleep(draws.lognormvariate(math.log(0.04), 0.7))
        if 3 <= asked_s < 63 and (asked_s - 3) % 6 < 3:
            raise UpstreamStatusError(status=503)

    async def call() -> None:
        with contextlib.suppress(HarnessError):
            await pipeline.execute(ask, operation="chat")

    with bus.listening(recorder.record):
        async with asyncio.TaskGroup() as tasks:
            while clock.monotonic() - started_s < 72:
                tasks.create_task(call())
                await clock.sleep(draws.expovariate(50))
    return pipeline.statistics()


@pytest.mark.parametrize("seeds", ["1..10", "11..20", "21..30"])
def test_the_pipeline_alone_takes_a_flapping_upstream(seeds: str) -> None:
    """
    At full length with thirty seeds: few retries, and the circuit follows every turn.
    """
    for seed in parse_seeds(seeds):
        recorder = Recorder()
        make_loop = functools.partial(SimLoop, seed=seed)
        with asyncio.Runner(loop_factory=make_loop) as runner:
            seen = runner.run(flap(seed, recorder))

        assert seen.circuit is not None, f"seed {seed}"
        assert (seen.circuit.state, seen.in_flight) == ("closed", 0), f"seed {seed}"
        assert seen.attempts <= 1.2 * tried(recorder), f"seed {seed}"
        changes = [e for e in recorder.envelopes if isinstance(e.event, CircuitChanged)]
        openings = sum(e.to_state == "open" for e in recorder.of(CircuitChanged))
        assert openings >= 10, f"seed {seed}"
        # Open for three seconds, then a break until the next probe, and three probes.
        assert stuck_s(changes) < 3 + 1 + 1, f"seed {seed}"


def tried(recorder: Recorder) -> int:
    """
    Return how many calls reached the upstream at all.
    """
    return sum(event.attempt_number == 1 for event in recorder.of(AttemptStarted))


def stuck_s(changes: Sequence[Envelope]) -> float:
    """
    Return the longest time from an opening until the circuit closed again.
    """
    opened_s, longest_s = None, 0.0
    for envelope in changes:
        assert isinstance(envelope.event, CircuitChanged)
        if opened_s is None:
            opened_s = envelope.time_s
        elif envelope.event.to_state == "closed":
            longest_s = max(longest_s, envelope.time_s - opened_s)
            opened_s = None
    return math.inf if opened_s is not None else longest_s


@pytest.mark.long
def test_flapping_upstream_passes_with_a_thousand_seeds(tmp_path: Path) -> None:
    """
    A thousand seeds at full length pass, on all cores.
    """
    exploration = explore_in_foreground(
        load("flapping-upstream"),
        ExploreOptions(
            scenario="flapping-upstream",
            seeds=parse_seeds("1..1000"),
            out=tmp_path,
            kills=False,
            keeps_all=False,
            processes=0,
        ),
        say=print,
    )

    assert set(exploration.verdicts) == {"passed"}


@pytest.mark.parametrize("seed", range(1, 6))
def test_hung_probes_do_not_wedge_the_circuit(seed: int, tmp_path: Path) -> None:
    """
    With whatever seed probes hang, the circuit closes once the upstream is well.
    """
    summary = summary_of("hung-probe", seed, FACTOR * 2, tmp_path / "run")

    assert complaints(summary) == []


def test_the_budget_makes_the_difference(tmp_path: Path) -> None:
    """
    The same outage, the same calls: the report shows three times the load without it.
    """
    amplification = {}
    for name in ("retry-storm", "retry-storm-without-budget"):
        summary = summary_of(name, 3, 0.5, tmp_path / name)
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
