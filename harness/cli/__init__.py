"""
The command ``harness``.

Each command parses its words, calls one room below, and turns what comes back into
lines and an exit code. What is heavy is imported where it is used: ``harness mock``
need not load a plotting library.
"""

import sys
import tempfile
import traceback
from collections.abc import Sequence
from typing import NoReturn

import typer

from harness.cli import dead_letters, pages, record, resilience, runs, servers, simulate
from harness.cli.shared import ExitCode, app
from harness.errors import BenchError, HarnessError

__all__ = [
    "ExitCode",
    "app",
    "dead_letters",
    "main",
    "pages",
    "record",
    "resilience",
    "runs",
    "servers",
    "simulate",
]


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """
    Run the command line and exit with its code.
    """
    try:
        app(
            args=None if arguments is None else list(arguments),
            prog_name="harness",
            standalone_mode=True,
        )
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - the last door: said in a line, kept in a file
        sys.exit(_explain(error) if _is_explained(error) else _explain_defect(error))
    sys.exit(ExitCode.PASSED)


def _is_explained(error: Exception) -> bool:
    """
    Say whether an error's text is all that the user needs.
    """
    # Loaded here: most commands need nothing of the mock to be typed wrongly.
    from mock_server.documents import DocumentError

    return isinstance(error, HarnessError | DocumentError)


def _explain(error: Exception) -> int:
    """
    Say what is wrong, and return the exit code that goes with it.
    """
    typer.echo(str(error), err=True)
    for line in getattr(error, "last_lines", ()):
        typer.echo(f"  | {line}", err=True)
    return ExitCode.INVALID if isinstance(error, BenchError) else ExitCode.USAGE


def _explain_defect(error: Exception) -> int:
    """
    Say that the mistake is ours; the traceback goes to a file.
    """
    with tempfile.NamedTemporaryFile(
        "w", prefix="harness-", suffix=".log", delete=False
    ) as log:
        log.write("".join(traceback.format_exception(error)))
    typer.echo(f"a defect of harness itself: {error!r}; see {log.name}", err=True)
    return ExitCode.INVALID
