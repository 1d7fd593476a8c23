"""
The command that writes down what an API answers.
"""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.shared import app
from harness.errors import UsageError


@app.command()
def record(
    out: Annotated[Path, typer.Option(help="The script that is written.")],
    upstream: Annotated[
        str | None,
        typer.Option(help="The API to stand in front of, like https://HOST/v1."),
    ] = None,
    from_run: Annotated[
        Path | None,
        typer.Option(help="A run's folder, its events.jsonl, or a saved journal."),
    ] = None,
    host: Annotated[str, typer.Option(help="Loopback.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535)] = 4010,
) -> None:
    """
    Write what an API answers as a script, with its timings and without secrets.
    """
    from mock_server import OptionsError as MockOptionsError
    from mock_server.recorder import RecordOptions, convert_run
    from mock_server.recorder import record as record_upstream

    if (upstream is None) == (from_run is None):
        message = "record takes either --upstream or --from-run"
        raise UsageError(message)
    if from_run is not None:
        raise typer.Exit(convert_run(from_run, out))
    try:
        options = RecordOptions(upstream=str(upstream), out=out, host=host, port=port)
    except MockOptionsError as error:
        raise UsageError(str(error)) from error
    raise typer.Exit(record_upstream(options))
