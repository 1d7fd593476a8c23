"""
The command ``harness``.

Each command parses its words, calls one room below, and turns what comes back into
lines and an exit code. What is heavy is imported where it is used: ``harness mock``
need not load a plotting library.
"""

import importlib.util
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn

import typer

from harness import __version__
from harness.clock import LoopClock
from harness.errors import BenchError, HarnessError, UsageError
from harness.units import parse_duration_s
from mock_server.documents import DocumentError

if TYPE_CHECKING:
    from harness.bench import RunOptions
    from harness.scenario import Scenario

app = typer.Typer(
    name="harness",
    help="The offline bench for services that call functions and speak by webhook.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
scenario_app = typer.Typer(help="Check scenario files.", no_args_is_help=True)
app.add_typer(scenario_app, name="scenario")

_DEMO: Final = "demo"
_TAIL_LINES = 14
_END_TIMEOUT_S = 30.0


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


_EXIT_OF_VERDICT: Final = {
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


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """
    Run the command line and exit with its code.
    """
    try:
        app(args=None if arguments is None else list(arguments), standalone_mode=True)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except (HarnessError, DocumentError) as error:
        sys.exit(_explain(error))
    except Exception as error:  # noqa: BLE001 - the last door: said in a line, kept in a file
        sys.exit(_explain_defect(error))
    sys.exit(ExitCode.PASSED)


# Servers ----------------------------------------------------------------------------


@app.command()
def mock(
    script: Annotated[
        Path | None, typer.Option(help="Script or scenario file.")
    ] = None,
    host: Annotated[str, typer.Option()] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 4010,
    seed: Annotated[int, typer.Option(help="Where all chance comes from.")] = 0,
    workers: Annotated[int, typer.Option(min=1)] = 1,
    service_url: Annotated[
        str | None, typer.Option(help="Where webhooks to the service go.")
    ] = None,
    webhook_secret: Annotated[str | None, typer.Option(help="whsec_…")] = None,
    control_token: Annotated[
        str | None, typer.Option(help="Guards /_mock/; needed off loopback.")
    ] = None,
    event_log: Annotated[Path | None, typer.Option(help="Write events here.")] = None,
    *,
    faults: Annotated[bool, typer.Option("--faults", help="List the faults.")] = False,
) -> None:
    """
    Serve the mock alone: model API, tool backend, webhook endpoint.
    """
    from mock_server import MockOptions
    from mock_server import OptionsError as MockOptionsError
    from mock_server import serve as serve_mock
    from mock_server.faults import describe_catalogue

    if faults:
        typer.echo(describe_catalogue())
        return
    try:
        options = MockOptions(
            host=host,
            port=port,
            seed=seed,
            service_url=service_url,
            webhook_secret=webhook_secret,
            control_token=control_token,
            event_log=event_log,
        )
    except MockOptionsError as error:
        raise UsageError(str(error)) from error
    raise typer.Exit(serve_mock(options, script_file=script, workers=workers))


@app.command()
def serve(
    settings: Annotated[Path | None, typer.Option(help="Settings file.")] = None,
    host: Annotated[str | None, typer.Option()] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535)] = None,
    store: Annotated[
        str | None, typer.Option(help="sqlite:///PATH or redis://…")
    ] = None,
    workers: Annotated[int, typer.Option(min=1)] = 1,
    admin_token: Annotated[str | None, typer.Option()] = None,
) -> None:
    """
    Serve the reference service alone.
    """
    from harness.scenario import load_settings
    from harness.service import check_workers
    from harness.service import serve as serve_service
    from harness.settings import ServiceSettings

    base = ServiceSettings() if settings is None else load_settings(settings)
    chosen = ServiceSettings.from_environment(os.environ, base=base)
    flags = {"host": host, "port": port, "store": store, "admin_token": admin_token}
    given = {name: value for name, value in flags.items() if value is not None}
    chosen = chosen.replaced(given)
    check_workers(workers, store_url=chosen.store_url)
    seed_text = os.environ.get("HARNESS_SEED")
    event_log = os.environ.get("HARNESS_EVENT_LOG")
    code = serve_service(
        chosen,
        event_log_file=Path(event_log) if event_log else None,
        seed=int(seed_text) if seed_text else None,
    )
    raise typer.Exit(code)


# Runs -------------------------------------------------------------------------------


@app.command()
def run(
    scenarios: Annotated[list[str], typer.Argument(help="Files, or names that ship.")],
    target: Annotated[
        str | None, typer.Option(help="URL of a service that runs already.")
    ] = None,
    command: Annotated[
        str | None, typer.Option(help="Command that starts the service under test.")
    ] = None,
    profile: Annotated[
        Path | None, typer.Option(help="What that service promises.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0)] = None,
    out: Annotated[Path, typer.Option(help="Parent of the run's folder.")] = Path(
        "runs"
    ),
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
    junit_file: Annotated[Path | None, typer.Option("--junit")] = None,
    mock_port: Annotated[int | None, typer.Option(min=1, max=65535)] = None,
    kill_at: Annotated[
        list[str] | None,
        typer.Option(
            help="kill -9 the service at this scenario time, then restart it."
        ),
    ] = None,
    run_dir: Annotated[Path | None, typer.Option(hidden=True)] = None,
) -> None:
    """
    Run scenarios to a verdict.
    """
    from harness.bench import Kill, RunOptions, load_profile, new_run_dir

    if target is not None and command is not None:
        message = (
            "--target is a service that runs, --command starts one: give one of them"
        )
        raise UsageError(message)
    kills = [Kill(at_s=_duration("--kill-at", text)) for text in kill_at or ()]
    if kills and target is not None:
        message = "--kill-at needs a service that the bench started: use --command"
        raise UsageError(message)
    loaded = _load_all(scenarios)
    chosen_profile = None if profile is None else load_profile(profile)
    results = []
    for scenario in loaded:
        folder = run_dir or new_run_dir(out, scenario.scenario, clock=LoopClock())
        options = RunOptions(
            run_dir=folder,
            seed=seed,
            target_url=target,
            command=command,
            profile=chosen_profile,
            mock_port=mock_port,
            kills=kills,
            command_line=_command_line(),
        )
        results.append(_run_one(scenario, options))
    _write_results(results, json_file=json_file, junit_file=junit_file)
    codes = {_EXIT_OF_VERDICT[str(summary["verdict"])] for summary in results}
    raise typer.Exit(next(code for code in _WORST_FIRST if code in codes))


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Parent of the run's folder.")] = Path(
        "runs"
    ),
    *,
    no_tui: Annotated[bool, typer.Option("--no-tui", help="Plain lines.")] = False,
) -> None:
    """
    Show what it is for, in under 90 seconds: an outage, a breaker, webhooks, a verdict.
    """
    from harness.bench import RunOptions, new_run_dir
    from harness.scenario import load

    scenario = load(_DEMO)
    folder = new_run_dir(out, scenario.scenario, clock=LoopClock())
    if not no_tui and sys.stdout.isatty() and sys.stdin.isatty():
        raise typer.Exit(_demo_on_terminal(folder))
    options = RunOptions(run_dir=folder, command_line="harness demo")
    summary = _run_one(scenario, options)
    raise typer.Exit(_EXIT_OF_VERDICT[str(summary["verdict"])])


@app.command()
def watch(
    run_folder: Annotated[Path, typer.Argument(help="Folder of a run, live or over.")],
) -> None:
    """
    Open the dashboard on a run.
    """
    _require_extra("dashboard", "textual")
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


@scenario_app.command("check")
def scenario_check(files: Annotated[list[str], typer.Argument()]) -> None:
    """
    Check scenario files: every mistake, with file, line and column.
    """
    from harness.scenario import lint

    loaded = _load_all(files)
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


# What the commands share ------------------------------------------------------------


def _run_one(scenario: "Scenario", options: "RunOptions") -> Mapping[str, Any]:
    from harness.bench import run_in_foreground

    result = run_in_foreground(scenario, options, clock=LoopClock(), say=typer.echo)
    return result.summary


def _load_all(names: Sequence[str]) -> list["Scenario"]:
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


def _write_results(
    summaries: Sequence[Mapping[str, Any]],
    *,
    json_file: Path | None,
    junit_file: Path | None,
) -> None:
    from harness.report import junit_xml, summary_json

    if json_file is not None:
        whole = summaries[0] if len(summaries) == 1 else {"runs": list(summaries)}
        json_file.write_bytes(summary_json(whole))
    if junit_file is not None:
        junit_file.write_text(junit_xml(*summaries), encoding="utf-8")


def _demo_on_terminal(run_dir: Path) -> int:
    """
    Run the bench beside the dashboard, in a process of its own.
    """
    _require_extra("dashboard", "textual")
    from harness.dashboard import DashboardApp, RunFolder
    from harness.report import REPORT_FILE

    words = [sys.executable, "-m", "harness", "run", _DEMO, "--run-dir", str(run_dir)]
    with (run_dir / "run.out").open("wb") as output:
        bench = subprocess.Popen(  # noqa: S603 - our own command
            words,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        DashboardApp(RunFolder(run_dir), leaves=True).run()
    finally:
        code = _end(bench)
    typer.echo("\n".join((run_dir / "run.out").read_text().splitlines()[-_TAIL_LINES:]))
    if not (run_dir / REPORT_FILE).exists():
        typer.echo(f"no report was written; see {run_dir / 'run.out'}", err=True)
    return code


def _end(process: subprocess.Popen[bytes]) -> int:
    """
    Ask a process to end if it has not, and return its exit code.
    """
    if process.poll() is None:
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(timeout=_END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _require_extra(extra: str, module: str) -> None:
    if importlib.util.find_spec(module) is None:
        message = (
            f"this needs the extra {extra!r}: pip install 'toolcall-harness[{extra}]'"
        )
        raise UsageError(message)


def _duration(option: str, text: str) -> float:
    try:
        return parse_duration_s(text)
    except ValueError as error:
        message = f"{option}: {error}"
        raise UsageError(message) from error


def _command_line() -> str:
    return shlex.join(["harness", *sys.argv[1:]])


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
