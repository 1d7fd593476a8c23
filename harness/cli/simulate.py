"""
Commands that run many seeds in virtual time.
"""

from pathlib import Path
from typing import Annotated

import typer

from harness.cli.shared import app, every_mistake, worst
from harness.clock import LoopClock


@app.command()
def simulate(
    scenario: Annotated[str, typer.Argument(help="File, or name that ships.")],
    seeds: Annotated[str, typer.Option(help="A..B, both included.")] = "1..50",
    out: Annotated[
        Path | None, typer.Option(help="Where folders of runs go; by default runs/.")
    ] = None,
    processes: Annotated[
        int, typer.Option(min=0, help="Seeds at once; 0 is one per core.")
    ] = 0,
    *,
    kill: Annotated[
        bool, typer.Option("--kill", help="Crash the service when each seed says.")
    ] = False,
    keep_all: Annotated[
        bool, typer.Option("--keep-all", help="Keep runs that passed, too.")
    ] = False,
) -> None:
    """
    Run many seeds of a scenario in virtual time, and list what fails.
    """
    from harness.bench import new_run_dir
    from harness.scenario import load
    from harness.simulation import (
        ExploreOptions,
        check_virtual,
        explore_in_foreground,
        parse_seeds,
    )

    with every_mistake() as attempt:
        chosen = attempt(parse_seeds, seeds)
        loaded = attempt(load, scenario)
        for each in loaded:
            attempt(check_virtual, each)
    [subject], [wanted] = loaded, chosen
    name = f"{subject.scenario}-seeds"
    exploration = explore_in_foreground(
        subject,
        ExploreOptions(
            scenario=scenario,
            seeds=wanted,
            out=out or new_run_dir(Path("runs"), name, clock=LoopClock()),
            kills=kill,
            keeps_all=keep_all,
            processes=processes,
        ),
        say=typer.echo,
    )
    raise typer.Exit(worst(exploration.verdicts))
