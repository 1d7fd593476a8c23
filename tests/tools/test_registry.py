import asyncio
from collections.abc import Callable
from typing import Any, Literal

import pytest

from harness.clock import Clock
from harness.errors import (
    DeadlineExceededError,
    InvalidArgumentsError,
    LimitExceededError,
    OptionsError,
    ToolFailedError,
    ToolTimeoutError,
    UnknownToolError,
    UsageError,
)
from harness.ids import ToolCallId
from harness.resilience import Deadline
from harness.tools import (
    Deferred,
    ToolContext,
    ToolRegistry,
    ToolResult,
    ToolSpec,
)

pytestmark = pytest.mark.virtual_time


@pytest.fixture
def registry(clock: Clock) -> ToolRegistry:
    """
    Return an empty registry.
    """
    return ToolRegistry(clock=clock)


def spec(name: str = "f", **others: Any) -> ToolSpec:
    """
    Return a spec with nothing in it.
    """
    parameters = others.pop("parameters", {"type": "object"})
    return ToolSpec(name=name, description="", parameters=parameters, **others)


def constantly(value: Any) -> Callable[[dict[str, Any], ToolContext], Any]:
    """
    Return a tool that always answers this.
    """
    return lambda _arguments, _context: value


def raising(error: Exception) -> Callable[[dict[str, Any], ToolContext], Any]:
    """
    Return a tool that always raises this.
    """

    def run(_arguments: dict[str, Any], _context: ToolContext) -> Any:
        raise error

    return run


async def forever(_arguments: dict[str, Any], _context: ToolContext) -> None:
    """
    Run until cancelled.
    """
    await asyncio.get_running_loop().create_future()


def test_lists_tools(registry: ToolRegistry) -> None:
    """
    The list for the model has each tool in the shape of the wire, in order.
    """
    registry.register(spec("b"), constantly(1))
    registry.register(spec("a"), constantly(1))

    assert registry.openai_tools() == [
        {
            "type": "function",
            "function": {
                "name": name,
                "description": "",
                "parameters": {"type": "object"},
            },
        }
        for name in "ba"
    ]
    assert [tool.name for tool in registry.specs()] == ["b", "a"]


async def test_executes_functions(registry: ToolRegistry, context: ToolContext) -> None:
    """
    Plain functions and coroutines are run with the arguments and the context.
    """

    async def asynchronous(arguments: dict[str, Any], context: ToolContext) -> Any:
        return ToolResult([arguments, context.tool_call_id])

    registry.register(spec("sync"), lambda arguments, _context: arguments["x"] + 1)
    registry.register(spec("async"), asynchronous)

    assert await registry.execute("sync", {"x": 1}, context) == ToolResult(2)
    assert await registry.execute("async", {"x": 1}, context) == ToolResult(
        [{"x": 1}, "call_a"]
    )


async def test_decorates(registry: ToolRegistry, context: ToolContext) -> None:
    """
    A decorated function is a tool: name, description and schema come from itself.
    """

    @registry.tool()
    def get_weather(
        city: str, unit: Literal["celsius", "fahrenheit"] = "celsius"
    ) -> dict[str, str]:
        """
        Tell the weather of a city.

        More that the model need not know.
        """
        return {"city": city, "unit": unit}

    arguments = registry.check("get_weather", '{"city": "Paris"}')
    result = await registry.execute("get_weather", arguments, context)

    assert get_weather("Rome")["city"] == "Rome"
    assert result == ToolResult({"city": "Paris", "unit": "celsius"})
    assert registry.openai_tools()[0]["function"] == {
        "name": "get_weather",
        "description": "Tell the weather of a city.",
        "parameters": {
            "type": "object",
            "properties": {
                "city": {"type": "string"},
                "unit": {
                    "type": "string",
                    "enum": ["celsius", "fahrenheit"],
                    "default": "celsius",
                },
            },
            "required": ["city"],
            "additionalProperties": False,
        },
    }


async def test_gives_context_to_decorated(
    registry: ToolRegistry, context: ToolContext
) -> None:
    """
    A decorated function that wants the context gets it, and the model sees none of it.
    """

    @registry.tool(name="who", description="Who?")
    async def named(context: ToolContext) -> str:
        return context.tool_call_id

    assert registry.openai_tools()[0]["function"]["parameters"]["properties"] == {}
    assert await registry.execute("who", {}, context) == ToolResult("call_a")


def test_refuses_arguments(registry: ToolRegistry) -> None:
    """
    Arguments are checked against the schema of the tool they are for.
    """
    registry.register(
        spec(parameters={"type": "object", "required": ["x"]}), constantly(1)
    )

    assert registry.check("f", '{"x": 1}') == {"x": 1}
    with pytest.raises(InvalidArgumentsError):
        registry.check("f", "{}")


async def test_refuses_unknown_tool(
    registry: ToolRegistry, context: ToolContext
) -> None:
    """
    A name nobody registered is refused with the names that are there.
    """
    registry.register(spec("known"), constantly(1))

    with pytest.raises(UnknownToolError, match="there are known"):
        registry.check("guess", "{}")
    with pytest.raises(UnknownToolError):
        await registry.execute("guess", {}, context)
    with pytest.raises(UnknownToolError):
        registry.remove("guess")
    with pytest.raises(UnknownToolError):
        registry.update(spec("guess"))


async def test_changes_while_running(
    registry: ToolRegistry, context: ToolContext
) -> None:
    """
    A running execution ends as it began, whatever happens to its tool meanwhile.
    """
    started, release = asyncio.Event(), asyncio.Event()

    async def old(_arguments: dict[str, Any], _context: ToolContext) -> str:
        started.set()
        await release.wait()
        return "old"

    registry.register(spec(), old)
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(registry.execute("f", {}, context))
        await started.wait()
        registry.register(spec(), constantly("new"), replace=True)
        answer = await registry.execute("f", {}, context)
        registry.remove("f")
        release.set()

    assert running.result() == ToolResult("old")
    assert answer == ToolResult("new")
    assert registry.openai_tools() == []


async def test_updates_spec(registry: ToolRegistry, context: ToolContext) -> None:
    """
    An update changes what the model is told; what runs the tool stays.
    """
    registry.register(spec(), constantly("same"))

    registry.update(spec(parameters={"type": "object", "required": ["x"]}))

    with pytest.raises(InvalidArgumentsError):
        registry.check("f", "{}")
    assert await registry.execute("f", {"x": 1}, context) == ToolResult("same")


def test_refuses_taken_name(registry: ToolRegistry) -> None:
    """
    A second tool of a name is refused unless it is to replace the first.
    """
    registry.register(spec(), constantly(1))

    with pytest.raises(UsageError, match="already"):
        registry.register(spec(), constantly(2))


def test_keeps_tool_when_replacement_is_broken(registry: ToolRegistry) -> None:
    """
    A broken replacement leaves the tool as it was.
    """
    registry.register(spec(), constantly(1))

    with pytest.raises(UsageError):
        registry.update(spec(parameters={"type": "string"}))

    assert registry.spec("f") == spec()


def test_bounds_tools(clock: Clock) -> None:
    """
    There are at most as many tools as a request to the model takes.
    """
    registry = ToolRegistry(clock=clock, tools_max=1)
    registry.register(spec("a"), constantly(1))

    with pytest.raises(LimitExceededError, match="tools_max"):
        registry.register(spec("b"), constantly(1))
    registry.register(spec("a"), constantly(2), replace=True)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": ""},
        {"name": "a b"},
        {"name": "x" * 65},
        {"name": "é"},
        {"timeout_s": 0},
    ],
)
def test_refuses_spec(wrong: dict[str, Any]) -> None:
    """
    A spec that no model API would take is refused when it is made.
    """
    with pytest.raises(OptionsError):
        spec(**wrong)


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        (raising(ValueError("password is hunter2")), "internal error (ValueError)"),
        (raising(TimeoutError()), "internal error (TimeoutError)"),
        (constantly(object()), "its result has no form in JSON"),
        (constantly("x" * 300_000), "its result has 300002 bytes"),
        (constantly(Deferred()), "it deferred its result and is not deferred"),
    ],
)
async def test_fails_call(
    registry: ToolRegistry,
    context: ToolContext,
    function: Callable[..., Any],
    reason: str,
) -> None:
    """
    Whatever goes wrong in a tool fails its call, and tells no more than it may.
    """
    registry.register(spec(), function)

    with pytest.raises(ToolFailedError) as caught:
        await registry.execute("f", {}, context)

    assert caught.value.reason.startswith(reason)
    assert "hunter2" not in str(caught.value)


async def test_takes_result_at_the_limit(clock: Clock, context: ToolContext) -> None:
    """
    A result may have as many bytes as allowed.
    """
    registry = ToolRegistry(clock=clock, result_bytes_max=5)
    registry.register(spec(), constantly("abc"))

    assert await registry.execute("f", {}, context) == ToolResult("abc")


async def test_keeps_reason_of_tool(
    registry: ToolRegistry, context: ToolContext
) -> None:
    """
    A tool that says itself why it failed is quoted.
    """
    error = ToolFailedError(tool="f", reason="no such order")
    registry.register(spec(), raising(error))

    with pytest.raises(ToolFailedError) as caught:
        await registry.execute("f", {}, context)

    assert caught.value is error


async def test_defers(registry: ToolRegistry, context: ToolContext) -> None:
    """
    A deferred tool may say that its result comes later, or give it at once.
    """
    registry.register(spec("later", deferred=True), constantly(Deferred()))
    registry.register(spec("now", deferred=True), constantly(1))

    assert await registry.execute("later", {}, context) == Deferred()
    assert await registry.execute("now", {}, context) == ToolResult(1)


async def test_makes_results_plain(
    registry: ToolRegistry, context: ToolContext
) -> None:
    """
    A result is what its JSON says, so that everybody sees the same.
    """
    registry.register(spec(), constantly({"a": (1, 2)}))

    assert await registry.execute("f", {}, context) == ToolResult({"a": [1, 2]})


async def test_bounds_time(registry: ToolRegistry, context: ToolContext) -> None:
    """
    An execution that takes longer than it may is ended.
    """
    registry.register(spec(timeout_s=0.01), forever)

    with pytest.raises(ToolTimeoutError) as caught:
        await registry.execute("f", {}, context)

    assert caught.value.timeout_s == 0.01


async def test_keeps_deadline(registry: ToolRegistry, clock: Clock) -> None:
    """
    The end of the whole chat ends its executions, and starts none.
    """
    registry.register(spec(), forever)
    context = ToolContext(
        tool_call_id=ToolCallId("a"), deadline=Deadline.after(clock, 0.01)
    )

    for _ in range(2):
        with pytest.raises(DeadlineExceededError):
            await registry.execute("f", {}, context)


async def test_passes_cancellation_on(
    registry: ToolRegistry, context: ToolContext
) -> None:
    """
    A cancelled execution is cancelled, and no failure.
    """
    registry.register(spec(), forever)

    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(registry.execute("f", {}, context))
        tasks.create_task(cancel_soon(task))

    assert task.cancelled()


async def cancel_soon(task: asyncio.Task[Any]) -> None:
    """
    Cancel a task that has begun.
    """
    task.cancel()


def test_refuses_annotation(registry: ToolRegistry) -> None:
    """
    A function whose arguments have no form in JSON Schema is no tool.
    """
    with pytest.raises(UsageError, match="no schema"):

        @registry.tool()
        def draw(on: asyncio.Queue[int]) -> None: ...
