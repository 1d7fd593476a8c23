"""
A scenario in virtual time, from its file to a verdict.
"""

import asyncio
import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

from harness.bench import (
    ProgressLines,
    RunOptions,
    RunResult,
    ScenarioRun,
    verdict_lines,
)
from harness.clock import LoopClock
from harness.errors import SimulationError, UsageError
from harness.randomness import Randomness
from harness.scenario import Scenario
from harness.simulation.links import LinkOptions
from harness.simulation.loop import WALL_EPOCH_S
from harness.simulation.running import run_virtual
from harness.simulation.world import Crash, VirtualWorld, VirtualWorldOptions

LINKS: Final = LinkOptions(latency_min_s=0.000_1, latency_max_s=0.001)
"""What the network between the hosts is like: a quiet rack."""

CRASHES_MAX: Final = 3
"""How many crashes a seed draws at most."""

DOWN_S_MIN: Final = 0.2
DOWN_S_MAX: Final = 5.0
"""How long the service is down after one."""

_DISK: Final = "sqlite:"

_COLLECTOR_THRESHOLDS: Final = (20_000, 10, 10)
"""So that all there is is gone through once in a dozen runs."""

Record = dict[str, Any]
Say = Callable[[str], None]


def run_scenario(
    scenario: Scenario,
    options: RunOptions,
    *,
    crashes: Sequence[Crash] = (),
    on_record: Callable[[Record], None] | None = None,
    writes_report: bool = True,
) -> RunResult:
    """
    Run a scenario in virtual time and return its verdict.

    The event log follows from the scenario, the options and the seed, byte for byte.

    Args:
        scenario: What to run.
        options: How; the service is always the reference service.
        crashes: When the service loses its power, besides ``options.kills``.
        on_record: Told every record of the event log, in its order.
        writes_report: Also write what people read.

    Raises:
        UsageError: The options ask for something real, or the folder was used before.
    """
    check_virtual(scenario, options)
    runs: list[ScenarioRun] = []

    async def carry_out() -> None:
        world = VirtualWorld(
            VirtualWorldOptions(
                scenario=scenario,
                seed=options.seed_for(scenario),
                run_dir=options.run_dir,
                crashes=crashes,
            )
        )
        run = ScenarioRun(
            scenario,
            options,
            world=world,
            clock=LoopClock(WALL_EPOCH_S, loop=asyncio.get_running_loop()),
            on_record=on_record,
        )
        runs.append(run)
        await run.carry_out()

    failure = None
    try:
        with _seldom_collecting():
            run_virtual(carry_out, seed=options.seed_for(scenario), links=LINKS)
    except SimulationError as error:
        if not runs:
            raise
        failure = error
    except KeyboardInterrupt:
        # Asked to end, the run has stopped in order: what it holds is judged.
        for run in runs:
            run.conclude()
        raise
    return runs[0].conclude(failure=failure, writes_report=writes_report)


@contextmanager
def _seldom_collecting() -> Iterator[None]:
    """
    Look for cyclic garbage seldom: most of what a run makes is kept to its end.

    It is looked for all the same, or many runs in one process would pile it up.
    """
    before = gc.get_threshold()
    gc.set_threshold(*_COLLECTOR_THRESHOLDS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def run_virtually_in_foreground(
    scenario: Scenario, options: RunOptions, *, crashes: Sequence[Crash] = (), say: Say
) -> RunResult:
    """
    Run a scenario in virtual time, saying where it stands.

    Raises:
        KeyboardInterrupt: It was interrupted; what was recorded lies in the folder.
    """
    say(f"{scenario.scenario}: {scenario.title}")
    say(f"run in {options.run_dir}, in virtual time")
    result = run_scenario(
        scenario,
        options,
        crashes=crashes,
        on_record=ProgressLines(scenario, say, shows_latency=False),
    )
    for line in verdict_lines(result):
        say(line)
    return result


def crashes_of_seed(scenario: Scenario, seed: int) -> tuple[Crash, ...]:
    """
    Return crashes of the service at moments that the seed draws.

    Each comes in the middle of what the service does first after that moment.
    """
    stream = Randomness(seed).stream("crashes")
    moments_s = sorted(
        stream.uniform(0.1, 0.9) * scenario.duration_s
        for _ in range(stream.randint(1, CRASHES_MAX))
    )
    return tuple(
        Crash(
            at=_is_of_service,
            from_s=moment_s,
            down_s=stream.uniform(DOWN_S_MIN, DOWN_S_MAX),
        )
        for moment_s in moments_s
    )


def _is_of_service(record: Mapping[str, Any]) -> bool:
    return bool(record.get("host") == "service")


def check_virtual(scenario: Scenario, options: RunOptions | None = None) -> None:
    """
    Refuse a run that needs something real, with what to do instead.

    Raises:
        UsageError: A part of it is outside of what can be simulated.
    """
    if options is not None:
        real = {
            "a service that runs already": options.target_url,
            "a service with a command of its own": options.command,
            "a port for the mock": options.mock_port,
        }
        asked = [what for what, value in real.items() if value is not None]
        if asked:
            message = (
                f"{' and '.join(asked)} is real, and virtual time has the reference "
                "service and the mock on hosts in memory: leave out --virtual"
            )
            raise UsageError(message)
    store = str(scenario.service_document().get("store") or _DISK)
    if not store.startswith(_DISK):
        message = (
            f"service.store: {store.partition(':')[0]} is a real server, and in virtual "
            "time the store lies on the disk of a simulated host: leave service.store "
            "out, or run in real time without --virtual"
        )
        raise UsageError(message)
