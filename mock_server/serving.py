"""
The mock as a process of its own.
"""

import asyncio
import errno
import gc
import signal
import sys
from contextlib import AsyncExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import TextIO

from mock_server.app import running_mock
from mock_server.collector import spared_collector
from mock_server.documents import Document, DocumentError, read_document
from mock_server.injector import NoSecondListenerError, TooManyFaultsError
from mock_server.options import MockOptions
from mock_server.reloading import ScriptWatch, Stamp, stamp_of
from mock_server.script import MockScript, load_script, script_of, seed_of
from mock_server.tokens import ESTIMATE, TOKENIZER, NoTokenizerError
from mock_server.workers import WorkerError, refusal_of

EXIT_PASSED = 0
EXIT_USAGE = 2
EXIT_INVALID = 4
EXIT_INTERRUPTED = 130


def serve(
    options: MockOptions | None = None,
    *,
    script_file: Path | None = None,
    workers: int = 1,
    tokenizer: str = ESTIMATE,
    output: TextIO | None = None,
    errors: TextIO | None = None,
) -> int:
    """
    Serve a mock until it is told to stop, and return the exit code.

    The first line on ``output`` says where it listens, once it does.

    Args:
        options: Everything but the script.
        script_file: A script, or a whole scenario; taken again when it changes.
        workers: How many processes share the work; all state is in this one.
        tokenizer: What counts the tokens of everything that this process serves.
        output: By default standard output.
        errors: By default standard error.
    """
    output = output or sys.stdout
    errors = errors or sys.stderr
    options = options or MockOptions()
    refusal = refusal_of(workers, speaks_tls=options.tls_cert is not None)
    if refusal is not None:
        print(refusal, file=errors)
        return EXIT_USAGE
    document = None
    script = None
    stamp: Stamp = None
    try:
        TOKENIZER.use(tokenizer)
        if script_file is not None:
            stamp = stamp_of(script_file)
            document = read_document(script_file)
            script = script_of(document)
            if options.seed is None:
                options = replace(options, seed=seed_of(document))
    except (DocumentError, NoTokenizerError) as error:
        print(error, file=errors)
        return EXIT_USAGE
    try:
        with asyncio.Runner() as runner:
            return runner.run(
                _serve(
                    options,
                    script,
                    document,
                    script_file,
                    stamp,
                    workers,
                    output,
                    errors,
                )
            )
    except (
        NoSecondListenerError,
        OSError,
        TooManyFaultsError,
        WorkerError,
    ) as error:
        exit_code, text = _explain(error, options, script_file)
        print(text, file=errors)
        return exit_code


def check(
    script_file: Path | None,
    *,
    output: TextIO | None = None,
    errors: TextIO | None = None,
) -> int:
    """
    Lint a script without serving it, and return the exit code.

    Args:
        script_file: A script, or a whole scenario.
        output: Told that it is well; by default standard output.
        errors: Told every mistake, with its place; by default standard error.
    """
    output = output or sys.stdout
    errors = errors or sys.stderr
    if script_file is None:
        print("--check: name a --script", file=errors)
        return EXIT_USAGE
    try:
        script = load_script(script_file)
    except DocumentError as error:
        print(error, file=errors)
        return EXIT_USAGE
    print(f"{script_file}: ok, {len(script.upstream.script)} rules", file=output)
    return EXIT_PASSED


async def _serve(
    options: MockOptions,
    script: MockScript | None,
    document: Document | None,
    script_file: Path | None,
    stamp: Stamp,
    workers: int,
    output: TextIO,
    errors: TextIO,
) -> int:
    stopped: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def stop(exit_code: int) -> None:
        if not stopped.done():
            stopped.set_result(exit_code)

    loop = asyncio.get_running_loop()
    for number, exit_code in (
        (signal.SIGINT, EXIT_INTERRUPTED),
        (signal.SIGTERM, EXIT_PASSED),
    ):
        # Only the main thread may, and only where the platform has signals.
        with suppress(NotImplementedError, ValueError, RuntimeError):
            loop.add_signal_handler(number, stop, exit_code)
    source = None if document is None else document.data

    def lose() -> None:
        print("a worker ended by itself: the mock is not whole", file=errors)
        stop(EXIT_INVALID)

    async with AsyncExitStack() as stack:
        running = await stack.enter_async_context(
            running_mock(script, options, source=source, workers=workers, lost=lose)
        )
        if script_file is not None:
            # What loading the modules left is little; what a document leaves is not.
            gc.collect()
        stack.enter_context(spared_collector())
        print(f"listening on {running.url}", file=output, flush=True)
        if running.control_port is not None:
            print(f"control on {running.control_url}", file=output, flush=True)
        if script_file is None:
            return await stopped
        core = running.mock.core
        watch = ScriptWatch(
            script_file,
            running.mock,
            clock=core.clock,
            events=core.events,
            say=lambda text: print(text, file=errors, flush=True),
            loaded=stamp,
        )
        async with watch.watching():
            return await stopped


def _explain(
    error: Exception, options: MockOptions, script_file: Path | None
) -> tuple[int, str]:
    """
    Return the exit code and what to say of a mock that could not start.
    """
    where = f"{options.host}:{options.port}"
    match error:
        case NoSecondListenerError():
            return EXIT_USAGE, f"{script_file}: {error}"
        case TooManyFaultsError():
            most = options.limits.faults_max
            return EXIT_USAGE, f"{script_file}: more than {most} faults"
        case OSError(errno=errno.EADDRINUSE):
            return EXIT_INVALID, f"port {options.port} on {options.host} is taken"
        case OSError(filename=str(filename)):
            return EXIT_USAGE, f"cannot write {filename}: {error.strerror}"
        case OSError():
            reason = error.strerror or error
            return EXIT_INVALID, f"cannot listen on {where}: {reason}"
        case _:
            return EXIT_INVALID, str(error)
