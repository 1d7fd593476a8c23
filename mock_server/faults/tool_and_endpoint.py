"""
Faults of the tool backend and of the webhook endpoint alone.
"""

from typing import ClassVar, Literal

from mock_server.faults.fault import Fault, FaultContext, Target
from mock_server.units import Duration
from mock_server.wire import Close, Hang, Plan, Reset, Wait


class Slow(Fault):
    """
    Runs, and answers so much later.
    """

    name: ClassVar[str] = "slow"
    targets: ClassVar[frozenset[Target]] = frozenset(
        {Target.TOOLS, Target.WEBHOOK_ENDPOINT}
    )

    delay: Duration = 5.0
    """Added to the surface's latency."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the plan behind a wait.
        """
        del context
        return (Wait(self.delay), *plan)


class NeverAnswers(Fault):
    """
    The tool runs and never answers; the connection stays open.
    """

    name: ClassVar[str] = "never_answers"
    targets: ClassVar[frozenset[Target]] = frozenset({Target.TOOLS})

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return a plan that sends nothing.
        """
        del plan, context
        return (Hang(),)


class LostReply(Fault):
    """
    The tool runs, then its answer is lost: whoever asks again runs it twice.
    """

    name: ClassVar[str] = "lost_reply"
    targets: ClassVar[frozenset[Target]] = frozenset({Target.TOOLS})

    how: Literal["close", "reset"] = "close"
    """With FIN, or with RST."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return a plan that ends before the first byte.
        """
        del plan, context
        return (Close() if self.how == "close" else Reset(),)


class LostAck(Fault):
    """
    The delivery is taken, then the acknowledgement is lost.
    """

    name: ClassVar[str] = "lost_ack"
    targets: ClassVar[frozenset[Target]] = frozenset({Target.WEBHOOK_ENDPOINT})

    how: Literal["close", "reset"] = "close"
    """With FIN, or with RST."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return a plan that ends before the first byte.
        """
        del plan, context
        return (Close() if self.how == "close" else Reset(),)
