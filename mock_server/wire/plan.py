"""
An answer as a plan: bytes and waits, before anything touches a socket.

A surface encodes its reply as a plan, faults change the plan, and the exchange
writes it. Each step says only what happens; how long a paced chunk waits is sampled
by the exchange, so that a plan is the same for every latency.

Steps are structs: one takes a fifth of the time that a dataclass takes to be made.
"""

from collections.abc import Callable
from enum import StrEnum

from msgspec import Struct


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


class Head(Struct, frozen=True):
    """
    The status line and the headers.

    Without a ``content-length`` among the headers the body is sent chunked.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = ()


class Chunk(Struct, frozen=True, gc=False):
    """
    Bytes that leave together; in a stream exactly one event.

    Nobody changes it; but a frozen one takes three times as long to make.
    """

    data: bytes
    pace: Pace = Pace.NONE
    part: Part = Part.BODY


class Wait(Struct, frozen=True):
    """
    Nothing is sent for so long.
    """

    delay_s: float


class Repeat(Struct, frozen=True):
    """
    The same bytes are sent again and again, until the client leaves.
    """

    data: bytes
    interval_s: float
    """The time before each; 0 sends as quickly as the client reads."""


class End(Struct, frozen=True):
    """
    The answer is complete; the connection may serve another request.
    """


class EndIf(Struct, frozen=True):
    """
    The answer is complete here if, when it has come so far, nobody wants the rest.
    """

    is_over: Callable[[], bool]


class Close(Struct, frozen=True):
    """
    The connection is closed (FIN) with the answer unfinished.
    """


class Reset(Struct, frozen=True):
    """
    The connection is reset (RST).
    """


class Hang(Struct, frozen=True):
    """
    Nothing more is sent, and the connection stays open until the client leaves.
    """


class CutAfter(Struct, frozen=True):
    """
    So long after this step the connection is cut, wherever the answer is then.
    """

    delay_s: float
    cut: Close | Reset


class Whole(Struct, gc=False):
    """
    An answer of status 200 that leaves at once, in the form in which it leaves.

    It stands for a plan of a head, one chunk and an end, which take as long to be made
    as all else that is done for an answer together.
    """

    head: str
    """The lines of the headers that are known before the moment it leaves."""

    body: bytes


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
