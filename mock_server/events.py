"""
What happened, as records.

Every record goes to the log file first, whole, in one write: what was written is
there even if the process is killed the moment after. Readers of the stream listen
through bounded queues that count what they drop.
"""

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mock_server.clock import Clock
from mock_server.encoding import to_json_bytes
from mock_server.limits import Limits

HOST = "mock"
Record = Mapping[str, Any]


class TooManySubscribersError(Exception):
    """
    The event stream has as many readers as it may have.
    """


class Subscription:
    """
    A bounded queue of records.
    """

    def __init__(self, events_max: int) -> None:
        self._events_max = events_max
        self._records: deque[Record] = deque()
        self._is_ready = asyncio.Event()
        self._is_closed = False
        self.dropped = 0

    def put_nowait(self, record: Record) -> None:
        """
        Queue a record, or count it as dropped.
        """
        if len(self._records) >= self._events_max:
            self.dropped += 1
            return
        self._records.append(record)
        self._is_ready.set()

    def close(self) -> None:
        """
        Let the reader end once it has read what is queued.
        """
        self._is_closed = True
        self._is_ready.set()

    async def __aiter__(self) -> AsyncIterator[Record]:
        while True:
            while self._records:
                yield self._records.popleft()
            if self._is_closed:
                return
            self._is_ready.clear()
            await self._is_ready.wait()


class Events:
    """
    Publishes records to the log file, to callables and to subscriptions.

    Args:
        clock: Stamps the records.
        limits: How many readers, and how much waits for each.
        log_file: Appended to; None for no log.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        limits: Limits | None = None,
        log_file: Path | None = None,
    ) -> None:
        self._clock = clock
        self._limits = limits or Limits()
        self._file: int | None = None
        if log_file is not None:
            flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
            self._file = os.open(log_file, flags, 0o644)
        self._callables: list[Callable[[Record], None]] = []
        self._subscriptions: list[Subscription] = []
        self._dropped_before = 0
        self.published = 0
        self.is_heard = log_file is not None
        """Whether anybody wants to know: else a record need not be made."""

    @property
    def dropped(self) -> int:
        """
        Records that slow readers did not get.
        """
        return self._dropped_before + sum(s.dropped for s in self._subscriptions)

    @property
    def subscribers(self) -> int:
        """
        Readers of the stream.
        """
        return len(self._subscriptions)

    def pass_over(self, records: int = 1) -> None:
        """
        Count records that nobody wants to know.
        """
        self.published += records

    def publish(self, kind: str, *, trace_id: str | None = None, **fields: Any) -> None:
        """
        Write a record down and pass it on.
        """
        record = {
            **fields,
            "at_us": int(self._clock.monotonic() * 1e6),
            "host": HOST,
            "kind": kind,
            "trace_id": trace_id,
        }
        self.published += 1
        if self._file is not None:
            _write_all(self._file, encode_record(record) + b"\n")
        for listener in self._callables:
            listener(record)
        for subscription in self._subscriptions:
            subscription.put_nowait(record)

    def listen(self, listener: Callable[[Record], None]) -> None:
        """
        Call ``listener`` with every record from here on, synchronously.
        """
        self._callables.append(listener)
        self.is_heard = True

    @contextmanager
    def subscribed(self) -> Iterator[Subscription]:
        """
        Queue every record while the context lasts.

        Raises:
            TooManySubscribersError: There are too many readers.
        """
        if len(self._subscriptions) >= self._limits.subscribers_max:
            raise TooManySubscribersError
        subscription = Subscription(self._limits.subscriber_events_max)
        self._subscriptions.append(subscription)
        self.is_heard = True
        try:
            yield subscription
        finally:
            self._subscriptions.remove(subscription)
            self.is_heard = self._is_wanted()
            self._dropped_before += subscription.dropped

    def end_subscriptions(self) -> None:
        """
        Let all readers end.
        """
        for subscription in self._subscriptions:
            subscription.close()

    def close(self) -> None:
        """
        End the readers and close the log.
        """
        self.end_subscriptions()
        if self._file is not None:
            os.close(self._file)
            self._file = None
            self.is_heard = self._is_wanted()

    def _is_wanted(self) -> bool:
        return bool(self._file is not None or self._callables or self._subscriptions)


def encode_record(record: Record) -> bytes:
    """
    Return a record as one line of JSON with sorted keys.
    """
    return to_json_bytes(record, sort_keys=True)


def _write_all(file: int, data: bytes) -> None:
    written = os.write(file, data)
    while written < len(data):
        written += os.write(file, data[written:])
