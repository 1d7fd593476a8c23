"""
What a request's tool choice leaves of a reply.

A model does what it is told: no calls when there may be none, one when there may be
one, the named one when one is named. A script's calls are held to the same, so that
only a fault makes the mock disobey.
"""

from collections.abc import Collection
from typing import Any

from msgspec.structs import replace

from mock_server.script.drawn import DrawnReply, auto_call, default_text
from mock_server.script.seen import Seen, name_of
from mock_server.wire import (
    AllowedToolsChoice,
    ChatRequest,
    CustomChoice,
    FinishReason,
    FunctionChoice,
    Tool,
)


def obey_choice(drawn: DrawnReply, seen: Seen) -> DrawnReply:
    """
    Return the reply that the request's tool choice allows.
    """
    request = seen.request
    match request.tool_choice:
        case None:
            pass
        case "none":
            if drawn.tool_calls:
                drawn = _without_calls(drawn, seen)
        case FunctionChoice(function=chosen) | CustomChoice(custom=chosen):
            return _force(drawn, request, chosen.name)
        case "required":
            drawn = _require(drawn, seen, {name_of(t) for t in request.tools or ()})
        case AllowedToolsChoice(allowed_tools=allowed):
            names = {_allowed_name(tool) for tool in allowed.tools}
            kept = tuple(call for call in drawn.tool_calls if call.name in names)
            if allowed.mode == "required":
                drawn = _require(replace(drawn, tool_calls=kept), seen, names)
            elif drawn.tool_calls and not kept:
                drawn = _without_calls(drawn, seen)
            else:
                drawn = replace(drawn, tool_calls=kept)
        case _:
            pass
    if request.parallel_tool_calls is False and len(drawn.tool_calls) > 1:
        drawn = replace(drawn, tool_calls=drawn.tool_calls[:1])
    return drawn


def finish_reason_of(drawn: DrawnReply, request: ChatRequest) -> str:
    """
    Return why the model stopped, unless the script says otherwise.
    """
    if drawn.finish_reason is not None:
        return drawn.finish_reason
    if not drawn.tool_calls:
        return FinishReason.STOP
    # A call that was forced by name is not the model's own decision.
    is_named = isinstance(request.tool_choice, FunctionChoice | CustomChoice)
    return FinishReason.STOP if is_named else FinishReason.TOOL_CALLS


def _without_calls(drawn: DrawnReply, seen: Seen) -> DrawnReply:
    text = drawn.text
    if text is None and drawn.refusal is None:
        text = default_text(seen)
    return replace(drawn, tool_calls=(), text=text)


def _force(drawn: DrawnReply, request: ChatRequest, name: str) -> DrawnReply:
    calls = tuple(call for call in drawn.tool_calls if call.name == name)[:1]
    if not calls:
        tool = _offered(request, {name})
        calls = () if tool is None else (auto_call(tool),)
    return replace(drawn, tool_calls=calls, text=None, refusal=None)


def _require(drawn: DrawnReply, seen: Seen, names: Collection[Any]) -> DrawnReply:
    if drawn.tool_calls or drawn.refusal is not None:
        return drawn
    tool = _offered(seen.request, names)
    if tool is None:
        return drawn
    return replace(drawn, tool_calls=(auto_call(tool),), text=None)


def _offered(request: ChatRequest, names: Collection[Any]) -> Tool | None:
    return next((t for t in request.tools or () if name_of(t) in names), None)


def _allowed_name(tool: dict[str, Any]) -> str | None:
    named = tool.get("function") or tool.get("custom") or tool
    name = named.get("name") if isinstance(named, dict) else None
    return name if isinstance(name, str) else None
