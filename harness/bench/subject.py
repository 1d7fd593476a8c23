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
    """Ready when this answers 2xx; None to wait for ``listening on URL`` in the output."""

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
        Ask the process to end, wait, kill what is left of its group.

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
                self._signal(signal.SIGKILL)
                await process.wait()
        return process.returncode

    async def kill(self) -> None:
        """
        End the process as a power cut would, and wait until it is gone.
        """
        self._signal(signal.SIGKILL)
        if self._process is not None:
            await self._process.wait()

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
        health_url = self._options.health_url
        if health_url is None:
            match = _LISTENING.search(self._output())
            self.url = match[1].decode() if match else ""
            return match is not None
        timeout = aiohttp.ClientTimeout(total=_HEALTH_TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(timeout=timeout) as session,
                session.get(health_url) as response,
            ):
                return response.ok
        except (aiohttp.ClientError, TimeoutError):
            return False

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
