"""
Commands that look at runs and at scenario files.
"""

from pathlib import Path
from typing import Annotated

import typer

from harness import __version__
from harness.cli.shared import ExitCode, app, load_all, require_extra
from harness.errors import UsageError

scenario_app = typer.Typer(help="Check scenario files.", no_args_is_help=True)
app.add_typer(scenario_app, name="scenario")


@app.command()
def watch(
    run_folder: Annotated[Path, typer.Argument(help="Folder of a run, live or over.")],
) -> None:
    """
    Open the dashboard on a run.
    """
    require_extra("dashboard", "textual")
    from harness.dashboard import DashboardApp, RunFolder

    if not run_folder.is_dir():
        message = f"{run_folder} is no folder of a run; runs lie under runs/"
        raise UsageError(message)
    DashboardApp(RunFolder(run_folder)).run()


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

    loaded = load_all(files)
    has_errors = False
    for scenario in loaded:
        findings = lint(scenario)
        for finding in findings:
            typer.echo(
                f"{scenario.scenario}: {finding.severity}: {finding.message}", err=True
            )
            has_errors = has_errors or finding.severity == "error"
        if not findings:
            typer.echo(f"{scenario.scenario}: fine")
    raise typer.Exit(ExitCode.USAGE if has_errors else ExitCode.PASSED)


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
