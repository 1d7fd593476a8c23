"""
The tools that a model may call, changed while chats are running.

An execution that has begun keeps the tool it began with, whatever the registry does
meanwhile.
"""

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import orjson
import pydantic

from harness.clock import Clock
from harness.errors import (
    DeadlineExceededError,
    LimitExceededError,
    ToolError,
    ToolFailedError,
    ToolTimeoutError,
    UnknownToolError,
    UsageError,
)
from harness.tools.model import (
    Deferred,
    ToolAnswer,
    ToolContext,
    ToolFunction,
    ToolResult,
    ToolSpec,
)
from harness.tools.schema import ArgumentsSchema

TOOLS_MAX = 128
"""As many tools a model API takes in one request."""

RESULT_BYTES_MAX = 256 * 1024
"""A longer result fails the call: it would be sent to the model and by webhook."""

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


@dataclass(frozen=True, slots=True)
class _Tool:
    spec: ToolSpec
    schema: ArgumentsSchema
    function: ToolFunction
    listed: dict[str, Any]


class ToolRegistry:
    """
    Knows the tools, checks arguments and runs calls.

    Args:
        clock: Bounds how long an execution takes.
        tools_max: A further tool is refused.
        result_bytes_max: A longer result fails its call.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        tools_max: int = TOOLS_MAX,
        result_bytes_max: int = RESULT_BYTES_MAX,
    ) -> None:
        self._clock = clock
        self._tools_max = tools_max
        self._result_bytes_max = result_bytes_max
        self._tools: dict[str, _Tool] = {}

    def register(
        self, spec: ToolSpec, function: ToolFunction, *, replace: bool = False
    ) -> None:
        """
        Offer a tool from now on.

        Args:
            spec: What the model is told.
            function: What runs it.
            replace: Whether a tool of that name makes room, in its place of the list.

        Raises:
            UsageError: The name is taken, or the schema is none.
            LimitExceededError: There are as many tools as allowed.
        """
        if spec.name in self._tools and not replace:
            message = f"there is a tool {spec.name!r} already"
            raise UsageError(message)
        if spec.name not in self._tools and len(self._tools) >= self._tools_max:
            raise LimitExceededError(limit="tools_max", value=self._tools_max)
        schema = ArgumentsSchema(spec.name, spec.parameters)
        listed = {
            "type": "function",
            "function": {
                "name": spec.name,
                "description": spec.description,
                "parameters": schema.schema,
            },
        }
        self._tools[spec.name] = _Tool(spec, schema, function, listed)

    def update(self, spec: ToolSpec) -> None:
        """
        Change what the model is told of a tool; what runs it stays.

        Raises:
            UnknownToolError: There is no tool of that name.
            UsageError: The schema is none.
        """
        self.register(spec, self._find(spec.name).function, replace=True)

    def tool(
        self,
        *,
        name: str | None = None,
        description: str | None = None,
        parameters: dict[str, Any] | None = None,
        deferred: bool = False,
        timeout_s: float = 30.0,
    ) -> Callable[[FunctionT], FunctionT]:
        """
        Return a decorator that offers a function as a tool.

        The function is given the arguments by name, and the context too if it has a
        parameter ``context`` annotated as :class:`ToolContext`. A plain function runs
        on the event loop and must not wait.

        Args:
            name: By default the function's.
            description: By default the first paragraph of its docstring.
            parameters: By default made from its annotations.
            deferred: As in :class:`ToolSpec`.
            timeout_s: As in :class:`ToolSpec`.
        """

        def decorate(function: FunctionT) -> FunctionT:
            documentation = inspect.getdoc(function) or ""
            spec = ToolSpec(
                name=name or function.__name__,
                description=(
                    documentation.partition("\n\n")[0].replace("\n", " ")
                    if description is None
                    else description
                ),
                parameters=(schema_of(function) if parameters is None else parameters),
                deferred=deferred,
                timeout_s=timeout_s,
            )
            self.register(spec, by_name(function))
            return function

        return decorate

    def remove(self, name: str) -> None:
        """
        Stop offering a tool; its running executions go on.

        Raises:
            UnknownToolError: There is no tool of that name.
        """
        self._find(name)
        del self._tools[name]

    def spec(self, name: str) -> ToolSpec:
        """
        Return what the model is told of a tool.

        Raises:
            UnknownToolError: There is no tool of that name.
        """
        return self._find(name).spec

    def specs(self) -> Sequence[ToolSpec]:
        """
        Return what the model is told of all tools, in order of registration.
        """
        return tuple(tool.spec for tool in self._tools.values())

    def openai_tools(self) -> list[dict[str, Any]]:
        """
        Return the list for the field ``tools`` of a request to the model.

        Its entries are shared: whoever changes one changes what the model is told.
        """
        return [tool.listed for tool in self._tools.values()]

    def check(self, name: str, arguments_text: str) -> dict[str, Any]:
        """
        Return the arguments that the model wrote for a tool.

        Raises:
            UnknownToolError: There is no tool of that name.
            InvalidArgumentsError: They are not JSON, or break the tool's schema.
        """
        return self._find(name).schema.parse(arguments_text)

    async def execute(
        self, name: str, arguments: dict[str, Any], context: ToolContext
    ) -> ToolAnswer:
        """
        Run a tool with checked arguments.

        Raises:
            UnknownToolError: There is no tool of that name.
            ToolFailedError: The tool failed, or its result cannot be used.
            ToolTimeoutError: It took longer than it may.
            DeadlineExceededError: The time of the whole chat is over.
        """
        tool = self._find(name)
        timeout_s = tool.spec.timeout_s
        left_s = math.inf
        if context.deadline is not None:
            context.deadline.check()
            left_s = context.deadline.remaining_s()
        timeout = self._clock.timeout(min(timeout_s, left_s))
        try:
            async with timeout:
                answer = tool.function(arguments, context)
                if inspect.isawaitable(answer):
                    answer = await answer
        except Exception as error:
            if timeout.expired() and left_s < timeout_s:
                raise DeadlineExceededError(deadline_in_s=0.0) from error
            if timeout.expired():
                raise ToolTimeoutError(tool=name, timeout_s=timeout_s) from error
            if isinstance(error, ToolError | DeadlineExceededError):
                raise
            # The text of a foreign error may hold what the model must not see.
            raise ToolFailedError(
                tool=name, reason=f"internal error ({type(error).__name__})"
            ) from error
        return self._check_answer(tool.spec, answer)

    def _find(self, name: str) -> _Tool:
        tool = self._tools.get(name)
        if tool is None:
            raise UnknownToolError(tool=name[:80], known=list(self._tools))
        return tool

    def _check_answer(self, spec: ToolSpec, answer: Any) -> ToolAnswer:
        if isinstance(answer, Deferred):
            if not spec.deferred:
                raise ToolFailedError(
                    tool=spec.name, reason="it deferred its result and is not deferred"
                )
            return answer
        value = answer.value if isinstance(answer, ToolResult) else answer
        try:
            text = orjson.dumps(value)
        except TypeError as error:
            raise ToolFailedError(
                tool=spec.name, reason="its result has no form in JSON"
            ) from error
        if len(text) > self._result_bytes_max:
            raise ToolFailedError(
                tool=spec.name,
                reason=f"its result has {len(text)} bytes, and at most {self._result_bytes_max} are allowed",
            )
        # What is kept, sent and shown later is the same value for everybody.
        return ToolResult(orjson.loads(text))


def by_name(function: Callable[..., Any]) -> ToolFunction:
    """
    Return what runs a function with the arguments given by name.
    """
    takes_context = _context_parameter(function) is not None

    def run(arguments: dict[str, Any], context: ToolContext) -> Any:
        if takes_context:
            return function(**arguments, context=context)
        return function(**arguments)

    return run


def schema_of(function: Callable[..., Any]) -> dict[str, Any]:
    """
    Return the JSON Schema of a function's arguments, from its annotations.

    Raises:
        UsageError: An annotation has no form in JSON Schema.
    """
    signature = inspect.signature(function, eval_str=True)
    hidden = _context_parameter(function)
    fields: dict[str, Any] = {
        parameter.name: (
            Any if parameter.annotation is parameter.empty else parameter.annotation,
            ... if parameter.default is parameter.empty else parameter.default,
        )
        for parameter in signature.parameters.values()
        if parameter.name != hidden
    }
    try:
        model = pydantic.create_model(
            function.__name__,
            __config__=pydantic.ConfigDict(extra="forbid"),
            **fields,
        )
        schema: dict[str, Any] = _without_titles(model.model_json_schema())
    except (pydantic.errors.PydanticUserError, TypeError, ValueError) as error:
        message = f"no schema can be made for {function.__name__!r}: {error}"
        raise UsageError(message) from error
    return schema


def _without_titles(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_titles(inner) for inner in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        name: _without_titles(inner)
        for name, inner in schema.items()
        if not (name == "title" and isinstance(inner, str))
    }


def _context_parameter(function: Callable[..., Any]) -> str | None:
    parameters = inspect.signature(function, eval_str=True).parameters
    context = parameters.get("context")
    return "context" if context and context.annotation is ToolContext else None
