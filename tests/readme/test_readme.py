"""
What the README shows is what happens.
"""

import asyncio
import json
import os
import re
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from harness.bench import load_profile
from harness.scenario import scenario_names

ROOT = Path(__file__).resolve().parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")

pytestmark = pytest.mark.sockets


def run(
    *words: str, folder: Path, timeout_s: float = 110.0
) -> subprocess.CompletedProcess[str]:
    """
    Run a program of the environment and return what it came to.
    """
    return subprocess.run(  # noqa: S603 - our own commands
        words,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )


def ask(command: str) -> Any:
    """
    Send what a curl command of the README sends, and return the answer.
    """
    words = shlex.split(command)
    values = {
        flag: words[words.index(flag) + 1] for flag in ("-X", "-d") if flag in words
    }
    url = next(word for word in words if word.startswith("http://127.0.0.1:"))
    request = urllib.request.Request(  # noqa: S310 - loopback, checked above
        url, data=values.get("-d", "").encode() or None, method=values.get("-X", "GET")
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        return json.loads(answer.read() or b"null")


@pytest.mark.live
@pytest.mark.timeout(180)
def test_the_demo_passes_and_names_its_report(tmp_path: Path) -> None:
    """
    The first command: exit 0, a verdict, a report that exists.

    A machine that is too busy for it makes it invalid, never failed.
    """
    finished = run(
        *(sys.executable, "-m", "harness", "demo", "--no-tui"),
        folder=tmp_path,
        timeout_s=170.0,
    )

    verdict = re.findall(r"^verdict: (\w+)", finished.stdout, re.MULTILINE)
    was_late = re.search(
        r"^  the (generator|mock|machine) .* late", finished.stdout, re.MULTILINE
    )
    wanted = (4, ["invalid"]) if was_late else (0, ["passed"])
    assert (finished.returncode, verdict) == wanted, finished.stdout + finished.stderr
    report = finished.stdout.rsplit("report: ", 1)[1].strip()
    assert (tmp_path / report).stat().st_size > 100_000


def test_the_make_targets_exist(commands: list[str]) -> None:
    """
    Every ``make`` command has its target.
    """
    targets = set(
        re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    )
    wanted = {command.split()[1] for command in commands if command.startswith("make ")}

    assert wanted >= {"demo", "test"}
    assert wanted <= targets


@pytest.mark.long
def test_the_shown_scenario_passes(tmp_path: Path, commands: list[str]) -> None:
    """
    The scenario that is explained passes; here in virtual time.
    """
    assert "harness run upstream-outage" in commands
    finished = run(
        *(sys.executable, "-m", "harness", "run", "upstream-outage", "--virtual"),
        folder=tmp_path,
    )

    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_every_option_that_is_shown_exists(tmp_path: Path, commands: list[str]) -> None:
    """
    No command shows a flag that its help does not know.
    """
    for command in commands:
        words = shlex.split(command)
        if words[0] != "harness":
            continue
        flags = [word for word in words if word.startswith("--")]
        finished = run(
            *(sys.executable, "-m", "harness", words[1], "--help"), folder=tmp_path
        )
        assert finished.returncode == 0
        assert all(flag in finished.stdout for flag in flags), command


def test_the_python_snippet_talks_to_the_mock(
    tmp_path: Path, plain_mock_url: str
) -> None:
    """
    The official client, unmodified, gets an answer.
    """
    [snippet] = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
    file = tmp_path / "snippet.py"
    file.write_text(snippet.replace("http://127.0.0.1:4010", plain_mock_url))
    finished = run(sys.executable, str(file), folder=tmp_path)

    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.strip()


def test_faults_come_and_go_over_http(servers: Any, commands: list[str]) -> None:
    """
    The shown requests add an outage to the running mock, and end it.
    """
    add, remove = [
        servers.placed(command) for command in commands if command.startswith("curl ")
    ]
    ask(add)
    listed = ask(f"curl {servers.mock_url}/_mock/faults")
    ask(remove)
    left = ask(f"curl {servers.mock_url}/_mock/faults")

    assert any(fault["fault"] == "status" for fault in faults_in(listed))
    assert faults_in(left) == []


def faults_in(answer: Any) -> list[Any]:
    """
    Return the faults of a listing.
    """
    listed: list[Any] = answer["faults"] if isinstance(answer, dict) else answer
    return listed


@pytest.mark.live
def test_locust_finds_no_mistake_in_the_answers(
    tmp_path: Path, servers: Any, commands: list[str]
) -> None:
    """
    The load test runs with Locust's usual flags: sync and async chats, no failures.
    """
    [command] = [each for each in commands if each.startswith("locust ")]
    words = shlex.split(command.replace("-t 20s", "-t 5s -r 20"))
    words[words.index("-f") + 1] = str(ROOT / "loadtests" / "locustfile.py")
    finished = run(
        *(sys.executable, "-m", *words, "--host", servers.service_url),
        *("--json-file", str(tmp_path / "stats")),
        folder=tmp_path,
    )

    assert finished.returncode == 0, finished.stderr[-2000:]
    stats = {
        entry["name"]: entry
        for entry in json.loads((tmp_path / "stats.json").read_text())
    }
    assert stats["/chat"]["num_requests"] > 0
    assert stats["/chat (to the answer)"]["num_requests"] > 0
    assert sum(entry["num_failures"] for entry in stats.values()) == 0


def test_locust_notices_a_wrong_answer(tmp_path: Path) -> None:
    """
    A 200 without an answer is a failure: Locust ends with 1.
    """

    async def answer(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        while await reader.readline():
            body = b'{"success": true, "response": "", "function_calls": []}'
            head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
            close = b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body)
            writer.write(head + close + body)
            writer.close()
            return

    async def serve_and_run() -> subprocess.CompletedProcess[str]:
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with server:
            return await asyncio.to_thread(
                run,
                *(sys.executable, "-m", "locust", "--headless", "-u", "2", "-t", "3s"),
                *("-f", str(ROOT / "loadtests" / "locustfile.py")),
                *("--host", f"http://127.0.0.1:{port}"),
                folder=tmp_path,
            )

    finished = asyncio.run(serve_and_run())

    assert finished.returncode == 1, finished.stderr[-2000:]
    assert "response is no text" in finished.stderr


def test_locust_refuses_a_host_that_is_not_here(tmp_path: Path) -> None:
    """
    The load test targets loopback only.
    """
    finished = run(
        *(sys.executable, "-m", "locust", "--headless", "-u", "1", "-t", "1s"),
        *("-f", str(ROOT / "loadtests" / "locustfile.py")),
        *("--host", "http://192.0.2.1"),
        folder=tmp_path,
    )

    assert finished.returncode != 0
    assert "targets loopback only" in finished.stderr


def test_the_scenarios_that_ship_are_all_named() -> None:
    """
    The README lists every scenario, and no other.
    """
    [listed] = re.findall(r"The scenarios that ship: (.*?)\.\n", README)

    assert sorted(re.findall(r"`([a-z-]+)`", listed)) == scenario_names()


def test_the_explained_scenario_is_the_one_that_ships() -> None:
    """
    Whatever the README shows of it stands in the file, word for word.
    """
    shown = next(
        block
        for block in re.findall(
            r"^```yaml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL
        )
        if "workload:" in block
    )
    shipped = (ROOT / "scenarios" / "upstream-outage.yaml").read_text()
    lines = {line.split(" #")[0].strip() for line in shipped.splitlines()}

    assert {line.split(" #")[0].strip() for line in shown.splitlines()} <= lines


def test_the_shown_profile_is_one(tmp_path: Path) -> None:
    """
    The profile of somebody's service can be read, and says what is not judged.
    """
    [shown] = [
        block
        for block in re.findall(
            r"^```yaml\n(.*?)^```$", README, re.MULTILINE | re.DOTALL
        )
        if block.startswith("health:")
    ]
    file = tmp_path / "my-service.yaml"
    file.write_text(shown)

    profile = load_profile(file)

    assert profile.health == "/health"
    assert profile.breaker is None


def test_links_lead_somewhere() -> None:
    """
    Every relative link is a file of the repository.
    """
    for target in re.findall(r"\]\((?!https:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
