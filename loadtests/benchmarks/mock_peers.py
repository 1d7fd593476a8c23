"""
The mock beside other mock servers of the same API, on the same work, in one run.

The work is that of ``mock.py``: a chat of four messages and one tool, of ten rules the
last one hits. Each server is set up as its own pages say, and what it cannot do is left
out and said: one that has no rules gives its fixed reply. The figure is CPU time per
request; rounds alternate between the mock and the other.

    pip install --target DIR/python llmock mocktopus fakellm
    npm install --prefix DIR/node @copilotkit/aimock
    python loadtests/benchmarks/mock_peers.py DIR [--rounds 5] [--requests 1000]
"""

import argparse
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import psutil

from loadtests.benchmarks.mock import (
    RAMP_REQUESTS,
    SERVER,
    body_of,
    measure_us,
)
from loadtests.benchmarks.mock_process import (
    START_TIMEOUT_S,
    Server,
    environment,
    serving,
)

RULES = 10
TRIES_MAX = 600
ANSWER = "It is 22 degrees and sunny in Paris. " * 2


def question(number: int) -> str:
    """
    Return what the request must hold for a rule to hit.
    """
    return f"question of rule {number},"


def fixtures_of_aimock() -> str:
    """
    Return the rules in the form of aimock.
    """
    return json.dumps(
        {
            "fixtures": [
                {
                    "match": {"userMessage": question(number)},
                    "response": {"content": ANSWER},
                }
                for number in range(RULES)
            ]
        }
    )


def rules_of(key: str, **more: str) -> str:
    """
    Return the rules in the form that mocktopus and fakellm share, but for a word.
    """
    rules = [
        {
            **more,
            "when": {key: question(number)},
            "respond": {"content": ANSWER},
        }
        for number in range(RULES)
    ]
    return json.dumps({"version": 1, "rules": rules})


def commands(folder: Path, scratch: Path, port: int) -> dict[str, Sequence[str]]:
    """
    Return how each server is started, those that are not there left out.
    """
    aimock = scratch / "aimock.json"
    aimock.write_text(fixtures_of_aimock())
    mocktopus = scratch / "mocktopus.yaml"
    mocktopus.write_text(rules_of("messages_contains", type="llm.openai"))
    fakellm = scratch / "fakellm.yaml"
    fakellm.write_text(rules_of("messages_contain", name="one"))
    node = folder / "node" / "node_modules" / ".bin" / "llmock"
    run = [sys.executable, "-c"]
    at = ["--port", str(port)]
    llmock = "from llmock.cli import app; app()"
    found: dict[str, Sequence[str]] = {
        "llmock (fixed reply)": [
            *run,
            llmock,
            "serve",
            *at,
            "--log-level",
            "error",
            "--response-style",
            "static",
            "--tool-mode",
            "off",
        ],
        "mocktopus": [
            *run,
            "from mocktopus.cli import main; main()",
            "serve",
            *at,
            "--scenario",
            str(mocktopus),
        ],
        "fakellm": [
            *run,
            "from fakellm.cli import main; main()",
            "serve",
            *at,
            "--config",
            str(fakellm),
        ],
    }
    if node.exists() and shutil.which("node") is not None:
        found["@copilotkit/aimock"] = [
            str(node),
            *at,
            "--fixtures",
            str(aimock),
            "--log-level",
            "silent",
        ]
    return found


@contextmanager
def running(command: Sequence[str], folder: Path, port: int) -> Iterator[Server | None]:
    """
    Run another server while the context lasts; None if it does not start.
    """
    environ = {**os.environ, "PYTHONPATH": str(folder / "python")}
    process = subprocess.Popen(  # noqa: S603 - chosen by who runs this
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environ,
        cwd=folder,
    )
    try:
        yield (
            Server(psutil.Process(process.pid), port) if _waits(process, port) else None
        )
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(10)
        if process.poll() is None:
            process.kill()
            process.wait()


def _waits(process: "subprocess.Popen[bytes]", port: int) -> bool:
    pause = threading.Event()
    for _ in range(TRIES_MAX):
        if process.poll() is not None:
            return False
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return True
        pause.wait(START_TIMEOUT_S / TRIES_MAX)
    return False


def free_port() -> int:
    """
    Return a port that nobody listens at.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def main() -> None:
    """
    Measure and print.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="where they are installed")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=1000)
    given = parser.parse_args()
    print(json.dumps(environment(), indent=2))
    body = body_of("the question of rule 9, please")
    port = free_port()
    with TemporaryDirectory() as scratch, serving(str(SERVER), "mock", "10") as ours:
        measure_us(ours, body, RAMP_REQUESTS)
        for name, command in commands(given.folder, Path(scratch), port).items():
            with running(command, given.folder, port) as theirs:
                if theirs is None:
                    print(f"{name:24} does not start")
                    continue
                try:
                    measure_us(theirs, body, RAMP_REQUESTS)
                    pairs = [
                        (
                            measure_us(ours, body, given.requests),
                            measure_us(theirs, body, given.requests),
                        )
                        for _ in range(given.rounds)
                    ]
                except (OSError, RuntimeError) as error:
                    print(f"{name:24} fails: {error}")
                    continue
            ratio = statistics.median(b / a for a, b in pairs)
            a_us, b_us = (statistics.median(side) for side in zip(*pairs, strict=True))
            print(
                f"{name:24} {ratio:5.2f} times the mock's CPU  "
                f"{b_us:7.0f} us : {a_us:7.0f} us",
                flush=True,
            )


if __name__ == "__main__":
    main()
