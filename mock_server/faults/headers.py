"""
Faults in the headers, and in what they say of the body.
"""

import gzip
import zlib
from enum import StrEnum
from typing import ClassVar, Literal

from pydantic import Field

from mock_server.faults.emission import Emission
from mock_server.faults.fault import (
    ANSWERING,
    Fault,
    FaultContext,
    Target,
)
from mock_server.faults.sse import body_of, set_header, with_headers
from mock_server.wire import Chunk, Close, End, Plan, Step


class WrongContentType(Fault):
    """
    Calls the body something that it is not.
    """

    name: ClassVar[str] = "wrong_content_type"
    targets: ClassVar[frozenset[Target]] = ANSWERING | {Target.WEBHOOK_EMITTER}

    content_type: str = "text/plain"
    """What the header says; the body stays as it is."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the answer under the other name.
        """
        del context
        return set_header(plan, "content-type", self.content_type)

    def on_emission(
        self, emissions: tuple[Emission, ...], context: FaultContext
    ) -> tuple[Emission, ...]:
        """
        Return the emissions under the other name.
        """
        del context
        return tuple(e.replaced(content_type=self.content_type) for e in emissions)


class ContentLength(Fault):
    """
    Announces more bytes than come, or fewer.
    """

    name: ClassVar[str] = "content_length"
    targets: ClassVar[frozenset[Target]] = ANSWERING
    breaks_answer: ClassVar[bool] = True

    form: Literal["too_long", "too_short"] = "too_long"
    """``too_long``: the connection is closed while bytes are still expected."""

    off_by: int = Field(default=10, ge=1)
    """How many bytes the header is wrong by, at most all of them."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the answer under the wrong length, a stream no longer chunked.
        """
        del context
        length = len(body_of(plan))
        wrong = length + self.off_by
        if self.form == "too_short":
            wrong = max(0, length - self.off_by)
        changed = set_header(plan, "content-length", str(wrong))
        # Whatever is left over must not be taken for the next answer.
        return tuple(Close() if isinstance(step, End) else step for step in changed)


class GzipForm(StrEnum):
    """
    What is wrong with a compressed body.
    """

    NOT_GZIP = "not_gzip"
    """The body is sent as it is."""

    TRUNCATED = "truncated"
    """The last half is missing."""

    BAD_CHECKSUM = "bad_checksum"
    """All of it comes, and the checksum does not fit."""


_TRAILER_BYTES = 8


class BadGzip(Fault):
    """
    Says ``content-encoding: gzip`` over a body that cannot be unpacked.
    """

    name: ClassVar[str] = "bad_gzip"
    targets: ClassVar[frozenset[Target]] = ANSWERING
    breaks_answer: ClassVar[bool] = True
    plain: ClassVar[str] = "a stream is compressed event by event"

    form: GzipForm = GzipForm.NOT_GZIP
    """What is wrong with it."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the answer with the header, and with what belongs to it.
        """
        changed = set_header(plan, "content-encoding", "gzip")
        if self.form is GzipForm.NOT_GZIP:
            return changed
        if not context.stream:
            packed = gzip.compress(body_of(plan), mtime=0)
            body = (
                packed[: len(packed) // 2]
                if self.form is GzipForm.TRUNCATED
                else _spoiled(packed)
            )
            chunk = next((s for s in plan if isinstance(s, Chunk)), Chunk(b""))
            heads = set_header(changed, "content-length", str(len(body)))
            kept = [step for step in heads if not isinstance(step, Chunk | End)]
            return (*kept, Chunk(body, chunk.pace, chunk.part), End())
        return self._stream(changed)

    def _stream(self, plan: Plan) -> Plan:
        packer = zlib.compressobj(wbits=31)
        steps: list[Step] = []
        for step in plan:
            if isinstance(step, Chunk):
                data = packer.compress(step.data) + packer.flush(zlib.Z_SYNC_FLUSH)
                steps.append(Chunk(data, step.pace, step.part))
            elif isinstance(step, End):
                if self.form is GzipForm.BAD_CHECKSUM:
                    steps.append(Chunk(_spoiled(packer.flush())))
                steps.append(step)
            else:
                steps.append(step)
        return tuple(steps)


def _spoiled(packed: bytes) -> bytes:
    trailer = bytes(byte ^ 0xFF for byte in packed[-_TRAILER_BYTES:])
    return packed[:-_TRAILER_BYTES] + trailer


class HeaderFlood(Fault):
    """
    Sends far more headers than anybody expects.
    """

    name: ClassVar[str] = "header_flood"
    targets: ClassVar[frozenset[Target]] = ANSWERING

    headers: int = Field(default=500, ge=1, le=100_000)
    """How many."""

    header_bytes: int = Field(default=100, ge=1, le=1_000_000)
    """The length of each value."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the answer behind its headers.
        """
        del context
        value = "x" * self.header_bytes
        flood = tuple((f"x-flood-{number}", value) for number in range(self.headers))
        return with_headers(plan, lambda headers: headers + flood)


class RequestId(Fault):
    """
    Sends no ``x-request-id``, or two that disagree.
    """

    name: ClassVar[str] = "request_id"
    targets: ClassVar[frozenset[Target]] = frozenset({Target.UPSTREAM})

    form: Literal["missing", "doubled"] = "missing"
    """What is wrong with it."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the answer without its id, or with another one too.
        """
        if self.form == "missing":
            return set_header(plan, "x-request-id", None)
        other = ("x-request-id", context.mint("req_", "second"))
        return with_headers(plan, lambda headers: (*headers, other))
