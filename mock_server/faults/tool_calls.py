"""
Faults in which tools the model calls, how often, and under which ids.
"""

from collections.abc import Callable
from enum import StrEnum
from typing import Any, ClassVar, Literal

from msgspec.structs import replace
from pydantic import Field

from mock_server.faults.fault import Fault, FaultContext, Level, Target
from mock_server.faults.sse import calls_in, edit_answer, items_in
from mock_server.wire import FinishReason, Plan, ReplyToolCall

_ID_OVERLONG = 2000


class ModelFault(Fault):
    """
    Base of the faults in what the model says.
    """

    level: ClassVar[Level] = Level.REPLY
    targets: ClassVar[frozenset[Target]] = frozenset({Target.UPSTREAM})


def calling(reply: Any, *calls: ReplyToolCall) -> Any:
    """
    Return a reply that calls these tools and says nothing else.
    """
    return replace(
        reply,
        text=None,
        refusal=None,
        tool_calls=calls,
        finish_reason=FinishReason.TOOL_CALLS,
    )


def saying(reply: Any, text: str | None) -> Any:
    """
    Return a reply of text, without calls.
    """
    return replace(
        reply, text=text, refusal=None, tool_calls=(), finish_reason=FinishReason.STOP
    )


class ToolNotOffered(ModelFault):
    """
    Calls a tool that exists somewhere and was not offered this time.
    """

    name: ClassVar[str] = "tool_not_offered"

    tool: str = "delete_account"
    """Its name; one that was offered gets a suffix."""

    def on_reply(self, reply: Any, context: FaultContext) -> Any:
        """
        Return the call.
        """
        name = self.tool
        while context.asked.tool(name) is not None:
            name += "_v2"
        return calling(reply, ReplyToolCall(context.mint("call_", "id"), name, "{}"))


class ToolDespiteNone(ModelFault):
    """
    Calls an offered tool although ``tool_choice`` is ``none``.
    """

    name: ClassVar[str] = "tool_despite_none"

    def fits(self, reply: Any, context: FaultContext) -> bool:
        """
        Say whether calls were forbidden.
        """
        return context.asked.forbids_calls and super().fits(reply, context)

    def on_reply(self, reply: Any, context: FaultContext) -> Any:
        """
        Return a call of the first tool.
        """
        tool = context.asked.tools[0]
        call_id = context.mint("call_", "id")
        return calling(reply, ReplyToolCall(call_id, tool.name, tool.example()))


class ForcedToolIgnored(ModelFault):
    """
    Answers with text although a tool had to be called.
    """

    name: ClassVar[str] = "forced_tool_ignored"

    text: str = "I would rather not call a tool."
    """What it says instead."""

    def fits(self, reply: Any, context: FaultContext) -> bool:
        """
        Say whether a call was forced.
        """
        asked = context.asked
        is_forced = "tool_choice" in asked.values and asked.forces_call
        return is_forced and super().fits(reply, context)

    def on_reply(self, reply: Any, context: FaultContext) -> Any:
        """
        Return the text.
        """
        del context
        return saying(reply, self.text)


class NearMissTool(ModelFault):
    """
    Calls a tool by a name that is almost the offered one.
    """

    name: ClassVar[str] = "near_miss_tool"
    needs_tool_calls: ClassVar[bool] = True

    form: Literal["case", "separator", "prefix", "suffix"] = "case"
    """``GetWeather``, ``get-weather``, ``functions.get_weather``, ``get_weather_tool``."""

    def on_reply(self, reply: Any, context: FaultContext) -> Any:
        """
        Return the reply whose first call has the other name.
        """
        first, *others = reply.tool_calls
        named = replace(first, name=_near(first.name, self.form))
        del context
        return replace(reply, tool_calls=(named, *others))


def _near(name: str, form: str) -> str:
    if form == "prefix":
        return f"functions.{name}"
    if form == "suffix":
        return f"{name}_tool"
    if form == "separator":
        if "-" in name:
            return name.replace("-", "_")
        return name.replace("_", "-") if "_" in name else f"{name}-"
    words = name.split("_")
    camel = "".join(word[:1].upper() + word[1:] for word in words)
    return camel if camel != name else name.lower()


class CallIdForm(StrEnum):
    """
    What is wrong with the ids of the calls.
    """

    DOUBLED = "doubled"
    """All calls have the first one's id; a single call comes twice."""

    MISSING = "missing"
    """There is none."""

    OVERLONG = "overlong"
    """2,000 characters."""

    REUSED = "reused"
    """That of the transcript's first call; an earlier turn must have had one."""


class CallId(ModelFault):
    """
    Gives tool calls ids that name nothing, or two things.
    """

    name: ClassVar[str] = "call_id"
    needs_tool_calls: ClassVar[bool] = True

    form: CallIdForm = CallIdForm.DOUBLED
    """What is wrong with them."""

    def fits(self, reply: Any, context: FaultContext) -> bool:
        """
        Say whether there is an id to reuse, if one is to be.
        """
        is_possible = self.form is not CallIdForm.REUSED or bool(
            context.asked.earlier_calls
        )
        return is_possible and super().fits(reply, context)

    def on_reply(self, reply: Any, context: FaultContext) -> Any:
        """
        Return the reply with the other ids.
        """
        calls = reply.tool_calls
        match self.form:
            case CallIdForm.MISSING:
                return reply
            case CallIdForm.OVERLONG:
                change: Callable[[Any], Any] = _overlong
            case CallIdForm.REUSED:
                earlier = context.asked.earlier_calls[0].id
                change = _renamed_to(earlier)
            case _:
                calls = calls * 2 if len(calls) == 1 else calls
                change = _renamed_to(calls[0].id)
        return replace(reply, tool_calls=tuple(map(change, calls)))

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the answer without ids, if they are to be missing.
        """
        if self.form is not CallIdForm.MISSING:
            return plan
        return edit_answer(plan, _without_ids, stream=context.stream)


def _overlong(call: ReplyToolCall) -> ReplyToolCall:
    return replace(call, id=call.id.ljust(_ID_OVERLONG, "x"))


def _renamed_to(call_id: str) -> Callable[[ReplyToolCall], ReplyToolCall]:
    return lambda call: replace(call, id=call_id)


def _without_ids(value: dict[str, Any]) -> None:
    for call in calls_in(value):
        call.pop("id", None)
    for item in items_in(value):
        if item.get("type") == "function_call":
            item.pop("call_id", None)


class DoomLoop(ModelFault):
    """
    Makes the same call in every turn, whatever the tool has answered.
    """

    name: ClassVar[str] = "doom_loop"

    def fits(self, reply: Any, context: FaultContext) -> bool:
        """
        Say whether there is a tool to call.
        """
        asked = context.asked
        has_call = bool(asked.earlier_calls or getattr(reply, "tool_calls", ()))
        return (has_call or bool(asked.tools)) and super().fits(reply, context)

    def on_reply(self, reply: Any, context: FaultContext) -> Any:
        """
        Return the transcript's first call under another id, else the reply's, else one.
        """
        asked = context.asked
        call_id = context.mint("call_", "id")
        if asked.earlier_calls:
            first = asked.earlier_calls[0]
            return calling(reply, ReplyToolCall(call_id, first.name, first.arguments))
        if reply.tool_calls:
            return calling(reply, reply.tool_calls[0])
        tool = asked.tools[0]
        return calling(reply, ReplyToolCall(call_id, tool.name, tool.example()))


class FanOut(ModelFault):
    """
    Makes a call many times at once, under an id each.
    """

    name: ClassVar[str] = "fan_out"
    needs_tool_calls: ClassVar[bool] = True

    calls: int = Field(default=50, ge=2, le=10_000)
    """How many calls there are then."""

    def on_reply(self, reply: Any, context: FaultContext) -> Any:
        """
        Return the reply with the further calls.
        """
        first = reply.tool_calls[0]
        missing = range(len(reply.tool_calls), self.calls)
        more = tuple(
            replace(first, id=context.mint("call_", f"id-{number}"))
            for number in missing
        )
        return replace(reply, tool_calls=(*reply.tool_calls, *more))
