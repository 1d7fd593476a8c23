"""
How text is counted in tokens.
"""

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from mock_server import MockOptions, serve
from mock_server.tokens import TOKENIZER, Encoding, Estimate, Tokenizer
from mock_server.wire.tokens import count_tokens

TEXTS = [
    "",
    "hello world, how are you?",
    "grüße 😀 aus Köln",
    "a\ud800b",
    "\n\n  x" * 50,
]


class ThreeBytes:
    """
    An encoding whose tokens are three bytes each.
    """

    def encode_ordinary(self, text: str) -> list[int]:
        """
        Return the tokens of a text.
        """
        data = text.encode()
        pieces = [data[start : start + 3] for start in range(0, len(data), 3)]
        return [int.from_bytes(b"\1" + piece) for piece in pieces]

    def decode_bytes(self, numbers: list[int]) -> bytes:
        """
        Return the bytes of some tokens.
        """
        return b"".join(number.to_bytes(4).lstrip(b"\0")[1:] for number in numbers)


@pytest.mark.parametrize("tokenizer", [Estimate(), Encoding(ThreeBytes())])
@pytest.mark.parametrize("text", TEXTS, ids=range(len(TEXTS)))
def test_the_tokens_of_a_text_are_the_text(tokenizer: Tokenizer, text: str) -> None:
    """
    Joined they are what was counted, and what is cut begins like it.
    """
    valid = text.encode("utf-8", "replace").decode()

    assert "".join(tokenizer.split(valid)) == valid
    assert len(tokenizer.split(valid)) <= tokenizer.count(valid)
    assert tokenizer.cut(valid, 1000) == valid
    assert valid.startswith(tokenizer.cut(valid, 2))
    assert tokenizer.count(tokenizer.cut(valid, 2)) <= 2


@pytest.fixture
def _estimate_again() -> Iterator[None]:
    yield
    TOKENIZER.use("estimate")


@pytest.mark.usefixtures("_estimate_again")
def test_everything_is_counted_by_the_tokenizer_that_is_chosen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """
    Once a tokenizer is chosen, usage and quotas speak of its tokens.
    """
    tables: Any = ModuleType("bpe_openai")
    tables.get_encoding = {"o200k_base": ThreeBytes()}.__getitem__
    monkeypatch.setitem(sys.modules, "bpe_openai", tables)

    TOKENIZER.use("o200k_base")

    assert count_tokens("twelve bytes") == 4
    assert TOKENIZER.name == "o200k_base"


def test_a_tokenizer_without_its_tables_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """
    A mock that could only estimate does not pretend to count.
    """
    monkeypatch.setitem(sys.modules, "bpe_openai", None)

    assert serve(MockOptions(port=0), tokenizer="o200k_base") == 2
    assert "needs the package bpe-openai" in capsys.readouterr().err
    assert serve(MockOptions(port=0), tokenizer="words") == 2
    assert "words is none of estimate, o200k_base" in capsys.readouterr().err
    assert TOKENIZER.name == "estimate"
