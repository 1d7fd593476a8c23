"""
Text as tokens.

Without a tokenizer's tables tokens are an estimate, the same everywhere: a token is
four characters of text. Whatever counts or cuts tokens asks the tokenizer here.
"""

from typing import Final, Protocol

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


TOKENIZER: Final[Tokenizer] = Estimate()
"""What the mock counts with."""
