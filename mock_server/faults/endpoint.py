"""
Faults of an answer that has no end, or far too much in it; and of a peer that is down.
"""

import zlib
from functools import lru_cache
from typing import ClassVar, Literal

from pydantic import Field

from mock_server.faults.answers import error_plan
from mock_server.faults.fault import (
    ANSWERING,
    Fault,
    FaultContext,
    Target,
    answer_instead,
)
from mock_server.faults.sse import set_header
from mock_server.units import Duration
from mock_server.wire import Close, Head, Plan, Repeat, Reset

_MEBIBYTE = 1024 * 1024


class EndlessBody(Fault):
    """
    Sends the headers and then a body that never ends.
    """

    name: ClassVar[str] = "endless_body"
    targets: ClassVar[frozenset[Target]] = ANSWERING
    breaks_answer: ClassVar[bool] = True

    piece_bytes: int = Field(default=16_384, ge=1, le=_MEBIBYTE)
    """How many bytes at a time."""

    interval: Duration = 0.01
    """The time before each piece."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the head, and bytes for ever.
        """
        del context
        heads = set_header(plan, "content-length", None)
        kept = tuple(step for step in heads if isinstance(step, Head))
        return (*kept, Repeat(b"x" * self.piece_bytes, self.interval))


class GzipBomb(Fault):
    """
    Sends a small body that unpacks to a huge one.
    """

    name: ClassVar[str] = "gzip_bomb"
    targets: ClassVar[frozenset[Target]] = ANSWERING
    breaks_answer: ClassVar[bool] = True

    unpacked_mebibytes: int = Field(default=100, ge=1, le=10_000)
    """How large it is once it is unpacked; about a thousandth of that is sent."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the bomb.
        """
        del context
        return answer_instead(
            plan,
            200,
            _bomb(self.unpacked_mebibytes),
            content_type="application/json",
            headers=(("content-encoding", "gzip"),),
        )


@lru_cache(maxsize=4)
def _bomb(mebibytes: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    blanks = b" " * _MEBIBYTE
    pieces = [packer.compress(blanks) for _ in range(mebibytes)]
    return b"".join((*pieces, packer.flush()))


class DownFor(Fault):
    """
    Is down for a while, from the first request on that meets it.
    """

    name: ClassVar[str] = "down_for"
    targets: ClassVar[frozenset[Target]] = ANSWERING
    prevents_effect: ClassVar[bool] = True
    breaks_answer: ClassVar[bool] = True

    duration: Duration = Field(default=30.0, gt=0)
    """How long; each world has its own."""

    how: Literal["status", "close", "reset"] = "status"
    """503, or the end of the connection."""

    @property
    def lasts_s(self) -> float:
        """
        The duration.
        """
        return self.duration

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return what a peer says that is down.
        """
        if self.how == "status":
            return error_plan(plan, context, 503)
        return (Close() if self.how == "close" else Reset(),)
