"""
Faults in the fields of an answer: ids, indexes, names and counts that do not fit.
"""

from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal

from mock_server.faults.events import StreamFault
from mock_server.faults.fault import Fault, FaultContext, NullIsName, Target
from mock_server.faults.sse import (
    calls_in,
    choices_in,
    edit_answer,
    edit_events,
    event_places,
    value_of,
    with_value,
)
from mock_server.wire import Chunk, Part, Plan

_NO_NAME_APART = "a response names a call whole, in its item"
_UPSTREAM = frozenset({Target.UPSTREAM})


class WrongIndex(Fault):
    """
    Numbers choices, calls and output items wrongly.
    """

    name: ClassVar[str] = "wrong_index"
    targets: ClassVar[frozenset[Target]] = _UPSTREAM
    breaks_answer: ClassVar[bool] = True
    plain: ClassVar[str] = "the choices of a body, which has no other index"

    form: Literal["shifted", "zero", "negative"] = "shifted"
    """``shifted`` counts from 7, ``zero`` says 0 of all, ``negative`` from -1 down."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the answer with the other numbers.
        """
        return edit_answer(plan, self._edit, stream=context.stream)

    def _edit(self, value: dict[str, Any]) -> None:
        if "output_index" in value:
            value["output_index"] = self._wrong(value["output_index"])
        calls = list(calls_in(value))
        numbered = [call for call in calls if "index" in call]
        for part in numbered or choices_in(value):
            part["index"] = self._wrong(part.get("index", 0))

    def _wrong(self, index: int) -> int:
        return {"shifted": index + 7, "zero": 0, "negative": -1 - index}[self.form]


class MissingIndex(StreamFault):
    """
    Sends tool calls in pieces that do not say which call they belong to.
    """

    name: ClassVar[str] = "missing_index"
    streams_only: ClassVar[str] = "in a plain answer calls have no index"
    needs_tool_calls: ClassVar[bool] = True

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the stream without these indexes.
        """
        return edit_answer(plan, self._edit, stream=context.stream)

    @staticmethod
    def _edit(value: dict[str, Any]) -> None:
        value.pop("output_index", None)
        for call in calls_in(value):
            call.pop("index", None)


class ChangingId(StreamFault):
    """
    Gives every event an id of its own, as if each were of another answer.
    """

    name: ClassVar[str] = "changing_id"
    streams_only: ClassVar[str] = "a plain answer says its id once"

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the stream with the other ids.
        """
        del context
        number = 0

        def edit(_: Chunk, value: dict[str, Any]) -> None:
            nonlocal number
            number += 1
            for holder in (value, value.get("response")):
                if isinstance(holder, dict) and "id" in holder:
                    holder["id"] = f"{holder['id']}-{number}"
            if "item_id" in value:
                value["item_id"] = f"{value['item_id']}-{number}"

        return edit_events(plan, edit)


class LateToolName(StreamFault):
    """
    Starts a call without its name, which comes with its last piece.
    """

    name: ClassVar[str] = "late_tool_name"
    streams_only: ClassVar[str] = "a plain call comes whole"
    chat_only: ClassVar[str] = _NO_NAME_APART
    needs_tool_calls: ClassVar[bool] = True

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the stream with the name at the end of each call.
        """
        del context
        last = {index: place for place, index, _ in _call_pieces(plan)}
        names: dict[int, str] = {}
        changed = list(plan)
        for place in event_places(plan, Part.START, Part.DELTA):
            step, value = plan[place], value_of(plan[place])
            if value is None or not isinstance(step, Chunk):
                continue
            for call in calls_in(value):
                index = call.get("index", 0)
                function = call.setdefault("function", {})
                names[index] = function.pop("name", None) or names.get(index, "")
                if last[index] == place:
                    function["name"] = names[index]
            changed[place] = with_value(step, value)
        return tuple(changed)


class SplitToolName(StreamFault):
    """
    Sends a call's name in two halves, in two events.
    """

    name: ClassVar[str] = "split_tool_name"
    streams_only: ClassVar[str] = "a plain call comes whole"
    chat_only: ClassVar[str] = _NO_NAME_APART
    needs_tool_calls: ClassVar[bool] = True

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the stream with one more event for each call.
        """
        del context
        changed: Plan = ()
        for step in plan:
            value = value_of(step)
            named = [] if value is None else [*_named(value)]
            if not named or value is None or not isinstance(step, Chunk):
                changed = (*changed, step)
                continue
            seconds = []
            for call in named:
                name = call["function"]["name"]
                half = (len(name) + 1) // 2
                call["function"]["name"] = name[:half]
                seconds.append(
                    {"index": call.get("index", 0), "function": {"name": name[half:]}}
                )
            first = with_value(step, value)
            for choice in choices_in(value):
                choice["delta"] = {"tool_calls": seconds}
            changed = (*changed, first, with_value(step, value))
        return changed


class UsageFault(Fault):
    """
    Counts no tokens, or tells of them what cannot be.
    """

    name: ClassVar[str] = "usage"
    targets: ClassVar[frozenset[Target]] = _UPSTREAM
    plain: ClassVar[str] = "`early` is left out: a body has no order"

    form: Annotated[Literal["missing", "null", "negative", "early"], NullIsName] = (
        "missing"
    )
    """``early`` sends the counts before the first piece of the answer."""

    def fits(self, reply: Any, context: FaultContext) -> bool:
        """
        Say whether there is anything to change.
        """
        is_possible = context.stream or self.form != "early"
        return is_possible and super().fits(reply, context)

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the answer with the other counts.
        """
        places = event_places(plan, Part.USAGE)
        if self.form == "early":
            return _moved_to_front(plan, places)
        if self.form == "missing" and context.stream and places:
            return tuple(step for n, step in enumerate(plan) if n not in places)
        return edit_answer(plan, self._edit, stream=context.stream)

    def _edit(self, value: dict[str, Any]) -> None:
        for holder in (value, value.get("response")):
            if not isinstance(holder, dict) or "usage" not in holder:
                continue
            usage = holder["usage"]
            if self.form == "missing":
                del holder["usage"]
            elif self.form == "null":
                holder["usage"] = None
            elif isinstance(usage, dict):
                for name, count in usage.items():
                    usage[name] = -1 - count if isinstance(count, int) else count


class ModelName(Fault):
    """
    Names another model than the one that was asked for.
    """

    name: ClassVar[str] = "model_name"
    targets: ClassVar[frozenset[Target]] = _UPSTREAM

    model: str = "gpt-3.5-turbo-0125"
    """The model that the answer names."""

    def on_plan(self, plan: Plan, context: FaultContext) -> Plan:
        """
        Return the answer of the other model.
        """
        return edit_answer(plan, self._edit, stream=context.stream)

    def _edit(self, value: dict[str, Any]) -> None:
        for holder in (value, value.get("response")):
            if isinstance(holder, dict) and "model" in holder:
                holder["model"] = self.model


def _moved_to_front(plan: Plan, places: list[int]) -> Plan:
    if not places:
        return plan
    usage = [plan[place] for place in places]
    rest = [step for place, step in enumerate(plan) if place not in places]
    first = event_places(tuple(rest))[0]
    return (*rest[:first], *usage, *rest[first:])


def _call_pieces(plan: Plan) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """
    Yield each piece of a call: where it is, of which call, and the piece.
    """
    for place in event_places(plan, Part.START, Part.DELTA):
        value = value_of(plan[place])
        for call in calls_in(value or {}):
            yield place, call.get("index", 0), call


def _named(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for call in calls_in(value):
        function = call.get("function")
        if isinstance(function, dict) and function.get("name"):
            yield call
