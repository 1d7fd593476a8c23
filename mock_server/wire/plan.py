"""
An answer as a plan: bytes and waits, before anything touches a socket.

A surface encodes its reply as a plan, faults change the plan, and the exchange
writes it. Each step says only what happens; how long a paced chunk waits is sampled
by the exchange, so that a plan is the same for every latency.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum


class Pace(StrEnum):
    """
    Which latency comes before a chunk.
    """

    NONE = "none"
    FIRST_TOKEN = "first_token"  # noqa: S105 - a text token, not a secret
    TOKEN = "token"  # noqa: S105 - a text token, not a secret
    ARGUMENT = "argument"
    """A piece of a tool call's arguments, which a model may write at another speed."""


class Part(StrEnum):
    """
    What a chunk is within its answer, so that a fault can find it.
    """

    BODY = "body"
    """All or a piece of a plain body."""

    START = "start"
    """The first event of a stream: the role, and the call if there is only one."""

    DELTA = "delta"
    """A piece of text, of arguments or of a refusal; or the start of a further call."""

    FRAME = "frame"
    """An event around the output: an item, or a part of one, begins or is done."""

    FINISH = "finish"
    """The event that carries the finish reason."""

    USAGE = "usage"
    DONE = "done"
    """The end marker of a stream."""


@dataclass(slots=True)
class Head:
    """
    The status line and the headers.

    Nobody changes it; but a frozen one takes three times as long to make.

    Without a ``content-length`` among the headers the body is sent chunked.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)
class Chunk:
    """
    Bytes that leave together; in a stream exactly one event.

    Nobody changes it; but a frozen one takes three times as long to make.
    """

    data: bytes
    pace: Pace = Pace.NONE
    part: Part = Part.BODY


@dataclass(frozen=True, slots=True)
class Wait:
    """
    Nothing is sent for so long.
    """

    delay_s: float


@dataclass(frozen=True, slots=True)
class Repeat:
    """
    The same bytes are sent again and again, until the client leaves.
    """

    data: bytes
    interval_s: float
    """The time before each; 0 sends as quickly as the client reads."""


@dataclass(frozen=True, slots=True)
class End:
    """
    The answer is complete; the connection may serve another request.
    """


@dataclass(frozen=True, slots=True)
class EndIf:
    """
    The answer is complete here if, when it has come so far, nobody wants the rest.
    """

    is_over: Callable[[], bool]


@dataclass(frozen=True, slots=True)
class Close:
    """
    The connection is closed (FIN) with the answer unfinished.
    """


@dataclass(frozen=True, slots=True)
class Reset:
    """
    The connection is reset (RST).
    """


@dataclass(frozen=True, slots=True)
class Hang:
    """
    Nothing more is sent, and the connection stays open until the client leaves.
    """


@dataclass(frozen=True, slots=True)
class CutAfter:
    """
    So long after this step the connection is cut, wherever the answer is then.
    """

    delay_s: float
    cut: Close | Reset


Step = Head | Chunk | Wait | Repeat | End | EndIf | Close | Reset | Hang | CutAfter
Plan = tuple[Step, ...]


def is_stream(plan: Plan) -> bool:
    """
    Say whether an answer is a stream of events, whatever was asked for.
    """
    return any(
        step.part is not Part.BODY
        if isinstance(step, Chunk)
        else isinstance(step, Head) and _says_stream(step)
        for step in plan
    )


def _says_stream(head: Head) -> bool:
    return any(
        name.lower() == "content-type" and value.startswith("text/event-stream")
        for name, value in head.headers
    )
