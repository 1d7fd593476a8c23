"""
Server-sent events: bytes in, events out, no I/O.

The rules are those of the WHATWG specification: lines end with LF, CR or CRLF, a
byte order mark at the start is skipped, comments and unknown fields are ignored,
the data lines of an event are joined by line feeds, an event without data is none,
and what stands behind the last blank line is dropped.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from harness.errors import UpstreamProtocolError
from harness.upstream.model import Breakage

EVENT_BYTES_MAX = 1024 * 1024
"""A longer event ends the stream: one chunk of a chat has a few hundred bytes."""

_BYTE_ORDER_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class SseEvent:
    """
    One event of a stream.
    """

    data: str
    event: str = "message"
    id: str = ""
    """The last id the stream gave, which need not be in this event."""


class SseParser:
    """
    Turns the bytes of one stream into events, however they are cut.

    Args:
        event_bytes_max: An event of more bytes is refused.
    """

    def __init__(self, *, event_bytes_max: int = EVENT_BYTES_MAX) -> None:
        self._event_bytes_max = event_bytes_max
        self._line: list[bytes] = []
        self._line_bytes = 0
        self._event_bytes = 0
        self._at_start = True
        self._after_carriage_return = False
        self._data: list[str] = []
        self._event = ""
        self._id = ""

    def feed(self, fragment: bytes) -> Iterator[SseEvent]:
        """
        Take bytes and yield the events that they complete.

        The bytes are taken by iterating to the end.

        Raises:
            UpstreamProtocolError: An event is too large or no UTF-8.
        """
        if not fragment:
            return
        if self._after_carriage_return:
            # That line has ended already; the line feed belongs to its end.
            fragment = fragment.removeprefix(b"\n")
        self._after_carriage_return = fragment.endswith(b"\r")
        for piece in fragment.splitlines(keepends=True):
            content = piece.rstrip(b"\r\n")
            self._line.append(content)
            self._line_bytes += len(content)
            if self._event_bytes + self._line_bytes > self._event_bytes_max:
                raise UpstreamProtocolError(
                    reason=Breakage.TOO_LARGE,
                    detail=f"an event has more than {self._event_bytes_max} bytes",
                )
            if len(content) < len(piece):
                event = self._end_line()
                if event is not None:
                    yield event

    def _end_line(self) -> SseEvent | None:
        line = b"".join(self._line)
        self._line.clear()
        self._line_bytes = 0
        if self._at_start:
            self._at_start = False
            line = line.removeprefix(_BYTE_ORDER_MARK)
        if not line:
            return self._dispatch()
        if line.startswith(b":"):
            # Keep-alive comments may come for hours without a blank line.
            return None
        self._event_bytes += len(line)
        try:
            name, _, value = line.decode().partition(":")
        except UnicodeDecodeError as error:
            raise UpstreamProtocolError(
                reason=Breakage.INVALID_UTF8, detail="in an event of a stream"
            ) from error
        self._take_field(name, value.removeprefix(" "))
        return None

    def _take_field(self, name: str, value: str) -> None:
        match name:
            case "data":
                self._data.append(value)
            case "event":
                self._event = value
            case "id" if "\0" not in value:
                self._id = value
            case _:
                pass

    def _dispatch(self) -> SseEvent | None:
        event = None
        if self._data:
            event = SseEvent("\n".join(self._data), self._event or "message", self._id)
        self._data.clear()
        self._event = ""
        self._event_bytes = 0
        return event
