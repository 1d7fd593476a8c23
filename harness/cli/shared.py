"""
What the commands share: the application, exit codes, scenarios, results.
"""

import importlib.util
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from harness import __version__
from harness.errors import UsageError
from harness.units import parse_duration_s

if TYPE_CHECKING:
    from harness.scenario import Scenario

app = typer.Typer(
    name="harness",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(is_asked: bool) -> None:  # noqa: FBT001 - a callback has no keywords
    if is_asked:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def harness(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print it."
        ),
    ] = False,
) -> None:
    """
    Judge services that call functions and speak by webhook, offline.
    """
    del version
    from mock_server.quick_start import start_quickly

    start_quickly()


class ExitCode(IntEnum):
    """
    How a command ended.
    """

    PASSED = 0
    FAILED = 1
    USAGE = 2
    INCONCLUSIVE = 3
    INVALID = 4
    INTERRUPTED = 130


EXIT_OF_VERDICT: Final = {
    "passed": ExitCode.PASSED,
    "failed": ExitCode.FAILED,
    "inconclusive": ExitCode.INCONCLUSIVE,
    "invalid": ExitCode.INVALID,
}
_WORST_FIRST: Final = (
    ExitCode.USAGE,
    ExitCode.INVALID,
    ExitCode.FAILED,
    ExitCode.INCONCLUSIVE,
    ExitCode.PASSED,
)


def worst(verdicts: Iterable[str]) -> ExitCode:
    """
    Return the exit code that several verdicts have together.
    """
    codes = {EXIT_OF_VERDICT[verdict] for verdict in verdicts}
    return next(code for code in _WORST_FIRST if code in codes)


def load_all(names: Sequence[str]) -> list["Scenario"]:
    """
    Load every file, and only then complain about all that are broken or missing.
    """
    from harness.scenario import load

    with every_mistake() as attempt:
        return [loaded for name in names for loaded in attempt(load, name)]


Attempt = Callable[..., list[Any]]


@contextmanager
def every_mistake() -> Iterator[Attempt]:
    """
    Give a function that calls another one and keeps what the user did wrong.

    It returns a list of what the call returned, empty if that was nothing.

    Raises:
        UsageError: What was kept, all of it, once the block has ended.
    """
    from harness.scenario import DocumentError

    mistakes: list[str] = []

    def attempt(function: Callable[..., Any], *arguments: Any) -> list[Any]:
        try:
            return [function(*arguments)]
        except (DocumentError, UsageError) as error:
            mistakes.append(str(error))
            return []

    yield attempt
    if mistakes:
        raise UsageError("\n".join(mistakes))


def say(line: str) -> None:
    """
    Print a line of progress; a run does not end because nobody reads it.
    """
    try:
        typer.echo(line)
    except BrokenPipeError:
        # As after `harness run … | head`. The verdict lies in the run's folder.
        nowhere = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - to the end
        sys.stdout = nowhere


def write_results(
    summaries: Sequence[Mapping[str, Any]],
    *,
    json_file: Path | None,
    junit_file: Path | None,
) -> None:
    """
    Write verdicts where they were asked for.
    """
    from harness.report import junit_xml, summary_json

    if not summaries:
        return
    if json_file is not None:
        whole = summaries[0] if len(summaries) == 1 else {"runs": list(summaries)}
        json_file.write_bytes(summary_json(whole))
    if junit_file is not None:
        junit_file.write_text(junit_xml(*summaries), encoding="utf-8")


def check_files(json_file: Path | None, junit_file: Path | None) -> None:
    """
    Make sure, before anything runs, that what is asked for can be written at its end.

    Raises:
        UsageError: It cannot be.
    """
    for option, file in (("--json", json_file), ("--junit", junit_file)):
        if file is None:
            continue
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = f"{option} {file}: {error.strerror}"
            raise UsageError(message) from error
        if file.is_dir() or not os.access(file.parent, os.W_OK):
            message = f"{option} {file}: no file can be written there"
            raise UsageError(message)


def is_terminal() -> bool:
    """
    Say whether somebody looks at a terminal that can be painted on.
    """
    can_paint = os.environ.get("TERM", "dumb") != "dumb"
    return can_paint and sys.stdout.isatty() and sys.stdin.isatty()


def has_extra(module: str) -> bool:
    """
    Say whether an optional dependency is there.
    """
    return importlib.util.find_spec(module) is not None


def require_extra(extra: str, module: str) -> None:
    """
    Refuse a command whose optional dependency is missing, and say how to get it.
    """
    if not has_extra(module):
        message = (
            f"this needs the extra {extra!r}: pip install 'toolcall-harness[{extra}]'"
        )
        raise UsageError(message)


def parse_duration(option: str, text: str) -> float:
    """
    Return the seconds that an option says, like ``5s``.
    """
    try:
        return parse_duration_s(text)
    except ValueError as error:
        message = f"{option}: {error}"
        raise UsageError(message) from error


def command_line() -> str:
    """
    Return the words that started this process, to be typed again.

    The folder of a run is left out: another run has its own.
    """
    words = list(sys.argv[1:])
    if "--run-dir" in words:
        at = words.index("--run-dir")
        del words[at : at + 2]
    return shlex.join(["harness", *words])
