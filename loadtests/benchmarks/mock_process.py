"""
A server in a process of its own, and the machine that it runs on.
"""

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 60

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Return the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {"type": "string", "enum": ["celsius", "fahrenheit"]},
            },
            "required": ["city"],
        },
    },
}


@dataclass(slots=True)
class Server:
    """
    A server in a process of its own.
    """

    process: psutil.Process
    port: int

    def cpu_s(self) -> float:
        """
        Return the CPU time it has used, its workers' included.
        """
        return sum(
            _cpu_s(process)
            for process in (self.process, *self.process.children(recursive=True))
        )


def _cpu_s(process: psutil.Process) -> float:
    if sys.platform != "linux":
        times = process.cpu_times()
        return float(times.user + times.system)
    # What clock_getcpuclockid(3) returns. It counts nanoseconds, where all that /proc
    # tells of a process is counted in ticks of ten milliseconds.
    return time.clock_gettime(~process.pid << 3 | 2)


@contextmanager
def serving(*arguments: str) -> Iterator[Server]:
    """
    Run a server while the context lasts.
    """
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    # What is installed was compiled once; to do it at every start is not its cost.
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    process = subprocess.Popen(  # noqa: S603 - our own file
        [sys.executable, *arguments],
        stdout=subprocess.PIPE,
        env=environment,
        cwd=ROOT,
        text=True,
    )
    try:
        assert process.stdout is not None  # noqa: S101 - for the types
        line = process.stdout.readline()
        port = int(line.rsplit(":", 1)[1])
        yield Server(psutil.Process(process.pid), port)
    finally:
        process.terminate()
        process.wait(START_TIMEOUT_S)


def environment() -> dict[str, Any]:
    """
    Say on what this ran.
    """
    return {
        "python": platform.python_version(),
        "aiohttp": aiohttp.__version__,
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }
