"""
Which requests a rule is for.
"""

from collections.abc import Callable
from typing import Any

import pytest

from mock_server.script import Match, Seen
from mock_server.script.match import compile_match

Ask = Callable[..., Seen]

USER = {"role": "user", "content": "weather in Paris?"}
CALLS = {
    "role": "assistant",
    "tool_calls": [
        {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}},
        {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
    ],
}
RESULTS = [
    {"role": "tool", "tool_call_id": "a", "content": '{"city": {"temp": [22, 3]}}'},
    {"role": "tool", "tool_call_id": "b", "content": "failed"},
]
LOOP = [{"role": "system", "content": "Be brief."}, USER, CALLS, *RESULTS]
TOOL = {"type": "function", "function": {"name": "f"}}

TABLE: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({}, {}, True),
    ({"model": "gpt-4o"}, {}, True),
    ({"model": "gpt-*"}, {}, True),
    ({"model": "gpt-4"}, {}, False),
    ({"last_message": {"role": "user"}}, {}, True),
    ({"last_message": {"role": "tool"}}, {}, False),
    ({"last_message": {"contains": "Paris"}}, {}, True),
    ({"last_message": {"contains": "paris"}}, {}, False),
    ({"last_message": {"regex": "(?i)PARIS"}}, {}, True),
    ({"last_message": {"regex": r"^Paris"}}, {}, False),
    ({"last_message": {"text": "weather in Paris?"}}, {}, True),
    ({"last_message": {"text": "weather"}}, {}, False),
    ({"last_message": {"contains": "Paris", "regex": "weather"}}, {}, True),
    ({"last_message": {"contains": "Paris", "regex": "order"}}, {}, False),
    ({"last_message": {"contains": "Paris"}}, {"messages": LOOP}, False),
    ({"any_message": {"contains": "Paris"}}, {"messages": LOOP}, True),
    ({"any_message": {"role": "system"}}, {"messages": LOOP}, True),
    (
        {"any_message": {"role": "system", "contains": "Paris"}},
        {"messages": LOOP},
        False,
    ),
    ({"turn": 1}, {}, True),
    ({"turn": 2}, {}, False),
    ({"turn": 2}, {"messages": LOOP}, True),
    ({"turn": [1, 2]}, {"messages": LOOP}, True),
    ({"tools": "f"}, {"tools": [TOOL]}, True),
    ({"tools": ["f", "g"]}, {"tools": [TOOL]}, False),
    ({"tools": "f"}, {}, False),
    ({"tools": []}, {}, True),
    ({"tools": []}, {"tools": [TOOL]}, False),
    ({"tool_result": {}}, {}, False),
    ({"tool_result": {}}, {"messages": LOOP}, True),
    ({"tool_result": {"tool": "g"}}, {"messages": LOOP}, True),
    ({"tool_result": {"tool": "h"}}, {"messages": LOOP}, False),
    ({"tool_result": {"tool": "g", "contains": "fail"}}, {"messages": LOOP}, True),
    ({"tool_result": {"tool": "f", "contains": "fail"}}, {"messages": LOOP}, False),
    ({"tool_result": {"value": {"city.temp.0": 22}}}, {"messages": LOOP}, True),
    ({"tool_result": {"value": {"city.temp.9": 22}}}, {"messages": LOOP}, False),
    ({"tool_result": {"value": {"city.none": None}}}, {"messages": LOOP}, False),
    ({"header": {"x-case": "a"}}, {"headers": {"x-case": "a"}}, True),
    ({"header": {"x-case": "a"}}, {"headers": {"x-case": "b"}}, False),
    ({"header": {"x-case": "a"}}, {}, False),
    ({"header": {"x-case": {"regex": "^b"}}}, {"headers": {"x-case": "bb"}}, True),
    ({"stream": True}, {"stream": True}, True),
    ({"stream": True}, {}, False),
    ({"stream": False}, {}, True),
]


@pytest.mark.parametrize(("match", "request_", "holds"), TABLE)
def test_match(
    ask: Ask, match: dict[str, Any], request_: dict[str, Any], *, holds: bool
) -> None:
    """
    All that a match names must hold, and nothing else matters.
    """
    seen = ask("weather in Paris?", **request_)
    conditions = compile_match(Match.model_validate(match))

    assert all(condition.holds(seen) for condition in conditions) is holds


@pytest.mark.parametrize(
    "message", ["hi [#k7f3]", "hi[#k7f3]", "hi [#k7f3] ", "hi [#A-b_1]"]
)
def test_rules_do_not_see_the_tag(ask: Ask, message: str) -> None:
    """
    The tag of an arrival is taken off before anything is matched.
    """
    seen = ask(message)

    assert seen.last.text == "hi"
    assert seen.user_text == "hi"
    assert seen.tag in {"k7f3", "A-b_1"}


def test_tag_is_found_in_a_prompt(ask: Ask) -> None:
    """
    A service may wrap what the user said; the latest tag is the arrival's.
    """
    seen = ask("Before: hello [#aaaa]. Asked: weather? [#k7f3]\nAnswer in one line.")

    assert seen.tag == "k7f3"
    assert seen.user_text.endswith("Asked: weather?\nAnswer in one line.")


@pytest.mark.parametrize(
    "message",
    ["hi", "a [#b] c", "hi [#]", "hi [# k]", "see [#12345] there", "x[#k7f3]y"],
)
def test_what_is_no_tag_stays(ask: Ask, message: str) -> None:
    """
    Only the bench's own form is a tag, or one at the very end.
    """
    assert ask(message).last.text == message
    assert ask(message).tag is None


def test_parts_are_one_text(ask: Ask) -> None:
    """
    A message of several text parts is matched as their text.
    """
    parts = [{"type": "text", "text": "weather "}, {"type": "text", "text": "now"}]
    seen = ask(messages=[{"role": "user", "content": parts}])

    assert seen.last.text == "weather now"
