"""
What a tool is, what it is given and what it answers.
"""

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import JsonValue

from harness.errors import check_options
from harness.ids import ToolCallId, TraceId
from harness.resilience import Deadline

DESCRIPTION_CHARACTERS_MAX = 1024
"""As much of a description a model API takes."""

_NAME: Final = re.compile(r"[a-zA-Z0-9_-]{1,64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolSpec:
    """
    A tool as it is offered to the model.
    """

    name: str
    """At most 64 letters, digits, underscores and hyphens."""

    description: str
    parameters: Mapping[str, Any]
    """JSON Schema (Draft 2020-12) of an object."""

    deferred: bool = False
    """Whether the result may come later, by webhook."""

    timeout_s: float = 30.0
    """How long one execution may take; a deferred one has to be accepted by then."""

    def __post_init__(self) -> None:
        check_options(
            self,
            name=_NAME.fullmatch(self.name) is not None,
            description=len(self.description) <= DESCRIPTION_CHARACTERS_MAX,
            timeout_s=self.timeout_s > 0,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolContext:
    """
    What an execution may know beside its arguments.
    """

    tool_call_id: ToolCallId
    """Names the execution: the idempotency key of what it does elsewhere."""

    trace_id: TraceId | None = None
    deadline: Deadline | None = None


@dataclass(frozen=True, slots=True)
class ToolResult:
    """
    The tool's answer.
    """

    value: JsonValue


@dataclass(frozen=True, slots=True)
class Deferred:
    """
    The tool took the call; its result comes by webhook.
    """


ToolAnswer = ToolResult | Deferred

ToolFunction = Callable[[dict[str, Any], ToolContext], Any | Awaitable[Any]]
"""
What runs a tool: given checked arguments, it returns a :class:`ToolResult`, a
:class:`Deferred` or any value with a form in JSON, at once or when awaited.
"""
