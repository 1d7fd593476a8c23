"""
Faults in what the model says: tool calls that cannot be used as they are.
"""

import json
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from msgspec.structs import replace

from mock_server.faults.fault import Fault, FaultContext, Level, NullIsName, Target


class ArgumentsKind(StrEnum):
    """
    What is wrong with a call's arguments.
    """

    TRUNCATED = "truncated"
    """The second half is missing."""

    TRAILING_COMMA = "trailing_comma"
    SINGLE_QUOTES = "single_quotes"
    ENCODED_TWICE = "encoded_twice"
    """A JSON string that holds the JSON."""

    CODE_FENCE = "code_fence"
    TEXT_AROUND = "text_around"
    NAN = "nan"
    """A further key with the value NaN, which is no JSON."""

    DOUBLED_KEYS = "doubled_keys"
    """Every key twice, the second time with null."""

    EMPTY = "empty"
    """The empty text."""

    NULL = "null"
    NOT_OBJECT = "not_object"
    """A list with the arguments in it."""

    DEEP = "deep"
    """A further key, 10,000 lists deep."""

    HUGE = "huge"
    """A further key with a text of 1 MB."""


_LEVELS = 10_000
_DEEP = "[" * _LEVELS + "]" * _LEVELS
_HUGE = "x" * 1_000_000
_QUOTED = "{'key':1}"
"""Where there is nothing to quote."""


def break_arguments(text: str, kind: ArgumentsKind) -> str:
    """
    Return the arguments of a tool call with that mistake.
    """
    opened = text.rstrip().removesuffix("}")
    comma = "" if opened.strip() in {"", "{"} else ","
    broken = {
        ArgumentsKind.TRUNCATED: text[: len(text) // 2] or "{",
        ArgumentsKind.TRAILING_COMMA: f"{opened},}}",
        ArgumentsKind.SINGLE_QUOTES: text.replace('"', "'") if '"' in text else _QUOTED,
        ArgumentsKind.ENCODED_TWICE: json.dumps(text),
        ArgumentsKind.CODE_FENCE: f"```json\n{text}\n```",
        ArgumentsKind.TEXT_AROUND: f"Here are the arguments:\n{text}\nDone.",
        ArgumentsKind.NAN: f'{opened}{comma}"score":NaN}}',
        ArgumentsKind.DOUBLED_KEYS: _doubled_keys(text),
        ArgumentsKind.EMPTY: "",
        ArgumentsKind.NULL: "null",
        ArgumentsKind.NOT_OBJECT: f"[{text}]",
        ArgumentsKind.DEEP: f'{opened}{comma}"deep":{_DEEP}}}',
        ArgumentsKind.HUGE: f'{opened}{comma}"huge":"{_HUGE}"}}',
    }
    return broken[kind]


def _doubled_keys(text: str) -> str:
    try:
        values = json.loads(text)
    except ValueError:
        return text
    if not isinstance(values, dict):
        return text
    pairs = [
        f"{json.dumps(key)}:{json.dumps(value)},{json.dumps(key)}:null"
        for key, value in (values or {"key": 1}).items()
    ]
    return "{" + ",".join(pairs) + "}"


class Arguments(Fault):
    """
    Sends tool calls whose arguments are not what the schema, or JSON, allows.
    """

    name: ClassVar[str] = "arguments"
    level: ClassVar[Level] = Level.REPLY
    targets: ClassVar[frozenset[Target]] = frozenset({Target.UPSTREAM})
    needs_tool_calls: ClassVar[bool] = True

    kind: Annotated[ArgumentsKind, NullIsName] = ArgumentsKind.TRUNCATED
    """What is wrong with them."""

    calls: Literal["all", "first"] = "all"
    """Which of the reply's tool calls."""

    def on_reply(self, reply: Any, context: FaultContext) -> Any:
        """
        Return the reply with the broken arguments.
        """
        del context
        changed = tuple(
            replace(call, arguments=break_arguments(call.arguments, self.kind))
            if index == 0 or self.calls == "all"
            else call
            for index, call in enumerate(reply.tool_calls)
        )
        return replace(reply, tool_calls=changed)


class UnknownTool(Fault):
    """
    Calls a tool that nobody offered, instead of the first one.
    """

    name: ClassVar[str] = "unknown_tool"
    level: ClassVar[Level] = Level.REPLY
    targets: ClassVar[frozenset[Target]] = frozenset({Target.UPSTREAM})
    needs_tool_calls: ClassVar[bool] = True

    tool: str = "no_such_tool"
    """The name that is called."""

    def on_reply(self, reply: Any, context: FaultContext) -> Any:
        """
        Return the reply with the other name.
        """
        del context
        first, *others = reply.tool_calls
        return replace(reply, tool_calls=(replace(first, name=self.tool), *others))
