"""
Many seeds of a scenario in virtual time, and what failed in them.

Each seed is a run of its own in one of several processes, so that neither state nor
order can pass from one to the next. Folders of runs that passed are deleted.
"""

import concurrent.futures
import functools
import itertools
import multiprocessing
import os
import shlex
import shutil
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from harness.bench import RunOptions, read_records
from harness.errors import UsageError
from harness.report import write_report
from harness.scenario import Scenario, load
from harness.simulation.coverage import SITUATIONS, Coverage
from harness.simulation.runs import check_virtual, crashes_of_seed, run_scenario

SEEDS_MAX: Final = 1_000_000
"""More seeds are a mistake of the one who asked."""

SEEDS_PER_PROCESS_MAX: Final = 100
"""After so many a process ends and another takes its place: crashes cost memory."""

GROUPS: Final = ("expectations", "invariants", "checks")

VERDICTS: Final = ("passed", "failed", "inconclusive", "invalid")

PROGRESS_LINES_MAX: Final = 50
"""How often an exploration says how far it is, however many seeds there are."""

Say = Callable[[str], None]

_PASSED: Final = "passed"
_BROKEN: Final = frozenset({"failed", "inconclusive"})


@dataclass(frozen=True, slots=True, kw_only=True)
class ExploreOptions:
    """
    Which seeds are run, and how.
    """

    scenario: str
    """File or name, as a process of its own can load it."""

    seeds: range
    out: Path
    """A run of seed 7 lies in the folder ``seed-7`` in it."""

    kills: bool = False
    """Crash the service at moments that each seed draws."""

    keeps_all: bool = False
    """Keep the folders of runs that passed, too."""

    processes: int = 0
    """How many at once; 0 is one per core."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Flaw:
    """
    One entry of a verdict that did not hold.
    """

    group: str
    """``expectations``, ``invariants`` or ``checks``; ``run`` for a run that is invalid."""

    name: str
    status: str
    message: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SeedOutcome:
    """
    What one seed came to.
    """

    seed: int
    verdict: str
    flaws: tuple[Flaw, ...] = ()
    run_dir: Path | None = None
    """Where the run is kept, if it is."""

    reached: frozenset[str] = frozenset()
    """Situations that the run was in, of those that are looked for."""


@dataclass(slots=True)
class FlawTally:
    """
    One kind of flaw over all seeds.
    """

    first: SeedOutcome
    flaw: Flaw
    seeds: int = 1


@dataclass(slots=True)
class Exploration:
    """
    What was found so far.
    """

    verdicts: dict[str, int] = field(default_factory=dict)
    tallies: dict[tuple[str, str, str], FlawTally] = field(default_factory=dict)
    reached: dict[str, list[int]] = field(default_factory=dict)
    """The seeds that were in each situation."""

    @property
    def seeds(self) -> int:
        """
        How many seeds have been run.
        """
        return sum(self.verdicts.values())

    def add(self, outcome: SeedOutcome) -> None:
        """
        Count what a seed came to; seeds may come in any order.
        """
        self.verdicts[outcome.verdict] = self.verdicts.get(outcome.verdict, 0) + 1
        for situation in outcome.reached:
            self.reached.setdefault(situation, []).append(outcome.seed)
        for flaw in outcome.flaws:
            key = (flaw.group, flaw.name, flaw.status)
            known = self.tallies.get(key)
            if known is None:
                self.tallies[key] = FlawTally(first=outcome, flaw=flaw)
                continue
            known.seeds += 1
            if outcome.seed < known.first.seed:
                known.first, known.flaw = outcome, flaw

    def ordered(self) -> list[FlawTally]:
        """
        Return the flaws, failures before what is undecided, the most frequent first.
        """
        order = ("invalid", "failed", "inconclusive")
        return sorted(
            self.tallies.values(),
            key=lambda tally: (
                order.index(tally.flaw.status),
                -tally.seeds,
                tally.flaw.group,
                tally.flaw.name,
            ),
        )


def parse_seeds(text: str) -> range:
    """
    Return the seeds of ``A..B``, both included, or of a single number.

    Raises:
        UsageError: It is neither, or there are too many.
    """
    first, dots, last = text.partition("..")
    try:
        seeds = range(int(first), int(last if dots else first) + 1)
    except ValueError:
        message = f"--seeds: {text!r} is not like 1..50"
        raise UsageError(message) from None
    if not seeds or seeds.start < 0 or len(seeds) > SEEDS_MAX:
        message = (
            f"--seeds: {text!r} is no range of 1 to {SEEDS_MAX} seeds from 0 upwards"
        )
        raise UsageError(message)
    return seeds


def explore_seeds(options: ExploreOptions) -> Iterator[SeedOutcome]:
    """
    Run every seed and yield what each came to, in the order in which they end.
    """
    processes = min(options.processes or os.cpu_count() or 1, len(options.seeds))
    if processes == 1:
        for seed in options.seeds:
            yield _run_seed_of_name(options, seed)
        return
    with concurrent.futures.ProcessPoolExecutor(
        processes,
        # Not forked: a fork would carry over whatever this process has open.
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_die_of_interrupts,
        max_tasks_per_child=SEEDS_PER_PROCESS_MAX,
    ) as pool:
        try:
            yield from _in_pool(pool, options, waiting_max=2 * processes)
        except BaseException:
            for child in multiprocessing.active_children():
                child.terminate()
            raise


def _in_pool(
    pool: concurrent.futures.Executor, options: ExploreOptions, *, waiting_max: int
) -> Iterator[SeedOutcome]:
    seeds = iter(options.seeds)
    running = {
        pool.submit(_run_seed_of_name, options, seed)
        for seed in itertools.islice(seeds, waiting_max)
    }
    while running:
        done, running = concurrent.futures.wait(
            running, return_when=concurrent.futures.FIRST_COMPLETED
        )
        running |= {
            pool.submit(_run_seed_of_name, options, seed)
            for seed in itertools.islice(seeds, len(done))
        }
        for future in done:
            yield future.result()


def run_seed(scenario: Scenario, options: ExploreOptions, seed: int) -> SeedOutcome:
    """
    Run one seed, keep its folder if it did not pass, and return what it came to.
    """
    run_dir = options.out / f"seed-{seed}"
    run_dir.mkdir(parents=True)
    coverage = Coverage()
    result = run_scenario(
        scenario,
        RunOptions(run_dir=run_dir, seed=seed, command_line=rerun(options, seed)),
        crashes=crashes_of_seed(scenario, seed) if options.kills else (),
        on_record=coverage.note,
        writes_report=False,
    )
    summary = result.summary
    is_kept = options.keeps_all or summary["verdict"] != _PASSED
    if is_kept:
        write_report(run_dir, summary, read_records(run_dir / "events.jsonl"))
    else:
        shutil.rmtree(run_dir)
    return SeedOutcome(
        seed=seed,
        verdict=str(summary["verdict"]),
        flaws=tuple(_flaws(summary)),
        run_dir=run_dir if is_kept else None,
        reached=frozenset(coverage.reached),
    )


def rerun(options: ExploreOptions, seed: int) -> str:
    """
    Return the command that runs one seed again.
    """
    words = ["harness", "run", options.scenario, "--virtual", "--seed", str(seed)]
    if options.kills:
        words.append("--kill")
    return shlex.join(words)


def explore_in_foreground(
    scenario: Scenario, options: ExploreOptions, *, say: Say
) -> Exploration:
    """
    Run every seed, say how far it is, and list what failed at the end.

    Raises:
        UsageError: The scenario needs something real, or the folder was used before.
    """
    check_virtual(scenario)
    _check_unused(options)
    total = len(options.seeds)
    say(f"{scenario.scenario}: {scenario.title}")
    say(f"seeds {options.seeds.start} to {options.seeds.stop - 1}, in virtual time")
    options.out.mkdir(parents=True, exist_ok=True)
    exploration = Exploration()
    step = max(1, total // PROGRESS_LINES_MAX)
    for outcome in explore_seeds(options):
        exploration.add(outcome)
        if outcome.verdict != _PASSED:
            say(f"  seed {outcome.seed}: {outcome.verdict}, kept in {outcome.run_dir}")
        if exploration.seeds % step == 0 or exploration.seeds == total:
            say(f"{exploration.seeds:>7} of {total} seeds: {_counted(exploration)}")
    for line in (*coverage_table(exploration), *table(exploration, options)):
        say(line)
    _remove_if_empty(options.out)
    return exploration


def _check_unused(options: ExploreOptions) -> None:
    used = [seed for seed in options.seeds if (options.out / f"seed-{seed}").exists()]
    if used:
        message = (
            f"{options.out} holds seed-{used[0]} of an earlier exploration: give "
            "another folder, or remove it"
        )
        raise UsageError(message)


def table(exploration: Exploration, options: ExploreOptions) -> list[str]:
    """
    Return what was found, as lines: each flaw, how often, and how to see it again.
    """
    tallies = exploration.ordered()
    if not tallies:
        return []
    lines = [f"{'seeds':>7}  {'first':>7}  status        what"]
    for tally in tallies:
        flaw, seed = tally.flaw, tally.first.seed
        lines.append(
            f"{tally.seeds:>7}  {seed:>7}  {flaw.status:<12}  {flaw.group}: {flaw.name}"
        )
        lines.append(f"{'':>18}{flaw.message}")
        lines.append(f"{'':>18}{rerun(options, seed)}")
    return lines


def coverage_table(exploration: Exploration) -> list[str]:
    """
    Return which situations the seeds were in, as lines: how many seeds, the first one.
    """
    lines = [f"{'seeds':>7}  {'first':>7}  sometimes"]
    for situation in SITUATIONS:
        seeds = exploration.reached.get(situation)
        if seeds:
            lines.append(f"{len(seeds):>7}  {min(seeds):>7}  {situation}")
    never = [each for each in SITUATIONS if each not in exploration.reached]
    return [*lines, *(f"{'-':>7}  {'never':>7}  {each}" for each in never)]


def _counted(exploration: Exploration) -> str:
    verdicts = exploration.verdicts
    return ", ".join(
        f"{verdicts[verdict]} {verdict}" for verdict in VERDICTS if verdict in verdicts
    )


def _remove_if_empty(folder: Path) -> None:
    if not any(folder.iterdir()):
        folder.rmdir()


def _flaws(summary: Mapping[str, Any]) -> Iterator[Flaw]:
    if summary["verdict"] == "invalid":
        reason = str(summary.get("reason", "")).partition("\n")[0]
        yield Flaw(group="run", name="valid", status="invalid", message=reason)
    for group in GROUPS:
        for entry in summary.get(group, ()):
            if entry["status"] in _BROKEN:
                findings = entry.get("findings") or [{"message": ""}]
                yield Flaw(
                    group=group,
                    name=entry["id"],
                    status=entry["status"],
                    message=findings[0]["message"],
                )


def _run_seed_of_name(options: ExploreOptions, seed: int) -> SeedOutcome:
    return run_seed(_load_once(options.scenario), options, seed)


@functools.lru_cache(maxsize=1)
def _load_once(scenario: str) -> Scenario:
    return load(scenario)


def _die_of_interrupts() -> None:
    # The parent says what was interrupted; a traceback per process says nothing.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
