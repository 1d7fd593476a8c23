"""
Faults of the connection: it hangs, or it ends at the wrong moment.
"""

from typing import Any, ClassVar, Literal

from pydantic import Field

from mock_server.faults.fault import ANSWERING, Fault, FaultContext, Level, Target
from mock_server.units import Duration
from mock_server.wire import Chunk, Close, CutAfter, End, Hang, Head, Plan, Reset, Wait


class BlackHole(Fault):
    """
    Accepts the request and never answers; the connection stays open.
    """

    name: ClassVar[str] = "black_hole"
    targets: ClassVar[frozenset[Target]] = ANSWERING
    prevents_effect: ClassVar[bool] = True

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return a plan that sends nothing.
        """
        del plan, context
        return (Hang(),)


class ResetBeforeHeaders(Fault):
    """
    Reads the request and resets the connection (RST).
    """

    name: ClassVar[str] = "reset_before_headers"
    targets: ClassVar[frozenset[Target]] = ANSWERING
    prevents_effect: ClassVar[bool] = True

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return a plan that resets at once.
        """
        del plan, context
        return (Reset(),)


class CloseBeforeHeaders(Fault):
    """
    Reads the request and closes the connection (FIN) without a byte.
    """

    name: ClassVar[str] = "close_before_headers"
    targets: ClassVar[frozenset[Target]] = ANSWERING
    prevents_effect: ClassVar[bool] = True

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return a plan that closes at once.
        """
        del plan, context
        return (Close(),)


class SlowHeaders(Fault):
    """
    Waits before the first byte, besides what latency says.
    """

    name: ClassVar[str] = "slow_headers"
    targets: ClassVar[frozenset[Target]] = ANSWERING

    delay: Duration = 1.0
    """How long nothing comes."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the plan behind a wait.
        """
        del context
        return (Wait(self.delay), *plan)


class Disconnect(Fault):
    """
    Cuts the connection in the middle of the answer: what was sent has arrived.
    """

    name: ClassVar[str] = "disconnect"
    targets: ClassVar[frozenset[Target]] = ANSWERING
    breaks_answer: ClassVar[bool] = True
    plain: ClassVar[str] = (
        "headers with the full `content-length`, then `after_bytes` of the body"
    )

    after_events: int = Field(default=1, ge=0)
    """How many events of a stream are sent."""

    after_bytes: int | None = Field(default=None, ge=0)
    """How many bytes of a plain body are sent; by default half of it."""

    after: Duration | None = None
    """Cuts at this time after the request instead, wherever the answer is."""

    how: Literal["close", "reset"] = "close"
    """With FIN, or with RST."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the plan up to the cut.
        """
        cut = Close() if self.how == "close" else Reset()
        if self.after is not None:
            return (CutAfter(self.after, cut), *plan)
        if context.stream:
            return (*_first_chunks(plan, self.after_events), cut)
        return (*_first_bytes(plan, self.after_bytes), cut)


class ResetInBody(Fault):
    """
    Resets the connection (RST) at an exact event or byte; what came before has arrived.
    """

    name: ClassVar[str] = "reset_in_body"
    targets: ClassVar[frozenset[Target]] = ANSWERING
    breaks_answer: ClassVar[bool] = True
    plain: ClassVar[str] = "half of the body, unless `byte` says more or less"

    event: int = Field(default=2, ge=0)
    """After how many events of a stream."""

    byte: int | None = Field(default=None, ge=0)
    """After how many bytes of the body instead, in a stream too."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the plan up to the reset.
        """
        if context.stream and self.byte is None:
            return (*_first_chunks(plan, self.event), Reset())
        return (*_first_bytes(plan, self.byte), Reset())


class CutAtByte(Fault):
    """
    Closes the connection after an exact number of bytes of the body.
    """

    name: ClassVar[str] = "cut_at_byte"
    targets: ClassVar[frozenset[Target]] = ANSWERING
    breaks_answer: ClassVar[bool] = True

    byte: int = Field(default=100, ge=0)
    """How many bytes are sent, in the middle of an event if need be."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the plan up to that byte.
        """
        del context
        return (*_first_bytes(plan, self.byte), Close())


class StaleKeepAlive(Fault):
    """
    Closes a kept connection under the next request on it, without a byte.
    """

    name: ClassVar[str] = "stale_keep_alive"
    targets: ClassVar[frozenset[Target]] = ANSWERING
    prevents_effect: ClassVar[bool] = True
    plain: ClassVar[str] = "a connection's first request is spared, in both forms"

    how: Literal["close", "reset"] = "close"
    """With FIN, or with RST."""

    def fits(self, reply: Any, context: FaultContext) -> bool:
        """
        Say whether the connection was kept.
        """
        return context.is_reused and super().fits(reply, context)

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return a plan that ends at once.
        """
        del plan, context
        return (Close() if self.how == "close" else Reset(),)


class Refuse(Fault):
    """
    Closes the listener: nobody can connect, in no world, and who was connected is cut.

    Control, tools and webhooks live on the second listener (``--control-port``).
    """

    name: ClassVar[str] = "refuse"
    level: ClassVar[Level] = Level.LISTENER
    targets: ClassVar[frozenset[Target]] = frozenset({Target.UPSTREAM})
    plain: ClassVar[str] = "there is no answer of any form"


def _first_chunks(plan: Plan, chunks_max: int) -> Plan:
    kept: Plan = ()
    chunks = 0
    for step in plan:
        if isinstance(step, Chunk):
            if chunks == chunks_max:
                return kept
            chunks += 1
        if isinstance(step, End | Close | Reset | Hang):
            return kept
        kept += (step,)
    return kept


def _first_bytes(plan: Plan, bytes_max: int | None) -> Plan:
    if bytes_max == 0:
        return tuple(step for step in plan if isinstance(step, Head))
    if bytes_max is None:
        bytes_max = sum(len(s.data) for s in plan if isinstance(s, Chunk)) // 2
    kept: Plan = ()
    for step in plan:
        if isinstance(step, Chunk):
            piece = step.data[:bytes_max]
            bytes_max -= len(piece)
            if piece:
                kept += (Chunk(piece, step.pace, step.part),)
            if not bytes_max:
                return kept
        elif isinstance(step, End | Close | Reset | Hang):
            return kept
        else:
            kept += (step,)
    return kept
