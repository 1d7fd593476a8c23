"""
The tools that the service calls: ``POST /tools/{name}``.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import orjson

from mock_server.draws import Draws
from mock_server.encoding import to_json_bytes
from mock_server.faults import Target
from mock_server.hashes import sha256_of
from mock_server.limits import Counts
from mock_server.script import (
    TemplateError,
    ToolMatch,
    ToolReplyScript,
    ToolScript,
    compile_value,
)
from mock_server.surfaces.ports import (
    Answer,
    CallKeys,
    Facts,
    SurfaceRequest,
    WorldMemory,
)
from mock_server.wire import Chunk, End, Head, Pace, Plan

PATH_PREFIX = "/tools/"
_OK, _ACCEPTED, _FAILED = 200, 202, 500
_FIRST_ERROR = 400


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolOutcome:
    """
    What became of a deferred tool call; it travels by webhook.
    """

    tool: str
    tool_call_id: str
    execution_number: int
    result: Any
    error: Mapping[str, str] | None
    """``code`` and ``message``, in place of a result."""

    delay_s: float
    """How long after the answer it is sent."""

    trace_id: str | None
    world: str


class _CompiledReply:
    def __init__(self, script: ToolReplyScript) -> None:
        self.script = script
        self.render = compile_value(script.result)

    @property
    def status(self) -> int:
        if self.script.deferred:
            return _ACCEPTED
        if self.script.error is not None and self.script.status < _FIRST_ERROR:
            return _FAILED
        return self.script.status

    @property
    def error(self) -> dict[str, str] | None:
        error = self.script.error
        return None if error is None else error.model_dump()


class _CompiledTool:
    def __init__(self, script: ToolScript) -> None:
        self._rules = [(rule.match, _CompiledReply(rule)) for rule in script.script]
        self._default = _CompiledReply(script)

    def reply_to(self, arguments: Mapping[str, Any], number: int) -> _CompiledReply:
        for match, reply in self._rules:
            if _matches(match, arguments, number):
                return reply
        return self._default


class ToolBackend:
    """
    Runs scripted tools and counts how often each call is run.

    Args:
        tools: The script, by name.
        draws: Mints the ids of calls that came without one.
        executions_max: How many calls are counted.
        resolve: Given the outcome of a deferred tool once its answer is out.
        resolve_early: Given it before; says whether that was all.
    """

    name: ClassVar[str] = "tool_backend"
    target: ClassVar[Target] = Target.TOOLS
    is_silent: ClassVar[bool] = False

    def __init__(
        self,
        tools: Mapping[str, ToolScript],
        *,
        draws: Draws,
        executions_max: int,
        resolve: Callable[[ToolOutcome], None],
        resolve_early: Callable[[ToolOutcome], Awaitable[bool]] | None = None,
    ) -> None:
        self._tools = {name: _CompiledTool(script) for name, script in tools.items()}
        self._draws = draws
        self._resolve = resolve
        self._resolve_early = resolve_early
        self._executions: Counts[tuple[str, str, str]] = Counts(executions_max)
        self._requests: Counts[tuple[str, str, str]] = Counts(executions_max)

    @property
    def dropped(self) -> int:
        """
        Calls whose executions are no longer counted.
        """
        return self._executions.dropped

    def forget(self) -> None:
        """
        Count anew.
        """
        self._executions.clear()
        self._requests.clear()

    async def handle(self, request: SurfaceRequest, world: WorldMemory) -> Answer:
        """
        Return the tool's answer.
        """
        name = request.path.removeprefix(PATH_PREFIX)
        tool_call_id = request.headers.get("idempotency-key")
        counted_as = (world.name, name, tool_call_id or sha256_of(request.body))
        arguments = _parse(request.body)
        keys = CallKeys(
            conversation=":".join(counted_as[1:]),
            turn=0,
            attempt_number=self._requests.add(counted_as),
        )
        received = {"tool": name, "tool_call_id": tool_call_id, "arguments": arguments}
        refusal = self._refusal_of(request, name, arguments)
        if refusal is not None:
            return Answer(keys=keys, plan=refusal, received=received)
        number = self._executions.of(counted_as) + 1
        reply = self._tools[name].reply_to(arguments, number)
        try:
            result = reply.render(
                {"arguments": arguments, "execution": number, "tool": name}
            )
        except TemplateError as error:
            message = f"tools.{name}: {error}"
            plan = _error(_FAILED, "script_error", message)
            return Answer(keys=keys, plan=plan, received=received, script_error=message)

        def execute() -> Facts:
            return {"execution_number": self._executions.add(counted_as)}

        outcome = ToolOutcome(
            tool=name,
            tool_call_id=tool_call_id or self._draws.mint("call_", *counted_as, number),
            execution_number=number,
            result=result,
            error=reply.error,
            delay_s=reply.script.resolve_after_s,
            trace_id=request.trace_id,
            world=world.name,
        )
        is_deferred = reply.script.deferred
        is_told: list[bool] = []
        return Answer(
            keys=keys,
            plan=_plan_of(reply, outcome),
            received={**received, "deferred": is_deferred},
            effect=execute,
            after=(lambda: self._tell(outcome, is_told)) if is_deferred else None,
            before=(lambda: self._tell_early(outcome, is_told))
            if is_deferred
            else None,
        )

    async def _tell_early(self, outcome: ToolOutcome, is_told: list[bool]) -> None:
        if self._resolve_early is not None:
            is_told.append(await self._resolve_early(outcome))

    def _tell(self, outcome: ToolOutcome, is_told: list[bool]) -> None:
        if not any(is_told):
            self._resolve(outcome)

    def _refusal_of(
        self, request: SurfaceRequest, name: str, arguments: Any
    ) -> Plan | None:
        if request.method != "POST":
            return _error(405, "method_not_allowed", "Tools are called with POST.")
        if name not in self._tools:
            known = ", ".join(sorted(self._tools)) or "none"
            message = f"The script has no tool {name!r}; it has: {known}."
            return _error(404, "unknown_tool", message)
        if not isinstance(arguments, dict):
            message = "The body is the arguments: a JSON object."
            return _error(400, "invalid_arguments", message)
        return None


def _plan_of(reply: _CompiledReply, outcome: ToolOutcome) -> Plan:
    if reply.script.deferred:
        return _json(_ACCEPTED, {"status": "accepted", "call_id": outcome.tool_call_id})
    if outcome.error is not None:
        return _json(reply.status, {"error": outcome.error})
    return _json(reply.status, outcome.result)


def _matches(match: ToolMatch, arguments: Mapping[str, Any], number: int) -> bool:
    if match.execution is not None and number not in match.execution:
        return False
    return all(
        _value_at(arguments, path) == wanted for path, wanted in match.arguments.items()
    )


def _value_at(value: Any, path: str) -> Any:
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            # Equal to nothing that JSON can hold.
            return ...
        value = value[part]
    return value


def _parse(body: bytes) -> Any:
    """
    Return the arguments, or the text as it came if it is no JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        return body[:1000].decode("utf-8", "replace")


def _error(status: int, code: str, message: str) -> Plan:
    return _json(status, {"error": {"code": code, "message": message}})


def _json(status: int, value: Any) -> Plan:
    body = to_json_bytes(value)
    headers = (
        ("content-type", "application/json"),
        ("content-length", str(len(body))),
    )
    return (Head(status, headers), Chunk(body, Pace.FIRST_TOKEN), End())
