"""
The command from end to end: real processes, real sockets, real kills.
"""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import orjson
import psutil
import pytest

from harness.bench import service_environment, webhook_secret
from harness.bench.ports import free_port
from harness.bench.run_log import read_records

TINY_SERVICE = Path(__file__).with_name("tiny_service.py")

pytestmark = pytest.mark.sockets


def without_breaker(document: dict[str, Any]) -> None:
    """
    Switch the breaker off and leave the promise as it is.
    """
    document["service"]["breaker"]["enabled"] = False


def without_fault(document: dict[str, Any]) -> None:
    """
    Let the upstream stay well.
    """
    del document["upstream"]["faults"]


def without_haste(document: dict[str, Any]) -> None:
    """
    Ask only for what neither a slow machine nor a dead service can spoil.
    """
    document["expect"] = [
        each
        for each in document["expect"]
        if not str(each.get("metric")).startswith("chat.")
    ]


@pytest.mark.live
def test_an_outage_is_passed_by_a_breaker_that_keeps_its_promise(
    harness_command: Any, shortened: Any
) -> None:
    """
    The reference service opens, probes and closes; the run leaves all its files.
    """
    file = shortened("upstream-outage", 0.2, without_haste)
    finished = harness_command("run", str(file))

    assert finished.is_fine, finished.output
    assert finished.entry("breaker.opens")["status"] == "passed"
    assert finished.entry("circuit upstream")["status"] == "passed"
    run_dir = Path(finished.output.rsplit("report: ", 1)[1].strip()).parent
    names = {file.name for file in run_dir.iterdir()}
    assert names >= {
        "events.jsonl",
        "summary.json",
        "junit.xml",
        "summary.md",
        "report.html",
    }


def test_an_outage_without_the_breaker_fails_and_names_the_first_attempt(
    harness_command: Any, shortened: Any
) -> None:
    """
    The promise stays although the strategy is off: exit 1, with the evidence.
    """
    file = shortened("upstream-outage", 0.2, without_breaker)
    finished = harness_command("run", str(file), "--virtual")

    assert finished.exit_code == 1, finished.output
    broken = finished.entry("breaker.opens")
    assert broken["status"] == "failed"
    assert broken["findings"][0]["message"] in finished.output
    run_dir = Path(finished.output.rsplit("report: ", 1)[1].strip()).parent
    records = read_records(run_dir / "events.jsonl")
    first = records[broken["findings"][0]["events"][0] - 1]
    assert first["kind"] == "upstream_request_received"
    assert first["host"] == "mock"


def test_an_outage_that_never_comes_decides_nothing(
    harness_command: Any, shortened: Any
) -> None:
    """
    A rule that was never put to the test has not passed: exit 3.
    """
    finished = harness_command(
        "run", str(shortened("upstream-outage", 0.15, without_fault)), "--virtual"
    )

    assert finished.exit_code == 3, finished.output
    assert finished.entry("breaker.opens")["status"] == "inconclusive"


@pytest.mark.live
def test_a_service_killed_in_the_middle_loses_no_webhook(
    harness_command: Any, shortened: Any
) -> None:
    """
    ``kill -9`` while deliveries fail and wait: after the restart each one ends.
    """
    file = shortened("flaky-webhooks", 0.5, without_haste)
    finished = harness_command("run", str(file), "--kill-at", "6s")

    assert finished.is_fine, finished.output
    assert "service killed" in finished.output
    lost = finished.entry("webhooks.lost")
    assert lost["status"] == "passed"
    assert finished.entry("20 ")["status"] == "passed"


@pytest.mark.live
def test_ctrl_c_stops_everything_and_keeps_what_was_recorded(
    tmp_path: Path, shortened: Any
) -> None:
    """
    An interrupted run ends with 130, leaves no process, and its log can be read.
    """
    run_dir = tmp_path / "run"
    process = subprocess.Popen(  # noqa: S603 - our own command
        [
            *(sys.executable, "-m", "harness", "run"),
            *(str(shortened("upstream-outage", 1.0)), "--run-dir", str(run_dir)),
        ],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if "offered" in line:
            break
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    # Somebody who is in a hurry presses it again: that breaks off nothing.
    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()
    process.stdout.close()

    assert process.wait(30) == 130, rest
    assert len(children) >= 2
    assert not [child for child in children if child.is_running()]
    records = read_records(run_dir / "events.jsonl")
    assert records[-1]["kind"] == "run_ended"
    assert f"interrupted; what was recorded is in {run_dir}" in rest
    assert orjson.loads((run_dir / "summary.json").read_bytes())["completed"] is False


def test_a_service_that_does_not_start_makes_the_run_invalid(
    harness_command: Any, shortened: Any
) -> None:
    """
    Exit 4, with what it printed last.
    """
    command = f"{sys.executable} -c \"print('no database'); raise SystemExit(7)\""
    finished = harness_command(
        "run", str(shortened("upstream-outage", 0.1)), "--command", command
    )

    assert finished.exit_code == 4
    assert "ended with exit code 7" in finished.output
    assert "| no database" in finished.output


def test_a_taken_port_makes_the_run_invalid(
    harness_command: Any, shortened: Any
) -> None:
    """
    Exit 4, naming the port.
    """
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        finished = harness_command(
            "run", str(shortened("upstream-outage", 0.1)), "--mock-port", str(port)
        )

    assert finished.exit_code == 4
    assert f"port {port} on 127.0.0.1 is taken" in finished.output


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """
    What the tiny service promises.
    """
    file = tmp_path / "profile.yaml"
    file.write_text(
        "health: /healthz\n"
        "chat: {path: /ask, body: {question: '{message}'}, answer: text, async: false}\n"
        "breaker: null\nrate_limit: null\ntools: null\nwebhook: null\n"
    )
    return file


def plain(document: dict[str, Any]) -> None:
    """
    Ask for nothing but answers, and break nothing.
    """
    document["expect"] = [{"metric": "chat.success_ratio", "at_least": 0.99}]
    del document["upstream"]["faults"], document["webhook_endpoint"]
    del document["promise"]


@pytest.mark.live
def test_somebody_elses_service_is_judged_from_outside(
    harness_command: Any, profile: Path, shortened: Any
) -> None:
    """
    A service that says nothing of itself is judged by what reaches the mock.
    """
    finished = harness_command(
        *("run", str(shortened("upstream-outage", 0.1, plain))),
        *("--command", f"{sys.executable} {TINY_SERVICE}", "--profile", str(profile)),
    )

    assert finished.is_fine, finished.output
    assert finished.summary["calls"]["answered"] > 50


@pytest.mark.live
def test_a_service_that_runs_already_is_judged_where_it_is(
    harness_command: Any, tmp_path: Path, profile: Path, shortened: Any
) -> None:
    """
    Started with what ``--print-env`` says, it is the one that is called.
    """
    mock_port, port = free_port(), free_port()
    environment = service_environment(
        mock_url=f"http://127.0.0.1:{mock_port}",
        port=port,
        secret=webhook_secret(7),
        data_dir=tmp_path,
    )
    with subprocess.Popen(  # noqa: S603 - our own service
        [sys.executable, str(TINY_SERVICE)], env={**os.environ, **environment}
    ) as service:
        finished = harness_command(
            *("run", str(shortened("upstream-outage", 0.05, plain))),
            *("--target", f"http://127.0.0.1:{port}", "--mock-port", str(mock_port)),
            *("--profile", str(profile)),
        )
        is_still_there = service.poll() is None
        service.terminate()

    assert finished.is_fine, finished.output
    assert finished.summary["calls"]["answered"] > 25
    assert is_still_there


def test_free_ports_can_be_bound() -> None:
    """
    A port that is given out is free at that moment.
    """
    assert 0 < free_port() < 65536
