"""
The events of a recorded stream, each with the moment at which it was whole.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

Piece = tuple[float, bytes]
"""When it came, and what."""


@dataclass(frozen=True, slots=True)
class TimedEvent:
    """
    The data of one event.
    """

    at_s: float
    data: str


def events_in(pieces: Iterable[Piece]) -> Iterator[TimedEvent]:
    """
    Return the events of a stream that arrived in these pieces.

    Comments and the other fields are passed over; CRLF and several data lines are
    understood.
    """
    left = b""
    data: list[str] = []
    for at_s, piece in pieces:
        left += piece
        *lines, left = left.split(b"\n")
        for line in lines:
            text = line.removesuffix(b"\r").decode("utf-8", "replace")
            if not text:
                if data:
                    yield TimedEvent(at_s, "\n".join(data))
                    data = []
            elif text.startswith("data:"):
                data.append(text.removeprefix("data:").removeprefix(" "))
