"""
The raw event log of one process: a JSON object per line.

Each line is handed to the operating system with one unbuffered write before
``publish`` returns, so that a killed process loses nothing that it had said.
"""

import os
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from harness.bus import EventBus
from harness.errors import UsageError
from harness.events import Envelope, to_fields


def to_record(envelope: Envelope, *, host: str = "service") -> dict[str, Any]:
    """
    Return an event as a record of the event log.
    """
    record = to_fields(envelope.event)
    record["at_us"] = int(envelope.time_s * 1_000_000)
    record["host"] = host
    record["trace_id"] = envelope.trace_id
    return record


def encode_record(record: dict[str, Any]) -> bytes:
    """
    Return a record as JSON with sorted keys; what JSON does not know becomes text.
    """
    return orjson.dumps(record, option=orjson.OPT_SORT_KEYS, default=str)


class EventLog:
    """
    Writes every event of a bus to a file; use it as a context manager.

    Entering it raises :class:`~harness.errors.UsageError` for a file that cannot be
    written.

    Attributes:
        lost_events: Events that could not be written whole. More than none means
            that nothing can be concluded from the log.
    """

    def __init__(self, path: Path, *, bus: EventBus, host: str = "service") -> None:
        self.lost_events = 0
        self._path = path
        self._host = host
        self._listening = bus.listening(self._write)
        self._file = -1

    def __enter__(self) -> Self:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(self._path, flags, 0o644)
        except OSError as error:
            message = f"the event log {self._path}: {error.strerror}"
            raise UsageError(message) from error
        self._listening.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listening.__exit__(kind, error, traceback)
        os.close(self._file)
        self._file = -1

    def _write(self, envelope: Envelope) -> None:
        try:
            line = encode_record(to_record(envelope, host=self._host)) + b"\n"
            written_bytes = os.write(self._file, line)
        except (OSError, TypeError, ValueError):
            self.lost_events += 1
            return
        if written_bytes < len(line):
            self.lost_events += 1
