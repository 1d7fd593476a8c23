"""
Where the dashboard reads from: the folder of a run that goes on or is over.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

READ_BYTES_MAX = 4 * 1024 * 1024
"""How much of the log is taken at a time, so that painting is never held up."""

Record = Mapping[str, Any]


@dataclass(slots=True)
class RunFolder:
    """
    The files of a run, read as they grow.

    Args:
        path: The folder.
    """

    path: Path
    _offset_bytes: int = 0
    _rest: bytes = b""
    _manifest: dict[str, Any] = field(default_factory=dict)
    _summary: dict[str, Any] = field(default_factory=dict)

    def manifest(self) -> Mapping[str, Any]:
        """
        Return what the bench said about the run when it started; empty before that.
        """
        if not self._manifest:
            self._manifest = _read_object(self.path / "run.json")
        return self._manifest

    def summary(self) -> Mapping[str, Any]:
        """
        Return the verdict; empty while the run goes on.
        """
        if not self._summary:
            self._summary = _read_object(self.path / "summary.json")
        return self._summary

    def read(self) -> list[Record]:
        """
        Return the records that were added since the last call, a bounded lot.
        """
        file = self.path / "events.jsonl"
        if not file.exists():
            return []
        with file.open("rb") as stream:
            stream.seek(self._offset_bytes)
            added = stream.read(READ_BYTES_MAX)
        self._offset_bytes += len(added)
        *lines, self._rest = (self._rest + added).split(b"\n")
        return [orjson.loads(line) for line in lines if line]


def _read_object(file: Path) -> dict[str, Any]:
    try:
        value = orjson.loads(file.read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        # Not there yet, or being written at this moment.
        return {}
    return value if isinstance(value, dict) else {}
