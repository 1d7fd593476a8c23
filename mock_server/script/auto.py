"""
Replies that nobody scripted: arguments made from a tool's own JSON Schema.
"""

import re

from mock_server.schemas import value_for
from mock_server.script.seen import name_of
from mock_server.wire import ChatRequest, CustomTool, FunctionTool, Tool

_WORD = re.compile(r"[a-z0-9]{3,}")


def choose_tool(request: ChatRequest, message: str) -> Tool | None:
    """
    Return the offered tool that shares most words with the message, else the first.
    """
    words = set(_WORD.findall(message.lower()))

    def shared(tool: Tool) -> int:
        text = name_of(tool)
        if isinstance(tool, FunctionTool):
            text += f" {tool.function.description or ''}"
        return len(words & set(_WORD.findall(text.lower().replace("_", " "))))

    return max(request.tools or (), key=shared, default=None)


def is_custom(request: ChatRequest, name: str) -> bool:
    """
    Say whether a tool of that name is offered as a custom tool.
    """
    return any(
        isinstance(tool, CustomTool) and tool.custom.name == name
        for tool in request.tools or ()
    )


__all__ = ["choose_tool", "is_custom", "value_for"]
