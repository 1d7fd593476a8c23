"""
Faults in how an answer is cut into packets and how quickly it flows.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import ClassVar

from msgspec.structs import replace
from pydantic import Field

from mock_server.faults.events import StreamFault
from mock_server.faults.fault import ANSWERING, Fault, FaultContext, Target
from mock_server.faults.sse import event_places, read_event
from mock_server.units import Duration
from mock_server.wire import Chunk, Pace, Part, Plan, Step, Wait

PIECES_MAX = 20_000
"""An answer that would be cut into more is cut into larger pieces."""

_CONTINUED_FROM = 0x80
_CONTINUED_BELOW = 0xC0


class Drip(Fault):
    """
    Sends so few bytes at a time that nothing ever seems to stop.
    """

    name: ClassVar[str] = "drip"
    targets: ClassVar[frozenset[Target]] = ANSWERING

    piece_bytes: int = Field(default=1, ge=1)
    """How many bytes at a time."""

    interval: Duration = 0.1
    """The time before each piece."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the plan in pieces.
        """
        del context
        size = _size_within_limit(plan, self.piece_bytes)
        return _in_pieces(
            plan, lambda data: _equal(data, size), lambda _: self.interval
        )


class Bandwidth(Fault):
    """
    Lets only so many bytes through in a second.
    """

    name: ClassVar[str] = "bandwidth"
    targets: ClassVar[frozenset[Target]] = ANSWERING

    bytes_per_s: int = Field(default=1000, ge=1)
    """Of the body."""

    piece_bytes: int = Field(default=100, ge=1)
    """How many bytes leave at once."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the plan with a wait before each piece that is as long as the piece.
        """
        del context
        size = _size_within_limit(plan, self.piece_bytes)
        return _in_pieces(
            plan,
            lambda data: _equal(data, size),
            lambda piece: len(piece) / self.bytes_per_s,
        )


class SplitWhere(StrEnum):
    """
    Where an answer is cut.
    """

    BYTES = "bytes"
    """Between all bytes."""

    CHARACTERS = "characters"
    """Inside every character of more than one byte, or in the middle without any."""


class Split(Fault):
    """
    Sends pieces that end where no reader expects it.
    """

    name: ClassVar[str] = "split"
    targets: ClassVar[frozenset[Target]] = ANSWERING

    where: SplitWhere = SplitWhere.BYTES
    """Where the cuts are."""

    gap: Duration = 0.001
    """The time between the pieces, so that each is a packet of its own."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the plan in pieces.
        """
        del context
        cut = _inside_characters
        if self.where is SplitWhere.BYTES:
            size = _size_within_limit(plan, 1)
            return _in_pieces(plan, lambda data: _equal(data, size), lambda _: self.gap)
        return _in_pieces(plan, cut, lambda _: self.gap)


class FramingForm(StrEnum):
    """
    How else the events of a stream may be written; all but one are correct.
    """

    CRLF = "crlf"
    """Lines that end with CR and LF."""

    CR = "cr"
    """Lines that end with CR alone."""

    BOM = "bom"
    """A byte order mark before the first event."""

    COMMENTS = "comments"
    """A comment before every event."""

    NO_SPACE = "no_space"
    """``data:`` without the blank."""

    DATA_LINES = "data_lines"
    """The JSON of each event over several ``data:`` lines."""

    PACKED = "packed"
    """All events in one packet."""

    RETRY_LINES = "retry_lines"
    """A ``retry:`` field in every event."""

    EMPTY_EVENT = "empty_event"
    """An event that has a name and no data, which breaks most clients."""


_BOM = b"\xef\xbb\xbf"


class Framing(StreamFault):
    """
    Writes the events of a stream in another form that the standard allows.
    """

    name: ClassVar[str] = "framing"
    targets: ClassVar[frozenset[Target]] = frozenset({Target.UPSTREAM})
    streams_only: ClassVar[str] = "a plain answer has no events to frame"
    breaks_answer: ClassVar[bool] = False

    form: FramingForm = FramingForm.CRLF
    """How they are written."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the stream in the other form.
        """
        del context
        if self.form is FramingForm.PACKED:
            return _packed(plan)
        is_first = True
        changed: list[Step] = []
        for step in plan:
            if isinstance(step, Chunk):
                changed.append(
                    replace(step, data=_framed(step.data, self.form, is_first))
                )
                is_first = False
            else:
                changed.append(step)
        return tuple(changed)


def _framed(data: bytes, form: FramingForm, is_first: bool) -> bytes:  # noqa: FBT001 - the place in the stream
    if form is FramingForm.DATA_LINES:
        return _over_lines(data)
    before_first = {FramingForm.BOM: _BOM, FramingForm.EMPTY_EVENT: b"event: ping\n\n"}
    if form in before_first:
        return before_first[form] + data if is_first else data
    before_each = {
        FramingForm.COMMENTS: b": a comment\n",
        FramingForm.RETRY_LINES: b"retry: 1000\n",
    }
    if form in before_each:
        return before_each[form] + data
    if form is FramingForm.NO_SPACE:
        return data.replace(b"data: ", b"data:", 1)
    return data.replace(b"\n", b"\r\n" if form is FramingForm.CRLF else b"\r")


def _over_lines(data: bytes) -> bytes:
    event = read_event(data)
    if event is None or event.value is None:
        return data
    # Between two keys a line end is a blank of JSON.
    opened = event.data.replace(b',"', b',\ndata: "', 3)
    return data.replace(event.data, opened)


def _packed(plan: Plan) -> Plan:
    places = event_places(plan)
    if not places:
        return plan
    data = b"".join(step.data for step in plan if isinstance(step, Chunk))
    before = [s for s in plan[: places[0]] if not isinstance(s, Chunk)]
    after = [s for s in plan[places[0] :] if not isinstance(s, Chunk)]
    return (*before, Chunk(data, Pace.FIRST_TOKEN, Part.DELTA), *after)


def _in_pieces(
    plan: Plan,
    cut: Callable[[bytes], Iterator[bytes]],
    delay_s: Callable[[bytes], float],
) -> Plan:
    steps: list[Step] = []
    for step in plan:
        if not isinstance(step, Chunk):
            steps.append(step)
            continue
        pace = step.pace
        for piece in cut(step.data):
            steps.append(Wait(delay_s(piece)))
            steps.append(Chunk(piece, pace, step.part))
            pace = Pace.NONE
    return tuple(steps)


def _size_within_limit(plan: Plan, piece_bytes: int) -> int:
    length = sum(len(step.data) for step in plan if isinstance(step, Chunk))
    return max(piece_bytes, -(-length // PIECES_MAX))


def _equal(data: bytes, size: int) -> Iterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def _inside_characters(data: bytes) -> Iterator[bytes]:
    cuts = [
        place
        for place, byte in enumerate(data)
        if _CONTINUED_FROM <= byte < _CONTINUED_BELOW
    ]
    start = 0
    for place in cuts or [len(data) // 2]:
        if place > start:
            yield data[start:place]
        start = place
    yield data[start:]
