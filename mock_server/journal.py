"""
What came in and went out, bounded.

API keys are never written down: headers that carry secrets are left out, and the key
of a request is blotted out wherever else it stands.
"""

from collections import deque
from collections.abc import Iterator
from itertools import count

from msgspec.structs import replace

from mock_server.entries import Entry, Told
from mock_server.limits import Limits
from mock_server.packed import (
    PackedEntry,
    kept_bytes_of,
    number_of,
    pack,
)
from mock_server.surfaces.ports import Answer, SurfaceRequest, made


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

    Args:
        budget: What it shares with all others.
        world: Whose it is.
    """

    def __init__(self, budget: JournalBudget, world: str) -> None:
        self._budget = budget
        self._world = world
        self._entries: deque[Entry | bytes] = deque()
        """As objects, or packed."""

    def __len__(self) -> int:
        return len(self._entries)

    def __iter__(self) -> Iterator[Told]:
        for entry in self._entries:
            if isinstance(entry, bytes):
                yield PackedEntry(entry, self._world)
            else:
                yield entry

    def open(
        self, request: SurfaceRequest, answer: Answer, surface: str, world: str
    ) -> Entry:
        """
        Write down a request, and what a surface made of it.

        How it ended is filled in as it becomes known.
        """
        budget = self._budget
        limits = budget.limits
        length = kept = len(request.body)
        if length > limits.journal_body_bytes_max:
            kept = limits.journal_body_bytes_max
            request = replace(request, body=request.body[:kept])
        entry = Entry(
            next(budget.numbers),
            request,
            answer.keys,
            # What makes them when they are asked for would keep the whole request.
            made(answer.received),
            answer.rule,
            answer.script_error,
            surface,
            world,
            length,
        )
        self._keep(entry, kept)
        return entry

    def note(
        self,
        request: SurfaceRequest,
        answer: Answer,
        surface: str,
        data: bytes | None,
        sent: bytes,
        elapsed_s: float,
    ) -> None:
        """
        Write down a request that was answered with 200 at once.

        Args:
            request: What was asked.
            answer: What was decided.
            surface: Which surface did.
            data: The bytes that came in, if they are this request and nothing else.
            sent: The body of the answer.
            elapsed_s: How long it took.
        """
        budget = self._budget
        kept_max = budget.limits.journal_body_bytes_max
        if data is not None and len(request.body) <= kept_max and len(sent) <= kept_max:
            number = next(budget.numbers)
            packed = pack(number, data, request, answer, sent, elapsed_s)
            self._keep(packed, len(request.body) + len(sent))
            return
        entry = self.open(request, answer, surface, self._world)
        entry.status = 200
        entry.outcome = "complete"
        entry.planned_us = 0
        entry.actual_us = int(elapsed_s * 1e6)
        entry.answer_bytes = len(sent)
        self.close(entry, answer=sent[:kept_max])

    def close(self, entry: Entry, *, answer: bytes | bytearray) -> None:
        """
        Add what was sent.
        """
        if not self._entries or _number_of(self._entries[0]) > entry.number:
            # It was dropped while it was being answered.
            return
        entry.answer = answer
        budget = self._budget
        budget.kept_bytes += len(answer)
        if budget.kept_bytes > budget.limits.journal_bytes_max:
            self._make_room()

    def clear(self) -> None:
        """
        Forget all entries.
        """
        self._budget.kept_bytes -= sum(map(_kept_bytes_of, self._entries))
        self._entries.clear()

    def _keep(self, entry: Entry | bytes, kept_bytes: int) -> None:
        budget = self._budget
        limits = budget.limits
        if len(self._entries) >= limits.journal_entries_max:
            self._drop_oldest()
        budget.kept_bytes += kept_bytes
        if budget.kept_bytes > limits.journal_bytes_max:
            self._make_room()
        self._entries.append(entry)

    def _make_room(self) -> None:
        budget = self._budget
        while self._entries and budget.kept_bytes > budget.limits.journal_bytes_max:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self._budget.kept_bytes -= _kept_bytes_of(self._entries.popleft())
        self._budget.dropped += 1


def _number_of(entry: Entry | bytes) -> int:
    return number_of(entry) if isinstance(entry, bytes) else entry.number


def _kept_bytes_of(entry: Entry | bytes) -> int:
    return kept_bytes_of(entry) if isinstance(entry, bytes) else entry.kept_bytes
