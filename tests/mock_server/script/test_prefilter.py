"""
The prefilter leaves out only rules that cannot match.
"""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_server.script.prefilter import RULES_MIN, Prefilter, literal_of

PATTERNS = [
    (r"order-\d+ of [A-Z]+", "order-"),
    (r"weather", "weather"),
    (r"^weather in (Paris|Rome)$", None),
    (r"a|weather", None),
    (r"(?i)weather", None),
    (r"weathers?", "weather"),
    (r"colou*r", "colo"),
    (r"wea+ther", "ther"),
    (r"what\.is\?", "what.is?"),
    (r"\d{4}-id", "-id"),
    (r"[abc]def", "def"),
    (r"[]x]def", "def"),
    (r"(optional)?fixed", "fixed"),
    (r"(?P<name>x)fixed", "fixed"),
    (r"(?=ahead)fixed", "fixed"),
    (r".*", None),
    (r"ab{0}cd", "cd"),
]


@pytest.mark.parametrize(("pattern", "literal"), PATTERNS)
def test_literal_of(pattern: str, literal: str | None) -> None:
    """
    The literal of a pattern is a text that all its matches contain.
    """
    assert literal_of(pattern) == literal


LITERALS = st.text(alphabet="abc ", max_size=8)


@given(literals=st.lists(LITERALS, max_size=80), text=LITERALS.map(lambda t: t * 3))
def test_candidates_hold_every_match(literals: list[str], text: str) -> None:
    """
    Every rule whose literal is in the text is a candidate, in the rules' order.
    """
    found = list(Prefilter(literals).candidates(text))

    assert found == sorted(set(found))
    assert {n for n, literal in enumerate(literals) if literal in text} <= set(found)


@given(text=st.text(alphabet="order-17 ofMAYwhethrcusd.?", max_size=30))
def test_a_matching_text_holds_the_literal(text: str) -> None:
    """
    Wherever a pattern matches, its literal is in the text.
    """
    for pattern, literal in PATTERNS:
        if literal is not None and re.search(pattern, text):
            assert literal in text


def test_most_rules_are_left_out() -> None:
    """
    Among many rules only those are asked that share four characters with the text.
    """
    literals = [f"question number {number} about" for number in range(1000)]
    prefilter = Prefilter([*literals, None, "weather in Paris"])

    assert list(prefilter.candidates("the weather in Paris")) == [1000, 1001]
    assert 417 in list(prefilter.candidates("ask question number 417 about it"))
    assert len(list(prefilter.candidates("ask question number 417 about it"))) < 100


def test_few_rules_are_all_asked() -> None:
    """
    With few rules the filter would cost more than it saves.
    """
    assert list(Prefilter(["abcdef"] * (RULES_MIN - 1)).candidates("xyz")) == list(
        range(RULES_MIN - 1)
    )
