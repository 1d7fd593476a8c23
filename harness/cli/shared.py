"""
What the commands share: the application, exit codes, scenarios, results.
"""

import importlib.util
import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import typer

from harness.errors import UsageError
from harness.units import parse_duration_s

if TYPE_CHECKING:
    from harness.scenario import Scenario

app = typer.Typer(
    name="harness",
    help="The offline bench for services that call functions and speak by webhook.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


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
    Load every file, and only then complain about all that are broken.
    """
    from harness.scenario import DocumentError, load

    loaded, mistakes = [], []
    for name in names:
        try:
            loaded.append(load(name))
        except DocumentError as error:
            mistakes += list(error.mistakes)
    if mistakes:
        raise DocumentError(mistakes)
    return loaded


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

    if json_file is not None:
        whole = summaries[0] if len(summaries) == 1 else {"runs": list(summaries)}
        json_file.write_bytes(summary_json(whole))
    if junit_file is not None:
        junit_file.write_text(junit_xml(*summaries), encoding="utf-8")


def require_extra(extra: str, module: str) -> None:
    """
    Refuse a command whose optional dependency is missing, and say how to get it.
    """
    if importlib.util.find_spec(module) is None:
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
    """
    return shlex.join(["harness", *sys.argv[1:]])
