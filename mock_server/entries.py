"""
What a journal keeps of a request, and how it is shown.
"""

from collections.abc import Sequence
from typing import Any

from msgspec import Struct

from mock_server.blotting import blotted, blotted_value
from mock_server.surfaces.ports import CallKeys, Facts, SurfaceRequest

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


class Told:
    """
    What is shown of a request and of what came of it.

    It is made readable when somebody reads it: most are never read. The key of the
    request is kept only to be blotted out.
    """

    __slots__ = ()

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
    answer: bytes | bytearray
    status: int | None
    outcome: str | None
    """None while it is being answered."""

    faults: Sequence[dict[str, Any]]
    depends_on: tuple[str, ...]
    """What besides the seed decided the delay: such a run cannot be repeated."""

    planned_us: int | None
    actual_us: int | None
    answer_bytes: int

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


class Entry(Struct, Told, eq=False):
    """
    One request as it came, and what came of it as it becomes known.
    """

    number: int
    asked: SurfaceRequest
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
    faults: Sequence[dict[str, Any]] = ()
    depends_on: tuple[str, ...] = ()
    planned_us: int | None = None
    actual_us: int | None = None
    answer_bytes: int = 0
