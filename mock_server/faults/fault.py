"""
What every fault has in common.

A fault is its parameters and two pure functions: one changes what the reply says, the
other changes the bytes and waits that carry it. When and how often it hits is not its
business.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, ClassVar, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict

from mock_server.faults.asked import Asked
from mock_server.faults.emission import Emission
from mock_server.wire import Chunk, End, Head, Plan


class Target(StrEnum):
    """
    A surface of the mock, as a script names it.
    """

    UPSTREAM = "upstream"
    TOOLS = "tools"
    WEBHOOK_ENDPOINT = "webhook_endpoint"
    WEBHOOK_EMITTER = "webhook_emitter"


ANSWERING = frozenset({Target.UPSTREAM, Target.TOOLS, Target.WEBHOOK_ENDPOINT})
"""The surfaces that answer requests; the emitter sends them."""


class Level(StrEnum):
    """
    What a fault changes.
    """

    REPLY = "reply"
    """What the model says."""

    PLAN = "plan"
    """The bytes of the answer, and when they are sent."""

    EMISSION = "emission"
    """A webhook that the mock sends."""

    LISTENER = "listener"
    """Whether anybody can connect at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultContext:
    """
    What a fault may know about the request it hits.
    """

    target: Target
    stream: bool
    request_id: str
    wall_s: float
    """Unix time, for dates in headers."""

    draw: Callable[[str], float]
    """A number in [0, 1) of this fault and request, by purpose."""

    surface: str = ""
    """Which part of the target, like ``chat_completions``."""

    path: str = ""
    """What was asked for, without a leading ``/v1``."""

    headers: Mapping[str, str] = field(default_factory=dict)
    """Those of the request."""

    asked: Asked = field(default_factory=Asked)
    """What the body of the request says."""

    is_reused: bool = False
    """The connection has served a request before."""

    turn: int = 0

    def mint(self, prefix: str, purpose: str) -> str:
        """
        Return an id of this fault and request.
        """
        digits = "".join(
            f"{int(self.draw(f'{purpose}-{part}') * 16**8):08x}" for part in range(3)
        )
        return prefix + digits


class Fault(BaseModel):
    """
    Base of all faults; the fields of a subclass are its parameters.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    name: ClassVar[str]
    level: ClassVar[Level] = Level.PLAN
    targets: ClassVar[frozenset[Target]]
    plain: ClassVar[str] = ""
    """What it does to a plain answer, where that is not the same as to a stream."""

    breaks_answer: ClassVar[bool] = False
    """A complete exchange with it still carries no usable answer."""

    needs_tool_calls: ClassVar[bool] = False
    """It can only hit a reply that calls tools."""

    streams_only: ClassVar[str] = ""
    """Why it cannot hit a plain answer; empty if it can."""

    chat_only: ClassVar[str] = ""
    """Why it can hit no other part of the model API than chat completions."""

    prevents_effect: ClassVar[bool] = False
    """A tool that it hits does not run."""

    def fits(self, reply: Any, context: FaultContext) -> bool:
        """
        Say whether it can change anything about this answer.

        Where it cannot, it neither hits nor counts.
        """
        del reply
        if self.chat_only and context.surface != "chat_completions":
            return False
        return context.stream or not self.streams_only

    @property
    def lasts_s(self) -> float | None:
        """
        How long it lasts from its first hit on; None for as long as its schedule says.
        """
        return None

    @property
    def head_start_s(self) -> float | None:
        """
        How long an answer waits for the webhook that overtakes it; None if none does.
        """
        return None

    def on_reply(self, reply: Any, context: FaultContext) -> Any:
        """
        Return what the model says instead.
        """
        del context
        return reply

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the bytes and waits instead.
        """
        del context
        return plan

    def on_emission(
        self, emissions: tuple[Emission, ...], context: FaultContext
    ) -> tuple[Emission, ...]:
        """
        Return what is sent instead.
        """
        del context
        return emissions


def _name_null(value: object) -> object:
    return "null" if value is None else value


NullIsName: Final = BeforeValidator(_name_null)
"""In YAML ``null`` is no text; where it is the name of a form, it is taken for one."""


def head_of(plan: Plan) -> Head | None:
    """
    Return the status and headers of a plan, unless none are sent.
    """
    return next((step for step in plan if isinstance(step, Head)), None)


_ROOM_HEADERS = "x-ratelimit-"
_BODY_HEADERS = frozenset(
    {"content-type", "content-length", "content-encoding", "transfer-encoding"}
)


def answer_instead(
    plan: Plan,
    status: int,
    body: bytes,
    *,
    content_type: str,
    headers: tuple[tuple[str, str], ...] = (),
) -> Plan:
    """
    Return a plan of another answer that keeps what the headers say of the request.
    """
    head = head_of(plan)
    added = {name.lower() for name, _ in headers}
    # An account that is refused does not say how much room it has.
    kept = tuple(
        (name, value)
        for name, value in (head.headers if head else ())
        if name.lower() not in _BODY_HEADERS | added
        and not name.lower().startswith(_ROOM_HEADERS)
    )
    framing = (("content-type", content_type), ("content-length", str(len(body))))
    answer = Head(status, framing + kept + headers)
    return (answer, Chunk(body), End()) if body else (answer, End())
