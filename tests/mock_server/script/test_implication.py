"""
One match holds wherever another does, or that cannot be told.
"""

from typing import Any

import pytest

from mock_server.script import Match
from mock_server.script.implication import implies

TABLE: list[tuple[dict[str, Any], dict[str, Any], bool]] = [
    ({}, {}, True),
    ({"model": "a"}, {}, True),
    ({}, {"model": "a"}, False),
    ({}, {"model": "*"}, True),
    ({"model": "gpt-4o"}, {"model": "gpt-*"}, True),
    ({"model": "gpt-*"}, {"model": "gpt-*"}, True),
    ({"model": "gpt-*"}, {"model": "gpt-?"}, False),
    ({"model": "o1"}, {"model": "gpt-*"}, False),
    ({"stream": True}, {"stream": True}, True),
    ({"stream": True}, {"stream": False}, False),
    ({}, {"stream": False}, False),
    ({"turn": 1}, {"turn": [1, 2]}, True),
    ({"turn": [1, 2]}, {"turn": 1}, False),
    ({}, {"turn": 1}, False),
    ({"tools": ["a", "b"]}, {"tools": ["a"]}, True),
    ({"tools": ["a"]}, {"tools": ["a", "b"]}, False),
    ({"tools": []}, {"tools": []}, True),
    ({"tools": ["a"]}, {"tools": []}, False),
    ({}, {"tools": []}, False),
    ({"last_message": {"role": "user"}}, {"last_message": {"role": "user"}}, True),
    ({"last_message": {"role": "user"}}, {"last_message": {}}, True),
    ({"last_message": {}}, {"last_message": {"role": "user"}}, False),
    ({}, {"last_message": {"role": "user"}}, False),
    (
        {"last_message": {"contains": "my order"}},
        {"last_message": {"contains": "order"}},
        True,
    ),
    (
        {"last_message": {"contains": "order"}},
        {"last_message": {"contains": "my order"}},
        False,
    ),
    ({"last_message": {"text": "abc"}}, {"last_message": {"contains": "b"}}, True),
    ({"last_message": {"contains": "abc"}}, {"last_message": {"text": "abc"}}, False),
    ({"last_message": {"text": "abc"}}, {"last_message": {"regex": "^a"}}, True),
    ({"last_message": {"contains": "abc"}}, {"last_message": {"regex": "a"}}, False),
    ({"last_message": {"regex": "a+"}}, {"last_message": {"regex": "a+"}}, True),
    ({"tool_result": {}}, {"last_message": {"role": "tool"}}, True),
    ({"last_message": {"role": "tool"}}, {"tool_result": {}}, False),
    ({"tool_result": {"tool": "a"}}, {"tool_result": {}}, True),
    ({"tool_result": {}}, {"tool_result": {"tool": "a"}}, False),
    (
        {"tool_result": {"value": {"a": 1, "b": 2}}},
        {"tool_result": {"value": {"a": 1}}},
        True,
    ),
    ({"tool_result": {"value": {"a": 1}}}, {"tool_result": {"value": {"a": 2}}}, False),
    (
        {"any_message": {"contains": "ab"}},
        {"any_message": {"contains": "a"}},
        True,
    ),
    (
        {"last_message": {"role": "user", "contains": "ab"}},
        {"any_message": {"contains": "a"}},
        True,
    ),
    ({}, {"any_message": {"contains": "a"}}, False),
    ({"header": {"X-A": "1", "x-b": "2"}}, {"header": {"x-a": "1"}}, True),
    ({"header": {"x-a": "1"}}, {"header": {"x-a": "2"}}, False),
    ({}, {"header": {"x-a": "1"}}, False),
]


@pytest.mark.parametrize(("narrow", "wide", "expected"), TABLE)
def test_implies(
    narrow: dict[str, Any], wide: dict[str, Any], *, expected: bool
) -> None:
    """
    What is not certain is taken not to be so.
    """
    assert implies(Match.model_validate(narrow), Match.model_validate(wide)) is expected
