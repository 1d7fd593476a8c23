"""
Where the dashboard reads from.

That is the folder of a run that goes on or is over, or the event stream of a mock or a
service that runs.
"""

import collections
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol
from urllib.parse import urljoin

import aiohttp
import orjson

from harness.clock import Clock
from harness.errors import UsageError

READ_BYTES_MAX = 4 * 1024 * 1024
"""How much of the log is taken at a time, so that painting is never held up."""

STREAMED_RECORDS_MAX: Final = 20_000
"""Records of a stream that wait to be painted; older ones are dropped and counted."""

_LINE_BYTES_MAX: Final = 1024 * 1024
_CONNECT_TIMEOUT_S: Final = 5.0
_RECONNECT_S: Final = 1.0
_NOT_ALLOWED: Final = frozenset({401, 403})
_STREAMS: Final = (
    ("mock", "/_mock/health", "/_mock/events"),
    ("service", "/healthz", "/events"),
)
"""What may listen at an address: who, where it says that it is well, its events."""

Record = Mapping[str, Any]


class Source(Protocol):
    """
    What the dashboard asks of where it reads from.

    Attributes:
        waits_for: Said until there is a manifest.
    """

    waits_for: str

    def manifest(self) -> Mapping[str, Any]:
        """
        Return what is watched; empty while that is not known.
        """

    def summary(self) -> Mapping[str, Any]:
        """
        Return the verdict; empty while there is none.
        """

    def read(self) -> list[Record]:
        """
        Return the records that were added since the last call, a bounded lot.
        """

    async def follow(self) -> None:
        """
        Keep up with what is watched, until cancelled or done.
        """


@dataclass(slots=True)
class RunFolder:
    """
    The files of a run, read as they grow.

    Args:
        path: The folder.
    """

    path: Path
    waits_for: str = "starting the mock and the service …"
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

    async def follow(self) -> None:
        """
        Do nothing: files are read when they are asked for.
        """


@dataclass(slots=True)
class EventStream:
    """
    The events of a mock or a service, as server-sent events.

    Args:
        url: Where it listens.
        who: ``mock`` or ``service``.
        path: Of its events.
        clock: Time.
        token: Shown to it, if it asks for one.

    Attributes:
        dropped: Records that came faster than they were painted.
    """

    url: str
    who: str
    path: str
    clock: Clock
    token: str | None = None
    waits_for: str = "connecting …"
    dropped: int = 0
    _is_connected: bool = False
    _zero_us: int | None = None
    _records: collections.deque[Record] = field(
        default_factory=lambda: collections.deque(maxlen=STREAMED_RECORDS_MAX)
    )

    def manifest(self) -> Mapping[str, Any]:
        """
        Return who is watched; a mock can be steered.
        """
        if not self._is_connected:
            return {}
        steered = {"mock_url": self.url} if self.who == "mock" else {}
        return {"scenario": self.who, "mode": self.url, **steered}

    def summary(self) -> Mapping[str, Any]:
        """
        Return nothing: nobody judges.
        """
        return {}

    def read(self) -> list[Record]:
        """
        Return the records that came since the last call.
        """
        records = list(self._records)
        self._records.clear()
        return records

    async def follow(self) -> None:
        """
        Read the stream, and connect again whenever it ends.
        """
        while True:
            try:
                await self._listen()
            except (aiohttp.ClientError, TimeoutError, ValueError) as error:
                self.waits_for = (
                    f"no events from {self.url}: {str(error) or 'no answer'}"
                )
            else:
                self.waits_for = f"{self.url} has ended its events; connecting again …"
            self._is_connected = False
            await self.clock.sleep(_RECONNECT_S)

    async def _listen(self) -> None:
        timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_TIMEOUT_S)
        async with (
            aiohttp.ClientSession(
                timeout=timeout,
                headers=_authorization(self.token),
                read_bufsize=_LINE_BYTES_MAX,
            ) as session,
            session.get(urljoin(self.url, self.path)) as answer,
        ):
            answer.raise_for_status()
            self._is_connected = True
            async for line in answer.content:
                if line.startswith(b"data:"):
                    self._take(orjson.loads(line[5:]))

    def _take(self, record: dict[str, Any]) -> None:
        at_us = int(record.pop("at_us", 0))
        if record.get("kind") == "scenario_started" and "zero_us" in record:
            self._zero_us = int(record["zero_us"])
        elif self._zero_us is None:
            self._zero_us = at_us
        if len(self._records) == STREAMED_RECORDS_MAX:
            self.dropped += 1
        placed = {"host": self.who, **record, "time_us": at_us - (self._zero_us or 0)}
        self._records.append(placed)


async def find_stream(url: str, *, token: str | None, clock: Clock) -> EventStream:
    """
    Return the event stream of whatever listens at an address.

    Raises:
        UsageError: Neither a mock nor a service listens there, or it wants a token.
    """
    timeout = aiohttp.ClientTimeout(total=_CONNECT_TIMEOUT_S)
    try:
        async with aiohttp.ClientSession(
            timeout=timeout, headers=_authorization(token)
        ) as session:
            for who, health_path, path in _STREAMS:
                async with session.get(urljoin(url, health_path)) as answer:
                    if answer.status in _NOT_ALLOWED:
                        message = f"the {who} at {url} wants its --token"
                        raise UsageError(message)
                    if answer.ok:
                        return EventStream(
                            url=url, who=who, path=path, token=token, clock=clock
                        )
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        message = (
            f"nothing can be watched at {url}: {str(error) or 'it does not answer'}"
        )
        raise UsageError(message) from error
    message = f"neither a mock nor a service of this harness listens at {url}"
    raise UsageError(message)


def _authorization(token: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"} if token else {}


def _read_object(file: Path) -> dict[str, Any]:
    try:
        value = orjson.loads(file.read_bytes())
    except (FileNotFoundError, orjson.JSONDecodeError):
        # Not there yet, or being written at this moment.
        return {}
    return value if isinstance(value, dict) else {}
