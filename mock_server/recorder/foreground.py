"""
A recording as a process: it records until it is told to stop.
"""

import asyncio
import errno
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TextIO

import aiohttp
from aiohttp import web

from mock_server.clock import Clock, LoopClock
from mock_server.documents import DocumentError
from mock_server.http_log import http_logger
from mock_server.recorder.options import RecordOptions
from mock_server.recorder.proxy import Proxy
from mock_server.recorder.recording import Recording, check_script_text
from mock_server.recorder.writing import ScriptFile
from mock_server.serving import (
    EXIT_INTERRUPTED,
    EXIT_INVALID,
    EXIT_PASSED,
    EXIT_USAGE,
)

_SHUTDOWN_TIMEOUT_S = 0.25


@dataclass(slots=True)
class RunningRecorder:
    """
    A recorder that accepts requests.
    """

    url: str
    """Where it is, without a path."""

    recording: Recording
    file: ScriptFile


@asynccontextmanager
async def running_recorder(
    options: RecordOptions,
    *,
    clock: Clock | None = None,
    errors: TextIO | None = None,
) -> AsyncIterator[RunningRecorder]:
    """
    Record while the context lasts; when it ends, everything is in the file.

    Args:
        options: What is recorded, and where it goes.
        clock: Time; by default that of the running loop.
        errors: Told what is not recorded; by default nobody is.

    Raises:
        OSError: The port cannot be had, or the file not be written.
    """
    clock = clock or LoopClock()
    recording = Recording(limits=options.limits)
    file = ScriptFile(options.out, options.shown_upstream, recording)
    file.write()

    def say(text: str) -> None:
        if errors is not None:
            print(text, file=errors, flush=True)

    connector = aiohttp.TCPConnector(limit=options.connections_max)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=options.connect_timeout_s)
    async with aiohttp.ClientSession(
        connector=connector,
        timeout=timeout,
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=("user-agent", "content-type", "accept"),
    ) as session:
        proxy = Proxy(
            options,
            recording,
            session=session,
            clock=clock,
            on_change=file.note_change,
            say=say,
        )
        server = web.Server(
            proxy.handle,
            handler_cancellation=True,
            auto_decompress=False,
            access_log=None,
            logger=http_logger(),
        )
        runner = web.ServerRunner(server, shutdown_timeout=_SHUTDOWN_TIMEOUT_S)
        await runner.setup()
        try:
            await web.TCPSite(runner, options.host, options.port).start()
            port = int(runner.addresses[0][1])
            host = f"[{options.host}]" if ":" in options.host else options.host
            async with _kept_written(file, clock, options.write_every_s):
                yield RunningRecorder(f"http://{host}:{port}", recording, file)
        finally:
            await runner.cleanup()
            file.write()


@asynccontextmanager
async def _kept_written(
    file: ScriptFile, clock: Clock, every_s: float
) -> AsyncIterator[None]:
    """
    Write the file now and then while the context lasts.
    """
    failure: Exception | None = None
    async with asyncio.TaskGroup() as tasks:
        writing = tasks.create_task(file.keep_written(clock, every_s), name="recorder")
        try:
            yield
        except Exception as error:  # noqa: BLE001 - raised again, out of the group
            failure = error
        finally:
            writing.cancel()
    if failure is not None:
        raise failure


def record(
    options: RecordOptions,
    *,
    output: TextIO | None = None,
    errors: TextIO | None = None,
) -> int:
    """
    Record until told to stop, and return the exit code.

    The first line on ``output`` says where the recorder listens, once it does.
    """
    output = output or sys.stdout
    errors = errors or sys.stderr
    try:
        with asyncio.Runner() as runner:
            code, recording = runner.run(_record(options, output, errors))
    except OSError as error:
        print(f"cannot record: {_explain(error, options)}", file=errors)
        return EXIT_USAGE if error.filename is not None else EXIT_INVALID
    return _finish(options, recording, code, output, errors)


async def _record(
    options: RecordOptions, output: TextIO, errors: TextIO
) -> tuple[int, Recording]:
    loop = asyncio.get_running_loop()
    stopped: asyncio.Future[int] = loop.create_future()

    def stop(exit_code: int) -> None:
        if not stopped.done():
            stopped.set_result(exit_code)

    for number, exit_code in (
        (signal.SIGINT, EXIT_INTERRUPTED),
        (signal.SIGTERM, EXIT_PASSED),
    ):
        # Only the main thread may, and only where the platform has signals.
        with suppress(NotImplementedError, ValueError, RuntimeError):
            loop.add_signal_handler(number, stop, exit_code)
    async with running_recorder(options, errors=errors) as running:
        print(f"listening on {running.url}", file=output, flush=True)
        print(
            f"recording {options.shown_upstream}; give clients {running.url}/v1; "
            "Ctrl-C ends it",
            file=errors,
            flush=True,
        )
        return await stopped, running.recording


def _finish(
    options: RecordOptions,
    recording: Recording,
    code: int,
    output: TextIO,
    errors: TextIO,
) -> int:
    """
    Say what was recorded, and whether the script holds.
    """
    for reason, count in recording.skipped.items():
        print(f"not recorded: {reason} ({count} times)", file=errors)
    try:
        rules = check_script_text(options.out.read_text("utf-8"), file=str(options.out))
    except (DocumentError, OSError) as error:
        print(error, file=errors)
        return EXIT_INVALID
    print(
        f"{len(recording.exchanges)} exchanges in {rules} rules: {options.out}",
        file=output,
        flush=True,
    )
    return code


def _explain(error: OSError, options: RecordOptions) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {options.port} on {options.host} is taken"
    if error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return str(error.strerror or error)
