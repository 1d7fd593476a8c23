"""
An upstream that is up and down every three seconds for a minute, over many seeds.

The gate plays thirty seeds and the long tests a thousand: the pipeline alone at full
length, and the whole stack, to its verdict, at a tenth of it. A few seeds take the whole
stack at full length.
"""

import asyncio
import copy
import functools
import math
import random
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from harness.bench import RunOptions
from harness.bus import EventBus
from harness.clock import LoopClock
from harness.errors import HarnessError, UpstreamStatusError
from harness.events import (
    AttemptStarted,
    CircuitChanged,
    Envelope,
    ProbeEnded,
    ProbeExpired,
    ProbeStarted,
)
from harness.randomness import Randomness
from harness.resilience import Attempt, Pipelines, PipelineStatistics
from harness.scenario import Scenario, load, shorten
from harness.simulation import parse_seeds, run_scenario
from harness.testing import SimLoop
from harness.upstream import classify

SCENARIO: Final = "flapping-upstream"

SEEDS_IN_GATE: Final = 30
SEEDS_IN_LONG_TESTS: Final = 1_000
SEEDS_AT_FULL_LENGTH: Final = 10

PROBES_MAX: Final = 3
FLAPPING_S: Final = (3.0, 63.0)
WELL_AGAIN_S: Final = 66.0
END_S: Final = 72.0

_LONG: Final = (pytest.mark.long, pytest.mark.timeout(1_200))


def chunks(seeds_max: int, *, size: int) -> Iterator[str]:
    """
    Cut the seeds from 1 on into ranges, so that they spread over processes.
    """
    for first in range(1, seeds_max + 1, size):
        yield f"{first}..{min(first + size - 1, seeds_max)}"


def in_gate_and_long(*, size: int, long_size: int) -> list[object]:
    """
    Return the ranges of the gate, and those of the long tests with their mark.
    """
    return [
        *chunks(SEEDS_IN_GATE, size=size),
        *(
            pytest.param(seeds, marks=_LONG)
            for seeds in chunks(SEEDS_IN_LONG_TESTS, size=long_size)
        ),
    ]


@functools.cache
def whole() -> Scenario:
    """
    Return the scenario as it ships.
    """
    return load(SCENARIO)


@functools.cache
def tenth() -> Scenario:
    """
    Return the scenario at a tenth of its length.

    Latencies do not shrink, so that more calls are under way at each turn, and there is
    one call where there were ten. What that decides is judged at full length alone: a
    chat that begins before the first outage may end in it, and the last outage may meet
    too few calls to open the circuit once more. That no circuit sticks is seen by the
    chats from the moment on in which all of them have to succeed.
    """
    data = copy.deepcopy(dict(shorten(whole(), 0.1).source))
    data["expect"] = [
        expectation
        for expectation in data["expect"]
        if not expectation["metric"].endswith("time_to_close")
        and (expectation["metric"] != "chat.success_ratio" or "from" in expectation)
    ]
    assert len(data["expect"]) == len(whole().source["expect"]) - 2
    return Scenario.model_validate(data)


# The whole stack -----------------------------------------------------------------------


def assert_passes(scenario: Scenario, seed: int, run_dir: Path) -> None:
    """
    Run the scenario to its verdict; of a run that passes nothing is kept.
    """
    run_dir.mkdir()
    options = RunOptions(run_dir=run_dir, seed=seed)
    result = run_scenario(scenario, options, writes_report=False)

    broken = [
        f"{entry['id']}: {entry['status']}"
        for group in ("expectations", "invariants", "checks")
        for entry in result.summary[group]
        if entry["status"] in {"failed", "inconclusive"}
    ]
    assert broken == [], f"seed {seed}, in {run_dir}"
    assert result.summary["verdict"] == "passed", f"seed {seed}, in {run_dir}"
    shutil.rmtree(run_dir)


@pytest.mark.parametrize("seeds", in_gate_and_long(size=5, long_size=20))
def test_the_whole_stack_takes_a_flapping_upstream(seeds: str, tmp_path: Path) -> None:
    """
    Whatever the seed, retries stay few, no circuit sticks and all invariants hold.
    """
    for seed in parse_seeds(seeds):
        assert_passes(tenth(), seed, tmp_path / str(seed))


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, SEEDS_AT_FULL_LENGTH + 1))
def test_the_whole_stack_takes_the_whole_minute(seed: int, tmp_path: Path) -> None:
    """
    At full length the whole stack passes, too.
    """
    assert_passes(whole(), seed, tmp_path / "run")


# The pipeline alone --------------------------------------------------------------------


class Witness:
    """
    What the events of a pipeline come to, as they happen.

    Attributes:
        tried: Calls that reached the upstream at all.
        attempts: Attempts that reached it.
        attempts_while_open: Those of them that an open circuit let through.
        probes_at_once: The most probes that were under way together.
        openings: How often the circuit opened.
        longest_s: The longest time from an opening until the circuit was closed again.
        late_failures: Calls that failed although the upstream was well for good.
    """

    def __init__(self) -> None:
        self.tried = 0
        self.attempts = 0
        self.attempts_while_open = 0
        self.probes_at_once = 0
        self.openings = 0
        self.longest_s = 0.0
        self.late_failures = 0
        self._state = "closed"
        self._probes = 0
        self._opened_s: float | None = None

    def note(self, envelope: Envelope) -> None:
        """
        Take in an event.
        """
        match envelope.event:
            case AttemptStarted(attempt_number=number):
                self.tried += number == 1
                self.attempts += 1
                self.attempts_while_open += self._state == "open"
            case ProbeStarted():
                self._probes += 1
                self.probes_at_once = max(self.probes_at_once, self._probes)
            case ProbeEnded() | ProbeExpired():
                self._probes -= 1
            case CircuitChanged(to_state=state):
                self._note_change(state, envelope.time_s)
            case _:
                pass

    def _note_change(self, state: str, time_s: float) -> None:
        # Probes that were under way have no slot in the next half-open circuit.
        self._state, self._probes = state, 0
        self.openings += state == "open"
        if self._opened_s is None:
            self._opened_s = time_s
        elif state == "closed":
            self.longest_s = max(self.longest_s, time_s - self._opened_s)
            self._opened_s = None


async def flap(seed: int, witness: Witness) -> PipelineStatistics:
    """
    Make the calls of the scenario, at full length, through the pipeline alone.
    """
    draws = random.Random(seed)  # noqa: S311 - a test's own chance
    clock = LoopClock(0.0)
    bus = EventBus(clock=clock)
    options = whole().service.pipeline_options()
    pipeline = Pipelines(
        clock=clock,
        randomness=Randomness(seed),
        bus=bus,
        options_for=lambda _name: options,
        classify=classify,
    ).for_destination("upstream/gpt-4o")
    started_s = clock.monotonic()
    from_s, to_s = FLAPPING_S

    async def ask(_attempt: Attempt) -> None:
        asked_s = clock.monotonic() - started_s
        await clock.sleep(draws.lognormvariate(math.log(0.04), 0.7))
        if from_s <= asked_s < to_s and (asked_s - from_s) % 6 < 3:
            raise UpstreamStatusError(status=503)

    async def call(begun_s: float) -> None:
        try:
            await pipeline.execute(ask, operation="chat")
        except HarnessError:
            witness.late_failures += begun_s >= WELL_AGAIN_S

    with bus.listening(witness.note):
        async with asyncio.TaskGroup() as tasks:
            while (now_s := clock.monotonic() - started_s) < END_S:
                tasks.create_task(call(now_s))
                await clock.sleep(draws.expovariate(50))
    return pipeline.statistics()


@pytest.mark.parametrize("seeds", in_gate_and_long(size=10, long_size=50))
def test_the_pipeline_alone_takes_a_flapping_upstream(seeds: str) -> None:
    """
    At full length: few retries, gentle probes, and the circuit follows every turn.
    """
    for seed in parse_seeds(seeds):
        witness = Witness()
        make_loop = functools.partial(SimLoop, seed=seed)
        with asyncio.Runner(loop_factory=make_loop) as runner:
            seen = runner.run(flap(seed, witness))

        assert seen.circuit is not None, f"seed {seed}"
        assert (seen.circuit.state, seen.in_flight) == ("closed", 0), f"seed {seed}"
        assert seen.attempts == witness.attempts, f"seed {seed}"
        assert witness.attempts <= 1.2 * witness.tried, f"seed {seed}"
        assert witness.attempts_while_open == 0, f"seed {seed}"
        assert 1 <= witness.probes_at_once <= PROBES_MAX, f"seed {seed}"
        assert witness.openings >= 10, f"seed {seed}"
        # Open for three seconds, then a break until the next probe, and three probes.
        assert witness.longest_s < 3 + 1 + 1, f"seed {seed}"
        assert witness.late_failures == 0, f"seed {seed}"
