"""
Commands that look at runs and at scenario files.
"""

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from harness import __version__
from harness.cli.shared import (
    ExitCode,
    app,
    every_mistake,
    is_terminal,
    require_extra,
)
from harness.clock import LoopClock
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.scenario import Document, Scenario

scenario_app = typer.Typer(help="Check scenario files.", no_args_is_help=True)
app.add_typer(scenario_app, name="scenario")


@app.command()
def watch(
    what: Annotated[
        str | None,
        typer.Argument(
            help="Folder of a run, live or over; or the URL of a mock or a service. "
            "By default the latest run under runs/.",
            show_default=False,
        ),
    ] = None,
    token: Annotated[
        str | None, typer.Option(help="Control or admin token, if one is asked for.")
    ] = None,
) -> None:
    """
    Open the dashboard on a run, a mock or a service.
    """
    require_extra("dashboard", "textual")
    from harness.dashboard import DashboardApp, RunFolder, Source, find_stream

    source: Source
    if what is not None and what.startswith(("http://", "https://")):
        source = asyncio.run(find_stream(what, token=token, clock=LoopClock()))
    else:
        source = RunFolder(_latest_run() if what is None else _run_folder(what))
    if not is_terminal():
        message = "watch needs a terminal; harness report RUN_DIR writes a page"
        raise UsageError(message)
    DashboardApp(source, control_token=token or "").run()


def _run_folder(what: str) -> Path:
    folder = Path(what)
    if not folder.is_dir():
        message = f"{what} is no folder of a run; runs lie under runs/"
        raise UsageError(message)
    return folder


def _latest_run() -> Path:
    runs = [file.parent for file in Path("runs").glob("*/events.jsonl")]
    if not runs:
        message = "there is no run under runs/; name a folder, or the URL of a mock"
        raise UsageError(message)
    return max(runs)


@app.command()
def report(
    run_folder: Annotated[Path, typer.Argument(help="Folder of a run.")],
) -> None:
    """
    Write the report of a run again.
    """
    from harness.report import load_run, write_report

    summary, records = load_run(run_folder)
    typer.echo(write_report(run_folder, summary, records))


@app.command("diff")
def diff_command(
    run_a: Annotated[Path, typer.Argument(help="Folder of a run.")],
    run_b: Annotated[Path, typer.Argument(help="Folder of a later run.")],
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """
    Say what changed between two runs; fails if something holds no longer.
    """
    from harness.report import diff_lines, diff_runs, load_run, summary_json

    diff = diff_runs(load_run(run_a), load_run(run_b))
    for line in diff_lines(diff):
        typer.echo(line)
    if json_file is not None:
        json_file.write_bytes(summary_json(diff.to_json()))
    raise typer.Exit(ExitCode.FAILED if diff.is_worse else ExitCode.PASSED)


@scenario_app.command("check")
def scenario_check(files: Annotated[list[str], typer.Argument()]) -> None:
    """
    Check scenario files: every mistake, with file, line and column.
    """
    from harness.scenario import lint

    with every_mistake() as attempt:
        read = [each for name in files for each in attempt(_read, name)]
    has_errors = False
    for document, scenario in read:
        findings = lint(scenario)
        for finding in findings:
            message = f"{finding.severity}: {finding.message}"
            typer.echo(document.mistake(finding.path, message), err=True)
            has_errors = has_errors or finding.severity == "error"
        if not findings:
            typer.echo(f"{scenario.scenario}: fine")
    raise typer.Exit(ExitCode.USAGE if has_errors else ExitCode.PASSED)


def _read(name: str) -> "tuple[Document, Scenario]":
    from harness.scenario import find, parse, read_document

    document = read_document(find(name))
    return document, parse(document)


@scenario_app.command("schema")
def scenario_schema() -> None:
    """
    Print the JSON Schema of a scenario file.
    """
    from harness.scenario import schema_text

    typer.echo(schema_text(), nl=False)


@app.command()
def version() -> None:
    """
    Print the version.
    """
    typer.echo(__version__)
