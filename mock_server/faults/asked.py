"""
What a request to the model API asks for, as far as a fault needs to know it.

Read from the bytes alone, so that it holds for every surface; a body that is not what
the API takes asks for nothing.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from mock_server.schemas import value_for


@dataclass(frozen=True, slots=True)
class OfferedTool:
    """
    A function that the model may call.
    """

    name: str
    schema: Any
    """The JSON Schema of its arguments."""

    def example(self) -> str:
        """
        Return arguments that the schema allows.
        """
        value = value_for(self.schema)
        arguments = value if isinstance(value, dict) else {}
        return orjson.dumps(arguments, default=str).decode()


@dataclass(frozen=True, slots=True)
class EarlierCall:
    """
    A tool call that the transcript holds.
    """

    id: str
    name: str
    arguments: str


class Asked:
    """
    A request, parsed when somebody looks.

    Args:
        body: As it was sent.
    """

    def __init__(self, body: bytes = b"") -> None:
        self._body = body
        self._values: Mapping[str, Any] | None = None

    @property
    def values(self) -> Mapping[str, Any]:
        """
        The body; empty if it is no JSON object.
        """
        if self._values is None:
            try:
                values = orjson.loads(self._body)
            except orjson.JSONDecodeError:
                values = {}
            self._values = values if isinstance(values, dict) else {}
        return self._values

    @property
    def model(self) -> str:
        """
        The model that was asked for.
        """
        return str(self.values.get("model") or "")

    @property
    def tools(self) -> tuple[OfferedTool, ...]:
        """
        The offered functions.
        """
        return tuple(self._tools())

    def tool(self, name: str) -> OfferedTool | None:
        """
        Return the offered function of that name.
        """
        return next((tool for tool in self._tools() if tool.name == name), None)

    @property
    def forbids_calls(self) -> bool:
        """
        Whether tools are offered and none may be called.
        """
        return self.values.get("tool_choice") == "none" and bool(self.tools)

    @property
    def forces_call(self) -> bool:
        """
        Whether a tool must be called.
        """
        choice = self.values.get("tool_choice")
        if not isinstance(choice, dict):
            return choice == "required"
        allowed = choice.get("allowed_tools", choice)
        mode = allowed.get("mode") if isinstance(allowed, dict) else None
        return mode != "auto"

    @property
    def earlier_calls(self) -> tuple[EarlierCall, ...]:
        """
        The tool calls of the transcript, the first one first.
        """
        return tuple(self._earlier_calls())

    def _tools(self) -> Iterator[OfferedTool]:
        for tool in _mappings(self.values.get("tools")):
            # Chat completions nest the function, responses do not.
            function = tool.get("function", tool)
            if isinstance(function, dict) and isinstance(function.get("name"), str):
                yield OfferedTool(function["name"], function.get("parameters") or {})

    def _earlier_calls(self) -> Iterator[EarlierCall]:
        for message in _mappings(self.values.get("messages")):
            for call in _mappings(message.get("tool_calls")):
                function = call.get("function")
                if isinstance(function, dict):
                    yield _earlier(call.get("id"), function)
        for item in _mappings(self.values.get("input")):
            if item.get("type") == "function_call":
                yield _earlier(item.get("call_id"), item)


def _earlier(call_id: object, function: Mapping[str, Any]) -> EarlierCall:
    name, arguments = function.get("name"), function.get("arguments")
    return EarlierCall(str(call_id), str(name), str(arguments))


def _mappings(value: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(value, list):
        yield from (item for item in value if isinstance(item, dict))
