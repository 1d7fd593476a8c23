"""
Commands that run scenarios to a verdict.
"""

import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from harness.cli.shared import (
    EXIT_OF_VERDICT,
    app,
    check_files,
    command_line,
    every_mistake,
    has_extra,
    is_terminal,
    parse_duration,
    say,
    worst,
    write_results,
)
from harness.clock import LoopClock
from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.bench import Kill, RunOptions
    from harness.scenario import Scenario

ScenariosArgument = Annotated[
    list[str], typer.Argument(help="Files, or names that ship.")
]
TargetOption = Annotated[
    str | None, typer.Option(help="URL of a service that runs already.")
]
CommandOption = Annotated[
    str | None, typer.Option(help="Command that starts the service under test.")
]
ProfileOption = Annotated[Path | None, typer.Option(help="What that service promises.")]
SeedOption = Annotated[
    int | None,
    typer.Option(min=0, max=2**63 - 1, help="Instead of the scenario's own."),
]
OutOption = Annotated[Path, typer.Option(help="Parent of the run's folder.")]
JsonOption = Annotated[
    Path | None, typer.Option("--json", help="Also write the verdict here.")
]
JunitOption = Annotated[
    Path | None, typer.Option("--junit", help="Also write it as JUnit XML here.")
]
MockPortOption = Annotated[
    int | None,
    typer.Option(
        min=1, max=65535, help="A free one; 4010 with --target.", show_default=False
    ),
]
KillAtOption = Annotated[
    list[str] | None,
    typer.Option(help="kill -9 the service at this scenario time, then restart it."),
]
RunDirOption = Annotated[Path | None, typer.Option(hidden=True)]
VirtualOption = Annotated[
    bool, typer.Option("--virtual", help="In virtual time, the same every time.")
]
KillOption = Annotated[
    bool,
    typer.Option(
        "--kill", help="With --virtual: crash the service when the seed says."
    ),
]
PrintEnvOption = Annotated[
    bool,
    typer.Option(
        "--print-env", help="Print what to start a service with for --target."
    ),
]

TARGET_MOCK_PORT: Final = 4010
"""Where a service that runs already looks for the mock, unless told otherwise."""

_DEMO: Final = "demo"
_SERVICE_PORT: Final = 8000
_URL: Final = re.compile(r"https?://[^/\s]+")
_TAIL_LINES = 14
_END_TIMEOUT_S = 30.0


@app.command()
def run(  # noqa: PLR0913 - each is a word of the command line
    scenarios: ScenariosArgument,
    target: TargetOption = None,
    command: CommandOption = None,
    profile: ProfileOption = None,
    seed: SeedOption = None,
    out: OutOption = Path("runs"),
    json_file: JsonOption = None,
    junit_file: JunitOption = None,
    mock_port: MockPortOption = None,
    kill_at: KillAtOption = None,
    run_dir: RunDirOption = None,
    *,
    virtual: VirtualOption = False,
    kill: KillOption = False,
    print_env: PrintEnvOption = False,
) -> None:
    """
    Run scenarios to a verdict.
    """
    from harness.bench import RunOptions, load_profile, new_run_dir
    from harness.scenario import load

    with every_mistake() as attempt:
        attempt(_check_subject, target, command, kill_at)
        real = {"--target": target, "--command": command, "--mock-port": mock_port}
        attempt(_check_virtual, real, virtual, kill)
        kills = [at for text in kill_at or () for at in attempt(_kill, text)]
        loaded = [each for name in scenarios for each in attempt(load, name)]
        if virtual:
            _check_scenarios_are_virtual(attempt, loaded)
        profiles = [] if profile is None else attempt(load_profile, profile)
        attempt(check_files, json_file, junit_file)
    if print_env:
        _print_environment(loaded, seed=seed, target=target, mock_port=mock_port)
        return

    def run_one(scenario: "Scenario") -> Mapping[str, Any]:
        options = RunOptions(
            run_dir=run_dir or new_run_dir(out, scenario.scenario, clock=LoopClock()),
            seed=seed,
            target_url=target,
            command=command,
            profile=next(iter(profiles), None),
            mock_port=mock_port or (TARGET_MOCK_PORT if target else None),
            kills=kills,
            command_line=command_line(),
        )
        if virtual:
            return _run_one_virtually(scenario, options, is_killed=kill)
        return _run_one(scenario, options)

    results: list[Mapping[str, Any]] = []
    try:
        results.extend(map(run_one, loaded))
    finally:
        # What was judged before somebody pressed Ctrl-C stays judged.
        write_results(results, json_file=json_file, junit_file=junit_file)
    raise typer.Exit(worst(str(summary["verdict"]) for summary in results))


@app.command()
def demo(
    out: OutOption = Path("runs"),
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
    if not no_tui and is_terminal():
        if has_extra("textual"):
            raise typer.Exit(_demo_on_terminal(folder))
        typer.echo("for the dashboard: pip install 'toolcall-harness[dashboard]'")
    options = RunOptions(run_dir=folder, command_line="harness demo")
    summary = _run_one(scenario, options)
    raise typer.Exit(EXIT_OF_VERDICT[str(summary["verdict"])])


def _print_environment(
    scenarios: "Sequence[Scenario]",
    *,
    seed: int | None,
    target: str | None,
    mock_port: int | None,
) -> None:
    """
    Print the environment of a service that is to be judged with ``--target``.
    """
    from harness.bench import service_environment, webhook_secret

    seeds = {scenario.seed if seed is None else seed for scenario in scenarios}
    if len(seeds) > 1:
        message = "the scenarios have several seeds, and so secrets: give one --seed"
        raise UsageError(message)
    port = urlsplit(target).port if target else None
    environment = service_environment(
        mock_url=f"http://127.0.0.1:{mock_port or TARGET_MOCK_PORT}",
        port=port or _SERVICE_PORT,
        secret=webhook_secret(seeds.pop()),
        data_dir=Path("data"),
    )
    for name, value in environment.items():
        typer.echo(f"{name}={shlex.quote(value)}")


def _run_one(scenario: "Scenario", options: "RunOptions") -> Mapping[str, Any]:
    from harness.bench import run_in_foreground

    result = run_in_foreground(scenario, options, clock=LoopClock(), say=say)
    return result.summary


def _run_one_virtually(
    scenario: "Scenario", options: "RunOptions", *, is_killed: bool
) -> Mapping[str, Any]:
    from harness.simulation import crashes_of_seed, run_virtually_in_foreground

    seed = options.seed_for(scenario)
    crashes = crashes_of_seed(scenario, seed) if is_killed else ()
    result = run_virtually_in_foreground(scenario, options, crashes=crashes, say=say)
    return result.summary


def _check_subject(
    target: str | None, command: str | None, kill_at: list[str] | None
) -> None:
    if target is not None and command is not None:
        message = (
            "--target is a service that runs, --command starts one: give one of them"
        )
        raise UsageError(message)
    if target is not None and not _URL.match(target):
        message = f"--target {target!r} is no URL like http://127.0.0.1:8000"
        raise UsageError(message)
    if command is not None:
        try:
            words = shlex.split(command)
        except ValueError as error:
            message = f"--command {command!r}: {str(error).lower()}"
            raise UsageError(message) from error
        if not words:
            message = "--command is empty: give what starts the service"
            raise UsageError(message)
    if kill_at and target is not None:
        message = "--kill-at needs a service that the bench started: use --command"
        raise UsageError(message)


def _kill(text: str) -> "Kill":
    from harness.bench import Kill

    return Kill(at_s=parse_duration("--kill-at", text))


def _check_virtual(
    real_parts: Mapping[str, object],
    is_virtual: bool,  # noqa: FBT001 - passed on
    is_killed: bool,  # noqa: FBT001 - passed on
) -> None:
    given = [flag for flag, value in real_parts.items() if value is not None]
    if is_virtual and given:
        message = (
            f"{', '.join(given)}: something real, and --virtual has mock and reference "
            "service in memory; leave out --virtual to judge a service of your own"
        )
        raise UsageError(message)
    if is_killed and not is_virtual:
        message = "--kill is for --virtual; in real time say when, with --kill-at"
        raise UsageError(message)


def _check_scenarios_are_virtual(
    attempt: Callable[..., list[Any]], scenarios: "Sequence[Scenario]"
) -> None:
    from harness.simulation import check_virtual

    for scenario in scenarios:
        attempt(check_virtual, scenario)


def _demo_on_terminal(run_dir: Path) -> int:
    """
    Run the bench beside the dashboard, in a process of its own.
    """
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
        typer.echo("stopping mock and service …")
        process.send_signal(signal.SIGINT)
    try:
        return process.wait(timeout=_END_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
