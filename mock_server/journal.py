"""
What came in and went out, bounded.

API keys are never written down: headers that carry secrets are left out, and the key
of a request is blotted out wherever else it stands.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from mock_server.blotting import blotted, blotted_value
from mock_server.limits import Limits
from mock_server.surfaces.ports import Answer, CallKeys, Facts, SurfaceRequest

_SECRET_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "api-key", "x-api-key", "cookie"}
)


_SHOWN = (
    "number",
    "request_id",
    "surface",
    "world",
    "method",
    "path",
    "trace_id",
    "at_us",
    "request_headers",
    "request_body",
    "request_bytes",
    "conversation",
    "turn",
    "attempt_number",
    "ambiguous",
    "facts",
    "status",
    "outcome",
    "faults",
    "planned_us",
    "actual_us",
    "depends_on",
    "answer_body",
    "answer_bytes",
)


class Entry(Struct, eq=False):
    """
    One request and what came of it.

    Kept as it came, and made readable when somebody reads: most are never read. The
    key of the request is kept only to be blotted out.
    """

    number: int
    """Counts the entries of the mock from 1."""

    asked: SurfaceRequest
    """Its body cut off where a journal ends."""

    keys: CallKeys
    received: Facts
    rule: int | None
    script_error: str | None
    surface: str
    world: str
    request_bytes: int
    answer: bytes | bytearray = b""
    status: int | None = None
    outcome: str | None = None
    """None while it is being answered."""

    faults: Sequence[dict[str, Any]] = ()
    depends_on: tuple[str, ...] = ()
    """What besides the seed decided the delay: such a run cannot be repeated."""

    planned_us: int | None = None
    actual_us: int | None = None
    answer_bytes: int = 0

    @property
    def request_id(self) -> str:
        """
        ``req_`` and 32 hex digits.
        """
        return self.asked.request_id

    @property
    def method(self) -> str:
        """
        Of the request.
        """
        return self.asked.method

    @property
    def path(self) -> str:
        """
        Of the request, without its key.
        """
        return self._blotted(self.asked.path)

    @property
    def trace_id(self) -> str | None:
        """
        Of the request, if it had one.
        """
        return self.asked.trace_id

    @property
    def at_us(self) -> int:
        """
        When it came in, by the clock's monotonic microseconds.
        """
        return int(self.asked.received_s * 1e6)

    @property
    def request_headers(self) -> dict[str, str]:
        """
        Those that hold no secret, in lower case.
        """
        return {
            name.lower(): self._blotted(value)
            for name, value in self.asked.headers.items()
            if name.lower() not in _SECRET_HEADERS
        }

    @property
    def request_body(self) -> str:
        """
        The first bytes of the body, as text.
        """
        return self._blotted(self.asked.body.decode("utf-8", "replace"))

    @property
    def conversation(self) -> str:
        """
        Of the request, without its key.
        """
        return self._blotted(self.keys.conversation)

    @property
    def turn(self) -> int:
        """
        Of the conversation.
        """
        return self.keys.turn

    @property
    def attempt_number(self) -> int:
        """
        Of the call, from 1.
        """
        return self.keys.attempt_number

    @property
    def ambiguous(self) -> bool:
        """
        Whether it cannot be told apart from another conversation's request.
        """
        return self.keys.ambiguous

    @property
    def facts(self) -> dict[str, Any]:
        """
        What else the surface said of it.
        """
        facts = dict(self.received)
        if self.rule is not None:
            facts["rule"] = self.rule
        if self.script_error is not None:
            facts["script_error"] = self.script_error
        return {
            name: blotted_value(value, self.asked.api_key)
            for name, value in facts.items()
        }

    @property
    def answer_body(self) -> str:
        """
        The first bytes of the answer, as text.
        """
        return self._blotted(self.answer.decode("utf-8", "replace"))

    def describe(self) -> dict[str, Any]:
        """
        Return it as the control API shows it.
        """
        return {name: getattr(self, name) for name in _SHOWN}

    @property
    def kept_bytes(self) -> int:
        """
        What its bodies take.
        """
        return len(self.asked.body) + len(self.answer)

    def _blotted(self, text: str) -> str:
        return blotted(text, self.asked.api_key)


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
        received = answer.received
        entry = Entry(
            next(budget.numbers),
            request,
            answer.keys,
            # What makes them when they are asked for would keep the whole request.
            received if type(received) is dict else dict(received),
            answer.rule,
            answer.script_error,
            surface,
            world,
            length,
        )
        if len(self._entries) >= limits.journal_entries_max:
            self._drop_oldest()
        budget.kept_bytes += kept
        if budget.kept_bytes > limits.journal_bytes_max:
            self._make_room()
        self._entries.append(entry)
        return entry

    def close(self, entry: Entry, *, answer: bytes | bytearray) -> None:
        """
        Add what was sent.
        """
        if not self._entries or self._entries[0].number > entry.number:
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
        self._budget.kept_bytes -= sum(entry.kept_bytes for entry in self._entries)
        self._entries.clear()

    def _make_room(self) -> None:
        budget = self._budget
        while self._entries and budget.kept_bytes > budget.limits.journal_bytes_max:
            self._drop_oldest()

    def _drop_oldest(self) -> None:
        self._budget.kept_bytes -= self._entries.popleft().kept_bytes
        self._budget.dropped += 1
