"""
Many seeds: what fails in them is found, told, and seen again.
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from harness.cli import main
from harness.errors import UsageError
from harness.scenario import load
from harness.simulation import (
    Exploration,
    ExploreOptions,
    Flaw,
    SeedOutcome,
    crashes_of_seed,
    explore_seeds,
    parse_seeds,
)

HERE: Final = Path(__file__).parent
WEDGE: Final = HERE / "wedge.yaml"
NEEDS_REDIS: Final = "service:\n  store: redis://127.0.0.1:6379/0"
PLANT: Final = HERE / "leaky_probe"


def harness(
    *words: str, cwd: Path, planted: bool = False
) -> subprocess.CompletedProcess[str]:
    """
    Run the command in a process of its own, with the planted bug or without.
    """
    environment = dict(os.environ)
    if planted:
        environment["PYTHONPATH"] = str(PLANT)
    return subprocess.run(  # noqa: S603 - our own interpreter
        [sys.executable, "-m", "harness", *words],
        check=False,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
    )


def test_a_leaked_probe_slot_is_found_and_seen_again(tmp_path: Path) -> None:
    """
    A planted bug fails on some seed, and the printed command shows it again.
    """
    explored = harness(
        *("simulate", str(WEDGE), "--seeds", "1..3", "--out", str(tmp_path / "found")),
        cwd=tmp_path,
        planted=True,
    )

    assert explored.returncode == 1
    # The flaw, what was seen, and the command, each on a line.
    [command] = re.findall(
        r"failed +expectations: circuit upstream.*\n.*\n +harness (run .*)",
        explored.stdout,
    )
    seed = command.rsplit(maxsplit=1)[-1]
    assert (tmp_path / "found" / f"seed-{seed}" / "report.html").is_file()

    again = harness(*shlex.split(command), cwd=tmp_path, planted=True)
    assert again.returncode == 1
    assert "failed: circuit upstream" in again.stdout

    sound = harness(*shlex.split(command), cwd=tmp_path)
    assert sound.returncode == 0


def test_processes_change_nothing(tmp_path: Path) -> None:
    """
    Several processes find what one finds, and write the same event logs.
    """
    logs = []
    for processes in (1, 2):
        out = tmp_path / str(processes)
        options = ExploreOptions(
            scenario=str(WEDGE),
            seeds=range(1, 3),
            out=out,
            processes=processes,
            keeps_all=True,
        )
        outcomes = {
            each.seed: (each.verdict, each.flaws) for each in explore_seeds(options)
        }
        assert outcomes == dict.fromkeys((1, 2), ("passed", ()))
        logs.append(
            [(out / f"seed-{seed}" / "events.jsonl").read_bytes() for seed in (1, 2)]
        )

    assert logs[0] == logs[1]
    assert len(set(logs[0])) == 2


def test_runs_that_pass_leave_nothing(tmp_path: Path) -> None:
    """
    Only what did not pass is kept.
    """
    options = ExploreOptions(
        scenario=str(WEDGE), seeds=range(1, 2), out=tmp_path, processes=1
    )
    [outcome] = explore_seeds(options)

    assert outcome.run_dir is None
    assert list(tmp_path.iterdir()) == []


def test_failures_are_tallied_by_kind() -> None:
    """
    Each flaw is counted over the seeds, with the lowest seed that shows it.
    """
    leaked = Flaw(group="invariants", name="16", status="failed", message="leaked")
    undecided = Flaw(group="checks", name="x", status="inconclusive", message="?")
    exploration = Exploration()
    for seed, flaws in ((9, (leaked,)), (4, (leaked, undecided)), (1, ())):
        verdict = "failed" if flaws else "passed"
        exploration.add(SeedOutcome(seed=seed, verdict=verdict, flaws=flaws))

    found = [
        (tally.flaw, tally.seeds, tally.first.seed) for tally in exploration.ordered()
    ]
    assert found == [(leaked, 2, 4), (undecided, 1, 4)]
    assert exploration.verdicts == {"failed": 2, "passed": 1}


@pytest.mark.parametrize(
    ("text", "seeds"), [("1..50", range(1, 51)), ("7", range(7, 8)), ("0..0", range(1))]
)
def test_reads_seeds(text: str, seeds: range) -> None:
    """
    Both ends belong to a range, and a number is a range of one.
    """
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    "text", ["", "a..b", "5..1", "-3", "1..", "1...5", "0..9999999"]
)
def test_refuses_what_is_no_range(text: str) -> None:
    """
    A range of seeds that makes no sense is named.
    """
    with pytest.raises(UsageError, match="--seeds"):
        parse_seeds(text)


def test_crashes_follow_from_the_seed() -> None:
    """
    The same seed crashes at the same moments, within the run; another one at others.
    """
    scenario = load(WEDGE)
    moments = [
        [(crash.from_s, crash.down_s) for crash in crashes_of_seed(scenario, seed)]
        for seed in (1, 1, 2)
    ]

    assert moments[0] == moments[1] != moments[2]
    assert all(0 < at_s < scenario.duration_s for at_s, _ in moments[0])


@pytest.mark.parametrize(
    "words",
    [
        ("run", str(WEDGE), "--virtual", "--target", "http://127.0.0.1:9"),
        ("run", str(WEDGE), "--virtual", "--command", "my-service"),
        ("run", str(WEDGE), "--virtual", "--mock-port", "4010"),
        ("run", str(WEDGE), "--kill"),
        ("simulate", str(WEDGE), "--seeds", "none"),
        ("simulate", "no-such-scenario"),
        ("run", "{redis}", "--virtual"),
        ("simulate", "{redis}"),
        ("simulate", str(WEDGE), "--seeds", "1..2", "--out", "{used}"),
    ],
    ids=lambda words: " ".join(words[2:] or words[1:]),
)
def test_mistakes_end_with_2(
    words: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """
    What cannot be simulated ends with exit code 2 and a line that says what to do.
    """
    work, used = tmp_path / "work", tmp_path / "used"
    work.mkdir()
    (used / "seed-2").mkdir(parents=True)
    redis = tmp_path / "redis.yaml"
    redis.write_text(WEDGE.read_text().replace("service:", NEEDS_REDIS))
    monkeypatch.chdir(work)
    with pytest.raises(SystemExit) as ended:
        main([word.format(redis=redis, used=used) for word in words])

    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert list(work.iterdir()) == []
