"""
Text as tokens.

Tokens are an estimate by default, the same everywhere: a token is four characters of
text. The API's own tokenizers can be had instead, from a package that brings their
tables along. Whatever counts or cuts tokens asks the tokenizer here.
"""

from functools import lru_cache
from importlib import import_module
from typing import Any, Final, Protocol

CHARACTERS_PER_TOKEN: Final = 4


class Tokenizer(Protocol):
    """
    Turns a text into its tokens.
    """

    def count(self, text: str) -> int:
        """
        Return how many tokens a text has.
        """

    def split(self, text: str) -> list[str]:
        """
        Return the tokens of a text, which joined are the text.
        """

    def cut(self, text: str, tokens_max: int) -> str:
        """
        Return the first tokens of a text.
        """


class Estimate:
    """
    A token for every four characters, rounded up.
    """

    def count(self, text: str) -> int:
        """
        Return how many tokens a text has.
        """
        return -(-len(text) // CHARACTERS_PER_TOKEN)

    def split(self, text: str) -> list[str]:
        """
        Return the tokens of a text, which joined are the text.
        """
        return [
            text[start : start + CHARACTERS_PER_TOKEN]
            for start in range(0, len(text), CHARACTERS_PER_TOKEN)
        ]

    def cut(self, text: str, tokens_max: int) -> str:
        """
        Return the first tokens of a text.
        """
        return text[: tokens_max * CHARACTERS_PER_TOKEN]


class Encoding:
    """
    The tokens of a model's own tables.

    Args:
        encoding: Turns text into numbers and back.
    """

    def __init__(self, encoding: Any) -> None:
        self._encoding = encoding
        self.count = lru_cache(_COUNTS_KEPT_MAX)(self._count)

    def _count(self, text: str) -> int:
        return len(self._encode(text))

    def split(self, text: str) -> list[str]:
        """
        Return the tokens of a text, which joined are the text.

        A character that has several tokens is one piece here.
        """
        pieces: list[str] = []
        held = b""
        for number in self._encode(text):
            held += self._encoding.decode_bytes([number])
            try:
                pieces.append(held.decode())
            except UnicodeDecodeError:
                continue
            held = b""
        return pieces

    def cut(self, text: str, tokens_max: int) -> str:
        """
        Return the first tokens of a text, without a character that is cut in two.
        """
        numbers = self._encode(text)
        if len(numbers) <= tokens_max:
            return text
        data: bytes = self._encoding.decode_bytes(numbers[:tokens_max])
        return data.decode("utf-8", "ignore")

    def _encode(self, text: str) -> list[int]:
        # Half of a character pair is no text to it.
        valid = text.encode("utf-8", "replace").decode()
        numbers: list[int] = self._encoding.encode_ordinary(valid)
        return numbers


class NoTokenizerError(Exception):
    """
    There is no such tokenizer, or the package that has its tables is not installed.
    """

    def __init__(self, name: str) -> None:
        if name in TOKENIZERS:
            reason = (
                "needs the package bpe-openai, which brings its tables along; "
                f"without it there is only {ESTIMATE!r}"
            )
        else:
            reason = f"is none of {', '.join(TOKENIZERS)}"
        super().__init__(f"tokenizer {name} {reason}")


class ChosenTokenizer:
    """
    The tokenizer of this process: the estimate, unless another is chosen.
    """

    def __init__(self) -> None:
        self.use(ESTIMATE)

    def use(self, name: str) -> None:
        """
        Count with this one from here on.

        Raises:
            NoTokenizerError: It is not to be had.
        """
        chosen: Tokenizer = Estimate()
        if name not in TOKENIZERS:
            raise NoTokenizerError(name)
        if name != ESTIMATE:
            try:
                tables = import_module("bpe_openai")
            except ImportError as error:
                raise NoTokenizerError(name) from error
            chosen = Encoding(tables.get_encoding(name))
        self.name = name
        self.is_estimate = name == ESTIMATE
        """Who counts much may then divide lengths itself."""

        self.count = chosen.count
        self.split = chosen.split
        self.cut = chosen.cut


ESTIMATE: Final = "estimate"
TOKENIZERS: Final = (ESTIMATE, "o200k_base", "cl100k_base")
_COUNTS_KEPT_MAX: Final = 4096

TOKENIZER: Final = ChosenTokenizer()
"""What the mock counts with."""
