"""
Texts made from regular expressions are matched by them.
"""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_server.patterns import text_for

PATTERNS = {
    r"^ORD-\d{8}-[A-Z0-9]{5}$": "ORD-00000000-AAAAA",
    r"^[a-z]+$": "a",
    r"^[^a]$": "t",
    r"^\+?[1-9]\d{1,14}$": "10",
    r"^(draft|final)$": "draft",
    r"^(?:a|b){2,3}c*d?$": "aa",
    r"^(?P<year>\d{4})-(?<!x)": None,
    r"^(?P<year>\d{4})$": "0000",
    r"^\S+@\S+\.\w{2,}$": "a@a.aa",
    r"^#[0-9a-fA-F]{6}$": "#aaaaaa",
    r"^\(\d{3}\) \d{3}-\d{4}$": "(000) 000-0000",
    r"^[\w.-]+$": "a",
    r"^[]x]$": "]",
    r"^a\tb$": "a\tb",
    r"^[[x]$": "[",
    r"^[a&&b]$": "a",
    "": "",
}
STRANGE = [
    "(",
    "[",
    "[z-a]",
    "a{99999}",
    "(a{1000}){1000}",
    "((a{100}){100}){100}",
    "*",
    "a)",
    "(?=x)",
    r"\1",
    r"\p{L}",
    "(" * 200 + ")" * 200,
    "\\",
]


# Of some Python itself warns.
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(("pattern", "text"), PATTERNS.items())
def test_text_is_the_shortest(pattern: str, text: str | None) -> None:
    """
    The text is the plain one that is expected, and the expression finds itself in it.
    """
    assert text_for(pattern) == text
    if text is not None:
        assert re.search(pattern, text)


@pytest.mark.parametrize("pattern", STRANGE)
def test_what_is_not_understood_gives_nothing(pattern: str) -> None:
    """
    Broken, boundless and unusual expressions give no text, and none takes long.
    """
    assert text_for(pattern) is None


@given(st.text(alphabet="ab01^$[](){}?*+|\\dws.,-P<>:=!", max_size=30))
def test_any_pattern_ends(pattern: str) -> None:
    """
    Whatever a client calls an expression, it gives a bounded text or none.
    """
    text = text_for(pattern)  # which warns of nothing

    assert text is None or len(text) <= 10_000
