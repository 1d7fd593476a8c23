"""
Faults inside the answer: it ends early, stops, or is not what it claims to be.
"""

from typing import ClassVar

from msgspec.structs import replace
from pydantic import Field

from mock_server.faults.fault import ANSWERING, Fault, FaultContext, Target
from mock_server.faults.sse import with_body
from mock_server.units import Duration
from mock_server.wire import Chunk, End, Hang, Part, Plan, Wait


class Truncate(Fault):
    """
    Ends cleanly in the middle: no finish reason, no end marker, no error.
    """

    name: ClassVar[str] = "truncate"
    targets: ClassVar[frozenset[Target]] = ANSWERING
    breaks_answer: ClassVar[bool] = True
    plain: ClassVar[str] = "JSON cut in the middle, under a `content-length` that fits"

    keep: float = Field(default=0.5, ge=0, lt=1)
    """The share of the pieces of output that is sent, or of the bytes if plain."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the shortened answer.
        """
        if context.stream:
            return self._stream(plan)
        return self._plain(plan)

    def _stream(self, plan: Plan) -> Plan:
        deltas = sum(isinstance(s, Chunk) and s.part is Part.DELTA for s in plan)
        left = int(deltas * self.keep)
        kept: Plan = ()
        for step in plan:
            match step:
                case Chunk(part=Part.DELTA):
                    if not left:
                        break
                    left -= 1
                case Chunk(part=Part.FINISH | Part.USAGE | Part.DONE) | End():
                    break
                case _:
                    pass
            kept += (step,)
        return (*kept, End())

    def _plain(self, plan: Plan) -> Plan:
        body = b"".join(step.data for step in plan if isinstance(step, Chunk))
        short = body[: int(len(body) * self.keep)]
        return with_body(plan, short)


class Stall(Fault):
    """
    Stops in the middle for a while, or for ever, with the connection open.
    """

    name: ClassVar[str] = "stall"
    targets: ClassVar[frozenset[Target]] = ANSWERING
    plain: ClassVar[str] = "the headers come, then the pause, then the body"

    after_events: int = Field(default=1, ge=0)
    """How many events of a stream come before the pause."""

    duration: Duration | None = 30.0
    """How long nothing comes; null is for ever."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the plan with the pause in it.
        """
        pause: Plan = (Hang(),) if self.duration is None else (Wait(self.duration),)
        before = self.after_events if context.stream else 0
        chunks = 0
        for index, step in enumerate(plan):
            if isinstance(step, Chunk | End):
                if chunks == before or isinstance(step, End):
                    return (*plan[:index], *pause, *plan[index:])
                chunks += 1
        return plan


class MalformedEvent(Fault):
    """
    Sends one event whose JSON has lost its first colon; the rest is as it should be.
    """

    name: ClassVar[str] = "malformed_event"
    targets: ClassVar[frozenset[Target]] = ANSWERING
    breaks_answer: ClassVar[bool] = True
    plain: ClassVar[str] = "the body's JSON has lost its first colon"

    event: int = Field(default=2, ge=1)
    """Which event of a stream, from 1; the last one if there are fewer."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the plan with the broken event.
        """
        places = [
            index
            for index, step in enumerate(plan)
            if isinstance(step, Chunk) and step.part is not Part.DONE
        ]
        if not places:
            return plan
        number = self.event if context.stream else 1
        place = places[min(number, len(places)) - 1]
        step = plan[place]
        if not isinstance(step, Chunk):
            return plan
        # The length stays, so that a content-length stays true.
        broken = replace(step, data=step.data.replace(b'":', b'" ', 1))
        return (*plan[:place], broken, *plan[place + 1 :])


class NotJson(Fault):
    """
    Answers 200 with a text that is no JSON; the tool has run.
    """

    name: ClassVar[str] = "not_json"
    targets: ClassVar[frozenset[Target]] = frozenset({Target.TOOLS, Target.UPSTREAM})
    breaks_answer: ClassVar[bool] = True

    text: str = "OK, done!"
    """The body."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the plan with the text as its body.
        """
        del context
        return with_body(plan, self.text.encode())
