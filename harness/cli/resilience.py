"""
Commands about circuits and retries.
"""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from harness.cli.shared import app, parse_duration, require_extra
from harness.errors import UsageError

breaker_app = typer.Typer(help="Ask about circuit breakers.", no_args_is_help=True)
app.add_typer(breaker_app, name="breaker")


@breaker_app.callback()
def breaker() -> None:
    """
    Ask about circuit breakers.
    """


@breaker_app.command("what-if")
def what_if(
    log: Annotated[Path, typer.Argument(help="events.jsonl of a run, or its folder.")],
    settings: Annotated[
        Path, typer.Option(help="Settings file with another breaker section.")
    ],
) -> None:
    """
    Say what another circuit breaker would have done with a recorded run.
    """
    from harness.bench import read_records
    from harness.judging import what_if, what_if_lines
    from harness.scenario import load_settings

    file = log / "events.jsonl" if log.is_dir() else log
    if not file.is_file():
        message = f"{file} is no event log; a run leaves one as events.jsonl"
        raise UsageError(message)
    options = load_settings(settings).pipeline_options().circuit_breaker
    if options is None:
        message = (
            f"{settings} switches the breaker off: everything would be let through"
        )
        raise UsageError(message)
    found = what_if(read_records(file), options)
    if not found:
        message = f"{file} holds no attempts of a service that writes its events"
        raise UsageError(message)
    for line in what_if_lines(found):
        typer.echo(line)


@app.command("retry-table")
def retry_table(
    client: Annotated[
        str,
        typer.Option(help="A command that asks for one completion, or openai."),
    ] = "openai",
    patience: Annotated[
        str, typer.Option(help="How long a command is waited for, for each form.")
    ] = "10s",
) -> None:
    """
    Show how a client of the model API treats each form of Retry-After.
    """
    from harness.testing.retry_table import (
        as_markdown,
        measure_command,
        measure_openai,
    )

    if client == "openai":
        require_extra("dev", "openai")
        typer.echo(as_markdown(measure_openai()))
        return
    seconds = parse_duration("--patience", patience)
    rows = asyncio.run(measure_command(client, patience_s=seconds))
    typer.echo(as_markdown(rows))
