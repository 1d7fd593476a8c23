"""
What came in and went out, bounded.

API keys are never written down: headers that carry secrets are left out, and the key
of a request is blotted out wherever else it stands.
"""

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from mock_server.blotting import blotted
from mock_server.limits import Limits
from mock_server.surfaces.ports import SurfaceRequest

_SECRET_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "api-key", "x-api-key", "cookie"}
)


@dataclass(slots=True, kw_only=True)
class Entry:
    """
    One request and what came of it.
    """

    number: int
    """Counts the entries of the mock from 1."""

    request_id: str
    surface: str
    world: str
    method: str
    path: str
    trace_id: str | None
    at_us: int
    request_headers: dict[str, str]
    request_body: str
    request_bytes: int
    conversation: str | None = None
    turn: int | None = None
    attempt_number: int | None = None
    ambiguous: bool = False
    facts: dict[str, Any] = field(default_factory=dict)
    status: int | None = None
    outcome: str | None = None
    """None while it is being answered."""

    faults: list[dict[str, Any]] = field(default_factory=list)
    planned_us: int | None = None
    actual_us: int | None = None
    answer_body: str = ""
    answer_bytes: int = 0

    def describe(self) -> dict[str, Any]:
        """
        Return it as the control API shows it.
        """
        return {name: getattr(self, name) for name in self.__slots__}

    @property
    def kept_bytes(self) -> int:
        """
        What its bodies take.
        """
        return len(self.request_body) + len(self.answer_body)


class JournalBudget:
    """
    What all journals of a mock share.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.kept_bytes = 0
        self.dropped = 0
        self.numbers = count(1)


class Journal:
    """
    The entries of one world, the oldest first.
    """

    def __init__(self, budget: JournalBudget) -> None:
        self._budget = budget
        self._entries: deque[Entry] = deque()

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def open(
        self, request: SurfaceRequest, *, surface: str, world: str, at_us: int
    ) -> Entry:
        """
        Write a request down; the rest is filled in as it becomes known.
        """
        limits = self._budget.limits
        text = request.body[: limits.journal_body_bytes_max].decode("utf-8", "replace")
        entry = Entry(
            number=next(self._budget.numbers),
            request_id=request.request_id,
            surface=surface,
            world=world,
            method=request.method,
            path=blotted(request.path, request.api_key),
            trace_id=request.trace_id,
            at_us=at_us,
            request_headers=_kept_headers(request.headers, request.api_key),
            request_body=blotted(text, request.api_key),
            request_bytes=len(request.body),
        )
        if len(self._entries) >= limits.journal_entries_max:
            self._drop_oldest()
        self._make_room(entry.kept_bytes)
        self._entries.append(entry)
        self._budget.kept_bytes += entry.kept_bytes
        return entry

    def close(self, entry: Entry, *, answer: bytes, api_key: str | None) -> None:
        """
        Add what was sent.
        """
        entry.answer_bytes = len(answer)
        text = answer[: self._budget.limits.journal_body_bytes_max]
        if not self._entries or self._entries[0].number > entry.number:
            # It was dropped while it was being answered.
            return
        body = blotted(text.decode("utf-8", "replace"), api_key)
        entry.answer_body = body
        self._budget.kept_bytes += len(body)
        self._make_room(0)

    def clear(self) -> None:
        """
        Forget all entries.
        """
        self._budget.kept_bytes -= sum(entry.kept_bytes for entry in self._entries)
        self._entries.clear()

    def _make_room(self, needed_bytes: int) -> None:
        bytes_max = self._budget.limits.journal_bytes_max
        while self._entries and self._budget.kept_bytes + needed_bytes > bytes_max:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self._budget.kept_bytes -= self._entries.popleft().kept_bytes
        self._budget.dropped += 1


def _kept_headers(headers: Mapping[str, str], api_key: str | None) -> dict[str, str]:
    return {
        name.lower(): blotted(value, api_key)
        for name, value in headers.items()
        if name.lower() not in _SECRET_HEADERS
    }
