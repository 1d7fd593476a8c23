"""
Processes of our own: the mock and the service under test.

A subject is started in a process group of its own, so that a Ctrl-C on the terminal
reaches the bench alone, which then stops everything in order. What it prints goes to
a file in the run's folder; its end is quoted when something goes wrong.
"""

import asyncio
import os
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from harness.clock import Clock
from harness.errors import SubjectError, check_options

LAST_LINES_MAX = 20
"""How many lines of a subject's output are quoted."""

LINE_CHARS_MAX = 200
"""Longer lines are cut where they are quoted; the file in the run's folder is whole."""

_LAST_BYTES_MAX = 16 * 1024
_POLL_S = 0.02
_HEALTH_TIMEOUT_S = 2.0
_GROUP_GONE_TIMEOUT_S = 10.0
_LISTENING = re.compile(rb"^listening on (https?://\S+)\s*$", re.MULTILINE)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectOptions:
    """
    How a process is started, and how one knows that it is ready.
    """

    name: str
    """What messages call it: ``mock`` or ``service``."""

    command: Sequence[str]
    output_file: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    """Added to the bench's own environment."""

    health_url: str | None = None
    """Ready when this answers 2xx."""

    port: int | None = None
    """Ready when this port of loopback accepts connections, if there is no health URL.

    Without either, ``listening on URL`` is waited for in the output.
    """

    start_timeout_s: float = 30.0
    stop_grace_s: float = 10.0
    """How long it may take to stop by itself before it is killed."""

    def __post_init__(self) -> None:
        check_options(
            self,
            command=len(self.command) > 0,
            start_timeout_s=self.start_timeout_s > 0,
            stop_grace_s=self.stop_grace_s >= 0,
        )


class Subject:
    """
    A process under the bench's care.

    Attributes:
        url: Where it listens, once it is ready.
    """

    def __init__(self, options: SubjectOptions, *, clock: Clock) -> None:
        self.url = ""
        self._options = options
        self._clock = clock
        self._process: asyncio.subprocess.Process | None = None
        self._offset_bytes = 0

    @property
    def pid(self) -> int | None:
        """
        The process id, while it runs.
        """
        is_running = self._process is not None and self._process.returncode is None
        return self._process.pid if self._process is not None and is_running else None

    @property
    def exit_code(self) -> int | None:
        """
        How it ended; None while it runs or before it was started.
        """
        return None if self._process is None else self._process.returncode

    async def start(self) -> None:
        """
        Start the process and return once it is ready.

        Raises:
            SubjectError: It cannot be started, ended, or was not ready in time; what it
                printed last is in the error.
        """
        options = self._options
        options.output_file.parent.mkdir(parents=True, exist_ok=True)
        with options.output_file.open("ab") as output:
            self._offset_bytes = output.tell()
            try:
                self._process = await asyncio.create_subprocess_exec(
                    *options.command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    env={**os.environ, **options.environment},
                    start_new_session=True,
                )
            except OSError as error:
                message = f"{options.name}: {options.command[0]!r}: {error.strerror}"
                raise SubjectError(message) from error
        try:
            async with self._clock.timeout(options.start_timeout_s):
                await self._wait_ready(self._process)
        except TimeoutError:
            await self.stop()
            message = (
                f"{options.name} was not ready within {options.start_timeout_s:g} s"
            )
            raise SubjectError(message, last_lines=self.last_lines()) from None
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> int | None:
        """
        Ask the process to end, wait, kill what is left of its group, wait for that.

        Returns:
            Its exit code, negative for a signal; None if it was never started.
        """
        process = self._process
        if process is None:
            return None
        if process.returncode is None:
            self._signal(signal.SIGTERM)
            try:
                async with self._clock.timeout(self._options.stop_grace_s):
                    await process.wait()
            except TimeoutError:
                pass
            finally:
                # Children that outlive their parent would keep the port.
                await self.kill()
        return process.returncode

    async def kill(self) -> None:
        """
        End the process and its group as a power cut would, and wait until they are gone.
        """
        self._signal(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()
            await self._wait_group_gone(self._process.pid)

    def last_lines(self) -> list[str]:
        """
        Return the end of what the process printed since its last start.
        """
        text = self._output()[-_LAST_BYTES_MAX:].decode(errors="replace")
        return [
            line if len(line) <= LINE_CHARS_MAX else f"{line[:LINE_CHARS_MAX]}…"
            for line in text.splitlines()[-LAST_LINES_MAX:]
        ]

    async def _wait_ready(self, process: asyncio.subprocess.Process) -> None:
        while not await self._is_ready():
            if process.returncode is not None:
                message = (
                    f"{self._options.name} ended with exit code {process.returncode} "
                    "before it was ready"
                )
                raise SubjectError(message, last_lines=self.last_lines())
            await self._clock.sleep(_POLL_S)

    async def _is_ready(self) -> bool:
        if self._options.health_url is not None:
            return await is_well(self._options.health_url)
        if self._options.port is not None:
            return await _accepts_connections(self._options.port)
        match = _LISTENING.search(self._output())
        self.url = match[1].decode() if match else ""
        return match is not None

    async def _wait_group_gone(self, group: int) -> None:
        # A signal is on its way when it has been sent, not when it has been obeyed:
        # on a busy machine a killed child may hold its port for a while longer than
        # its parent, and the next start would find it taken.
        try:
            async with self._clock.timeout(_GROUP_GONE_TIMEOUT_S):
                while has_running_members(group):
                    await self._clock.sleep(_POLL_S)
        except TimeoutError:
            # Stuck in the kernel: whoever comes next says what it is missing.
            return

    def _output(self) -> bytes:
        with self._options.output_file.open("rb") as output:
            output.seek(self._offset_bytes)
            return output.read()

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None:
            try:
                os.killpg(self._process.pid, number)
            except ProcessLookupError:
                return


async def is_well(health_url: str) -> bool:
    """
    Say whether a health path answers 2xx.
    """
    timeout = aiohttp.ClientTimeout(total=_HEALTH_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.get(health_url) as response,
        ):
            return response.ok
    except (aiohttp.ClientError, TimeoutError):
        return False


async def _accepts_connections(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


def has_running_members(group: int) -> bool:
    """
    Say whether any process of a group runs.

    One that only waits to be collected by its parent, which may never do so, holds
    nothing any more and does not count where the system tells it apart.
    """
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        # How macOS answers for a group of which only such processes are left.
        return False
    stats = list(Path("/proc").glob("[0-9]*/stat"))
    return not stats or any(_is_running_in(group, stat) for stat in stats)


def _is_running_in(group: int, stat: Path) -> bool:
    try:
        # pid (name) state parent group …; the name may hold anything.
        state, _parent, group_of = stat.read_text().rpartition(")")[2].split()[:3]
    except (OSError, ValueError):
        return False
    return int(group_of) == group and state not in "ZX"
