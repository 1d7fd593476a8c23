"""
One event log from three writers.

The caller's records are made here; the mock and the service write files of their own,
which are followed while the run goes on. Records are merged by time, held back for a
moment so that a slower file can catch up, numbered, and appended to ``events.jsonl``.
What comes later than that is put in its place when the log is closed.

In virtual time all writers live in one process and hand over each record the moment
it is made; the order in which they do so is the order of the log.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

import orjson

from harness.clock import Clock
from harness.errors import EventLossError

HOLD_BACK_S = 0.3
"""How long a record waits for others that may be older."""

FOLLOW_INTERVAL_S = 0.1
"""How often the files are looked at."""

_HOST_ORDER: Final = {"caller": 0, "service": 1, "mock": 2}

Record = dict[str, Any]


@dataclass(order=True, slots=True)
class _Held:
    at_us: int
    host_order: int
    number: int
    record: Record = field(compare=False)


@dataclass(slots=True)
class _Source:
    """
    A file that grows, and how far it has been read.
    """

    file: Path
    host: str
    offset_bytes: int = 0
    rest: bytes = b""
    broken_lines: int = 0

    def read(self) -> list[Record]:
        """
        Return the whole lines that were added since the last call.
        """
        if not self.file.exists():
            return []
        with self.file.open("rb") as stream:
            stream.seek(self.offset_bytes)
            added = stream.read()
        self.offset_bytes += len(added)
        *lines, self.rest = (self.rest + added).split(b"\n")
        records = []
        for line in lines:
            try:
                records.append(orjson.loads(line))
            except orjson.JSONDecodeError:
                # A killed writer may leave half a line; what follows is whole again.
                self.broken_lines += 1
        return records


class RunLog:
    """
    The event log of a run, merged while it goes on.

    Args:
        file: Where ``events.jsonl`` is written.
        clock: The clock that all writers share; on one machine the monotonic one is.
        listener: Told every record as it is written.
        is_in_order: Nobody writes a file of its own, so that no record has to wait for
            older ones.

    Attributes:
        records: How many records were written.
    """

    def __init__(
        self,
        file: Path,
        *,
        clock: Clock,
        listener: Callable[[Record], None] | None = None,
        is_in_order: bool = False,
    ) -> None:
        self.records = 0
        self._listener = listener
        self._file = file
        self._clock = clock
        self._sources: list[_Source] = []
        self._held: list[_Held] = []
        self._number = 0
        self._zero_us: int | None = None
        self._last_written_us: int | None = None
        self._is_sorted = True
        self._is_in_order = is_in_order
        self._stream: BinaryIO = file.open("wb", buffering=-1 if is_in_order else 0)

    def follow(self, file: Path, *, host: str) -> None:
        """
        Take in what is, and will be, in a file of raw records.
        """
        self._sources.append(_Source(file=file, host=host))

    def set_zero(self, zero_s: float) -> None:
        """
        Say which point of the clock is scenario time zero; nothing is written before.
        """
        self._zero_us = round(zero_s * 1e6)

    def record(self, kind: str, *, trace_id: str | None = None, **fields: Any) -> None:
        """
        Add a record of the caller, stamped with the present time.
        """
        record = {name: value for name, value in fields.items() if value is not None}
        record |= {"kind": kind, "trace_id": trace_id}
        self.take(record, host="caller")

    def take(self, record: Record, *, host: str) -> None:
        """
        Add a record that a host made at this very moment; the log changes it.
        """
        now_us = round(self._clock.monotonic() * 1e6)
        if not self._is_in_order or self._zero_us is None:
            record["at_us"] = now_us
            self._hold(record, host=host)
            return
        if self._held:
            self._write(before_us=now_us + 1)
        record.pop("at_us", None)
        record["host"] = host
        record["time_us"] = now_us - self._zero_us
        self._stream.write(self._place(record))

    async def run(self) -> None:
        """
        Follow the files and write what is old enough, until cancelled.
        """
        # Without files there is nothing to follow, and nothing is held back.
        while not self._is_in_order:
            self.pump()
            await self._clock.sleep(FOLLOW_INTERVAL_S)

    def pump(self) -> None:
        """
        Read what was added and write what is old enough.
        """
        self._read_sources()
        self._write(before_us=round((self._clock.monotonic() - HOLD_BACK_S) * 1e6))

    def close(self) -> None:
        """
        Write what is left, in order, and close the file.

        Raises:
            EventLossError: A line in the middle of a file was not whole.
        """
        self._read_sources()
        if self._zero_us is None and self._held:
            # It ended before its scenario began: time counts from the first record.
            self._zero_us = self._held[0].at_us
        self._write(before_us=None)
        self._stream.close()
        if not self._is_sorted:
            self._sort()
        broken = {source.host: source.broken_lines for source in self._sources}
        for host, lines in broken.items():
            # One half line is what a kill leaves; more is a defect.
            if lines > 1:
                raise EventLossError(lost_events=lines, where=f"the log of the {host}")

    def abandon(self) -> None:
        """
        Let go of the file as it is.
        """
        self._stream.close()

    def _read_sources(self) -> None:
        for source in self._sources:
            for record in source.read():
                self._hold(record, host=source.host)

    def _hold(self, record: Record, *, host: str) -> None:
        self._number += 1
        held = _Held(
            at_us=int(record.pop("at_us")),
            # What is handed over one by one has its order already.
            host_order=0 if self._is_in_order else _HOST_ORDER[host],
            number=self._number,
            record=record | {"host": host},
        )
        heapq.heappush(self._held, held)

    def _write(self, *, before_us: int | None) -> None:
        if self._zero_us is None and before_us is not None:
            return
        zero_us = self._zero_us or 0
        lines = []
        while self._held and (before_us is None or self._held[0].at_us < before_us):
            held = heapq.heappop(self._held)
            if self._last_written_us is not None and held.at_us < self._last_written_us:
                self._is_sorted = False
            self._last_written_us = max(held.at_us, self._last_written_us or held.at_us)
            lines.append(self._place(held.record | {"time_us": held.at_us - zero_us}))
        if lines:
            self._stream.write(b"".join(lines))

    def _place(self, record: Record) -> bytes:
        """
        Give a record its number, tell the listener, and return its line.
        """
        self.records += 1
        record["seq"] = self.records
        line = _line(record)
        if self._listener is not None:
            self._listener(record)
        return line

    def _sort(self) -> None:
        records = read_records(self._file)
        records.sort(
            key=lambda record: (record["time_us"], _HOST_ORDER[record["host"]])
        )
        sorted_file = self._file.with_suffix(".sorting")
        with sorted_file.open("wb") as stream:
            for seq, record in enumerate(records, start=1):
                stream.write(_line(record | {"seq": seq}))
        sorted_file.replace(self._file)


def read_records(file: Path) -> list[Record]:
    """
    Return the records of an event log; a half-written last line is left out.
    """
    with file.open("rb") as stream:
        return [orjson.loads(line) for line in stream if line.endswith(b"\n")]


def _line(record: Record) -> bytes:
    return orjson.dumps(
        record,
        option=orjson.OPT_SORT_KEYS | orjson.OPT_APPEND_NEWLINE,
        # The processes write their own files the same way.
        default=str,
    )
