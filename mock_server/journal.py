"""
What came in and went out, bounded.

API keys are never written down: headers that carry secrets are left out, and the key
of a request is blotted out wherever else it stands.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from itertools import count
from typing import Any

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
_NO_FAULTS: tuple[dict[str, Any], ...] = ()


class Entry:
    """
    One request and what came of it.

    Kept as it came, and made readable when somebody reads: most are never read. The
    key of the request is kept only to be blotted out.
    """

    __slots__ = (
        "_answer",
        "_asked",
        "_facts",
        "_kept",
        "_keys",
        "_rule",
        "_script_error",
        "actual_us",
        "answer_bytes",
        "at_us",
        "depends_on",
        "faults",
        "number",
        "outcome",
        "planned_us",
        "request_bytes",
        "status",
        "surface",
        "world",
    )

    def __init__(
        self,
        number: int,
        asked: SurfaceRequest,
        surface: str,
        world: str,
        at_us: int,
        body_max: int,
    ) -> None:
        self.number = number
        """Counts the entries of the mock from 1."""

        self.request_bytes = len(asked.body)
        if self.request_bytes > body_max:
            asked = replace(asked, body=asked.body[:body_max])
        self._asked = asked
        self._kept = len(asked.body)
        self._answer: bytes | bytearray = b""
        self._keys: CallKeys | None = None
        self._facts: Facts = {}
        self._rule: int | None = None
        self._script_error: str | None = None
        self.surface = surface
        self.world = world
        self.at_us = at_us
        self.status: int | None = None
        self.outcome: str | None = None
        """None while it is being answered."""

        self.faults: Sequence[dict[str, Any]] = _NO_FAULTS
        self.depends_on: tuple[str, ...] = ()
        """What besides the seed decided the delay: such a run cannot be repeated."""

        self.planned_us: int | None = None
        self.actual_us: int | None = None
        self.answer_bytes = 0

    def note(self, answer: Answer) -> None:
        """
        Add what the surface made of the request.
        """
        self._keys = answer.keys
        self._facts = answer.received
        self._rule = answer.rule
        self._script_error = answer.script_error

    def add_answer(self, answer: bytes | bytearray) -> None:
        """
        Add what was sent.
        """
        self._answer = answer
        self._kept += len(answer)

    @property
    def request_id(self) -> str:
        """
        ``req_`` and 32 hex digits.
        """
        return self._asked.request_id

    @property
    def method(self) -> str:
        """
        Of the request.
        """
        return self._asked.method

    @property
    def path(self) -> str:
        """
        Of the request, without its key.
        """
        return self._blotted(self._asked.path)

    @property
    def trace_id(self) -> str | None:
        """
        Of the request, if it had one.
        """
        return self._asked.trace_id

    @property
    def request_headers(self) -> dict[str, str]:
        """
        Those that hold no secret, in lower case.
        """
        return {
            name.lower(): self._blotted(value)
            for name, value in self._asked.headers.items()
            if name.lower() not in _SECRET_HEADERS
        }

    @property
    def request_body(self) -> str:
        """
        The first bytes of the body, as text.
        """
        return self._blotted(self._asked.body.decode("utf-8", "replace"))

    @property
    def conversation(self) -> str | None:
        """
        Of the request, once a surface has said which.
        """
        return None if self._keys is None else self._blotted(self._keys.conversation)

    @property
    def turn(self) -> int | None:
        """
        Of the conversation.
        """
        return None if self._keys is None else self._keys.turn

    @property
    def attempt_number(self) -> int | None:
        """
        Of the call, from 1.
        """
        return None if self._keys is None else self._keys.attempt_number

    @property
    def ambiguous(self) -> bool:
        """
        Whether it cannot be told apart from another conversation's request.
        """
        return self._keys is not None and self._keys.ambiguous

    @property
    def facts(self) -> dict[str, Any]:
        """
        What else the surface said of it.
        """
        facts = dict(self._facts)
        if self._rule is not None:
            facts["rule"] = self._rule
        if self._script_error is not None:
            facts["script_error"] = self._script_error
        return {
            name: blotted_value(value, self._asked.api_key)
            for name, value in facts.items()
        }

    @property
    def answer_body(self) -> str:
        """
        The first bytes of the answer, as text.
        """
        return self._blotted(self._answer.decode("utf-8", "replace"))

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
        return self._kept

    def _blotted(self, text: str) -> str:
        return blotted(text, self._asked.api_key)


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
        entry = Entry(
            next(self._budget.numbers),
            request,
            surface,
            world,
            at_us,
            limits.journal_body_bytes_max,
        )
        if len(self._entries) >= limits.journal_entries_max:
            self._drop_oldest()
        self._make_room(entry.kept_bytes)
        self._entries.append(entry)
        self._budget.kept_bytes += entry.kept_bytes
        return entry

    def close(self, entry: Entry, *, answer: bytes | bytearray) -> None:
        """
        Add what was sent.
        """
        if not self._entries or self._entries[0].number > entry.number:
            # It was dropped while it was being answered.
            return
        entry.add_answer(answer)
        self._budget.kept_bytes += len(answer)
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
