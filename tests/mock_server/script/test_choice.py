"""
A reply obeys the request's tool choice, as a model would.
"""

from collections.abc import Callable
from typing import Any

import pytest

from mock_server.script import (
    DrawnCall,
    DrawnReply,
    Seen,
    finish_reason_of,
    obey_choice,
)

Ask = Callable[..., Seen]

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}},
        },
    }
    for name in ("f", "g")
]
TEXT = DrawnReply(text="hello")
CALLS = DrawnReply(tool_calls=(DrawnCall("f", "{}"), DrawnCall("g", "{}")))


def allowed(mode: str, *names: str) -> dict[str, Any]:
    """
    Return a choice of some tools.
    """
    tools = [{"type": "function", "function": {"name": name}} for name in names]
    return {
        "type": "allowed_tools",
        "allowed_tools": {"mode": mode, "tools": tools},
    }


NAMED_G = {"type": "function", "function": {"name": "g"}}

TABLE: list[tuple[Any, DrawnReply, list[str], str | None, str]] = [
    (None, TEXT, [], "hello", "stop"),
    (None, CALLS, ["f", "g"], None, "tool_calls"),
    ("auto", TEXT, [], "hello", "stop"),
    ("auto", CALLS, ["f", "g"], None, "tool_calls"),
    ("none", TEXT, [], "hello", "stop"),
    ("none", CALLS, [], "You said: hi", "stop"),
    ("required", TEXT, ["f"], None, "tool_calls"),
    ("required", CALLS, ["f", "g"], None, "tool_calls"),
    (NAMED_G, TEXT, ["g"], None, "stop"),
    (NAMED_G, CALLS, ["g"], None, "stop"),
    (allowed("auto", "g"), CALLS, ["g"], None, "tool_calls"),
    (allowed("auto", "h"), CALLS, [], "You said: hi", "stop"),
    (allowed("required", "g"), TEXT, ["g"], None, "tool_calls"),
    (allowed("auto", "g"), TEXT, [], "hello", "stop"),
]


@pytest.mark.parametrize(("choice", "drawn", "names", "text", "reason"), TABLE)
def test_tool_choice(
    ask: Ask,
    choice: Any,
    drawn: DrawnReply,
    names: list[str],
    text: str | None,
    reason: str,
) -> None:
    """
    None, auto, required, a named tool and a list of allowed ones are all obeyed.
    """
    seen = ask("hi", tools=TOOLS, tool_choice=choice)

    obeyed = obey_choice(drawn, seen)

    assert [call.name for call in obeyed.tool_calls] == names
    assert obeyed.text == text
    assert finish_reason_of(obeyed, seen.request) == reason


def test_forced_call_has_arguments_of_its_schema(ask: Ask) -> None:
    """
    A call that nobody scripted has arguments that the tool's schema allows.
    """
    seen = ask("hi", tools=TOOLS, tool_choice=NAMED_G)

    assert obey_choice(TEXT, seen).tool_calls[0].arguments == '{"n":1}'


def test_no_parallel_calls(ask: Ask) -> None:
    """
    Without parallel calls there is at most one.
    """
    seen = ask("hi", tools=TOOLS, parallel_tool_calls=False)

    assert [call.name for call in obey_choice(CALLS, seen).tool_calls] == ["f"]


def test_scripted_finish_reason_stays(ask: Ask) -> None:
    """
    A script may say why the model stopped.
    """
    drawn = DrawnReply(text="cut", finish_reason="length")

    assert finish_reason_of(drawn, ask("hi").request) == "length"
