"""
What the command says before anything runs: mistakes, versions, environments.
"""

import io
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from harness import __version__
from harness.bench import webhook_secret
from harness.cli import main, runs
from harness.cli.shared import say

BROKEN = """\
scenario: broken
title: It cannot be read.
upstraem: {}
workload:
  - {arrivals: 40, for: 10s, send: {message: hi}}
expect:
  - {metric: webhook.lost, is: 0}
"""


@dataclass(frozen=True, slots=True)
class Said:
    """
    What a command came to.
    """

    exit_code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def command(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """
    Runs ``harness`` with these words in this process, in a folder of its own.
    """
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> Said:
        with pytest.raises(SystemExit) as ended:
            main(words)
        code = ended.value.code
        printed = capsys.readouterr()
        return Said(code if isinstance(code, int) else 0, printed.out, printed.err)

    return run


@pytest.mark.parametrize(
    ("words", "needle"),
    [
        (("run", "upstream-outrage"), "did you mean 'upstream-outage'?"),
        (("run", "demo", "--target", "http://x", "--command", "y"), "give one of them"),
        (("run", "demo", "--target", "localhost:8000"), "is no URL like http://"),
        (("run", "demo", "--command", ""), "--command is empty"),
        (("run", "demo", "--command", "node 'server.js"), "no closing quotation"),
        (("run", "demo", "--kill-at", "5"), "is no duration"),
        (("run", "demo", "--virtual", "--mock-port", "4010"), "leave out --virtual"),
        (("run", "demo", "--kill"), "--kill is for --virtual"),
        (("run", "demo", "--seed", "-1"), "greater than or equal to 0"),
        (("run", "demo", "--seed", str(2**63)), "less than or equal to"),
        (("run", "demo", "--json", "taken/verdict.json"), "--json taken/verdict.json"),
        (("run", "demo", "--junit", "."), "--junit .: no file can be written there"),
        (("run", "demo", "--out", "taken"), "runs cannot be kept in taken"),
        (("run", "demo", "--profile", "missing.yaml"), "missing.yaml:1:1"),
        (("run", "nowhere/missing.yaml"), "cannot be read"),
        (("run", "demo", "rate-limited", "--print-env"), "give one --seed"),
        (("demo", "--no-tui", "--out", "taken"), "runs cannot be kept in taken"),
        (("serve", "--workers", "2"), "redis://"),
        (("report", "nowhere"), "holds no finished run"),
        (("diff", "nowhere", "nowhere"), "holds no finished run"),
        (("scenario", "check", "nowhere"), "no scenario 'nowhere'"),
        (("watch",), "there is no run under runs/"),
        (("watch", "nowhere"), "nowhere is no folder of a run"),
        (("watch", "http://127.0.0.1:9"), "nothing can be watched at"),
        (("watch", "."), "watch needs a terminal"),
        (("mock", "--host", "0.0.0.0"), "token"),  # noqa: S104 - it is refused
        (("frobnicate",), "No such command"),
    ],
)
def test_mistakes_of_the_user_end_with_two_and_a_remedy(
    words: tuple[str, ...], needle: str, command: Command, tmp_path: Path
) -> None:
    """
    What was given wrongly is named; nothing is started and nothing is left behind.
    """
    (tmp_path / "taken").touch()

    said = command(*words)

    assert said.exit_code == 2, said.err
    assert needle in said.err
    assert "Traceback" not in said.err
    assert [file.name for file in tmp_path.iterdir()] == ["taken"]


def test_every_mistake_is_listed_at_once(command: Command, tmp_path: Path) -> None:
    """
    Files, names and options: each has its place and the nearest right word.
    """
    (tmp_path / "broken.yaml").write_text(BROKEN)
    (tmp_path / "profile.yaml").write_text("breaker: {failure_treshold: 5}\n")

    said = command(
        *("run", "broken.yaml", "deferred-tol", "--profile", "profile.yaml"),
        *("--target", "x", "--kill"),
    )

    assert said.exit_code == 2
    for needle in (
        "broken.yaml:3:1: upstraem: unknown key; did you mean 'upstream'?",
        "broken.yaml:5:6",
        "did you mean 'webhooks.lost'?",
        "did you mean 'deferred-tool'?",
        "did you mean 'failure_threshold'?",
        "--target 'x'",
        "--kill is for --virtual",
    ):
        assert needle in said.err


def test_what_is_probably_not_meant_has_its_place_too(
    command: Command, tmp_path: Path
) -> None:
    """
    A lint finding is told with file, line and column, and only an error ends with 2.
    """
    (tmp_path / "odd.yaml").write_text(
        "scenario: odd\n"
        "title: It can be read, and says little.\n"
        "upstream:\n"
        "  faults:\n"
        "    - {fault: status, status: 503}\n"
        "workload:\n"
        "  - {arrivals: 10/s, for: 10s, send: {message: hi}}\n"
        "expect:\n"
        "  - {metric: webhooks.lost, is: 0}\n"
    )

    odd = command("scenario", "check", "odd.yaml", "demo")
    (tmp_path / "odd.yaml").write_text(
        (tmp_path / "odd.yaml").read_text().replace("is: 0", "from: 20s, is: 0")
    )
    wrong = command("scenario", "check", "odd.yaml")

    assert odd.exit_code == 0
    assert "odd.yaml:5:7: upstream.faults[0]: warning: no expectation" in odd.err
    assert odd.out == "demo: fine\n"
    assert wrong.exit_code == 2
    assert "odd.yaml:9:29: expect[0].from: error: begins at 20s" in wrong.err


def test_the_environment_of_a_service_to_judge_is_printed(command: Command) -> None:
    """
    What ``--command`` would be given can be given by hand, for ``--target``.
    """
    said = command(
        *("run", "demo", "--print-env", "--seed", "5"),
        *("--target", "http://127.0.0.1:9000"),
    )
    lines = dict(line.split("=", 1) for line in said.out.splitlines())

    assert said.exit_code == 0
    assert lines["PORT"] == "9000"
    assert lines["OPENAI_BASE_URL"] == "http://127.0.0.1:4010/v1"
    assert lines["WEBHOOK_SECRET"] == webhook_secret(5)


def test_what_was_judged_before_an_interruption_is_written(
    command: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Ctrl-C in the second of two scenarios leaves the verdict on the first.
    """

    def run_one(scenario: Any, _: Any) -> dict[str, Any]:
        if scenario.scenario == "demo":
            raise KeyboardInterrupt
        return {"scenario": scenario.scenario, "verdict": "passed"}

    monkeypatch.setattr(runs, "_run_one", run_one)

    said = command("run", "deferred-tool", "demo", "--json", "verdicts/all.json")

    assert said.exit_code == 130
    written = orjson.loads((tmp_path / "verdicts" / "all.json").read_bytes())
    assert written["scenario"] == "deferred-tool"


def test_a_run_goes_on_when_nobody_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """
    A closed pipe, as after ``harness run … | head``, ends no run and says no verdict.
    """

    class Closed(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError(text)

    monkeypatch.setattr(sys, "stdout", Closed())

    say("one line")
    say("and another")

    assert sys.stdout.name == os.devnull
    sys.stdout.close()


@pytest.mark.parametrize(
    ("verdicts", "exit_code"),
    [
        (("passed", "inconclusive"), 3),
        (("inconclusive", "failed", "passed"), 1),
        (("failed", "invalid", "inconclusive"), 4),
    ],
)
def test_several_scenarios_end_with_the_worst(
    verdicts: tuple[str, ...],
    exit_code: int,
    command: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Invalid outranks failed, failed outranks inconclusive; all of them are run.
    """
    left = list(verdicts)

    def run_one(scenario: Any, _: Any) -> dict[str, Any]:
        return {"scenario": scenario.scenario, "verdict": left.pop(0)}

    monkeypatch.setattr(runs, "_run_one", run_one)

    said = command("run", *["demo"] * len(verdicts))

    assert said.exit_code == exit_code
    assert left == []


@pytest.mark.parametrize("words", [("version",), ("--version",)])
def test_the_version_is_printed(words: tuple[str, ...], command: Command) -> None:
    """
    As a command and as a flag.
    """
    assert command(*words).out == f"{__version__}\n"
