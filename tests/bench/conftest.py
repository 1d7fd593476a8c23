"""
The command, run as a user would.
"""

import copy
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pytest

from harness.scenario import load, shorten

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Finished:
    """
    What a command came to.
    """

    exit_code: int
    output: str
    summary: dict[str, Any]

    @property
    def is_fine(self) -> bool:
        """
        Whether it says of a correct service what it may, on a busy machine, too.

        A bench that could not keep up says so, and then nothing of the service.
        """
        late = [str(each["message"]) for each in self.summary.get("ailments", ())]
        could_not_keep_up = bool(late) and all("late" in message for message in late)
        return self.exit_code == 0 or (self.exit_code == 4 and could_not_keep_up)

    def entry(self, entry_id: str) -> dict[str, Any]:
        """
        Return an expectation, invariant or check by the start of its id.
        """
        for group in ("expectations", "invariants", "checks"):
            for entry in self.summary[group]:
                if str(entry["id"]).startswith(entry_id):
                    return dict(entry)
        raise LookupError(entry_id)


Command = Callable[..., Finished]
Shortened = Callable[..., Path]


@pytest.fixture
def harness_command(tmp_path: Path) -> Command:
    """
    Runs ``harness`` with these words in a folder of its own.
    """

    def run(*words: str, timeout_s: float = 110.0) -> Finished:
        json_file = tmp_path / "verdict.json"
        extra = ("--out", str(tmp_path / "runs"), "--json", str(json_file))
        finished = subprocess.run(  # noqa: S603 - our own command
            [
                sys.executable,
                "-m",
                "harness",
                *words,
                *(extra if words[0] == "run" else ()),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            cwd=tmp_path,
            text=True,
            timeout=timeout_s,
            check=False,
        )
        summary = orjson.loads(json_file.read_bytes()) if json_file.exists() else {}
        return Finished(finished.returncode, finished.stdout, summary)

    return run


@pytest.fixture
def shortened(tmp_path: Path) -> Shortened:
    """
    Writes a shipped scenario, shortened and changed, to a file.
    """

    def write(
        name: str,
        factor: float,
        change: Callable[[dict[str, Any]], None] | None = None,
    ) -> Path:
        source: Mapping[str, Any] = shorten(load(name), factor).source
        document = copy.deepcopy(dict(source))
        if change is not None:
            change(document)
        file = tmp_path / f"{name}-short.json"
        file.write_bytes(orjson.dumps(document))
        return file

    return write
