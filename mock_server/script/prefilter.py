"""
Which of many rules can match a text at all.

Each rule that asks something of the last message's text is filed under four
characters that any matching text must hold. The text's own fours then find the few
rules worth asking, however many there are.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

GRAM_LENGTH = 4

RULES_MIN = 32
"""With fewer rules it is quicker to ask them all."""

_PLAIN = re.compile(r"[A-Za-z0-9 _\-'\",:;/@#%&=!<>~]")
_ESCAPED_PLAIN = re.compile(r"\\[^A-Za-z0-9]")
_OPTIONAL = frozenset("?*{")


class Prefilter:
    """
    Finds candidates among rules that are numbered from 0.

    Args:
        literals: For each rule a text that every match contains; None if there is
            none, and the rule is then always a candidate.
    """

    def __init__(self, literals: Sequence[str | None]) -> None:
        self._count = len(literals)
        self._all = range(self._count)
        self._always: list[int] = []
        self._by_gram: dict[str, list[int]] = {}
        counts = Counter(gram for literal in literals for gram in _grams(literal or ""))
        for number, literal in enumerate(literals):
            # The rarest four tells rules apart that have most of their words alike.
            gram = min(_grams(literal or ""), key=counts.__getitem__, default=None)
            if gram is None:
                self._always.append(number)
            else:
                self._by_gram.setdefault(gram, []).append(number)

    def candidates(self, text: str) -> Iterable[int]:
        """
        Return the numbers of the rules that can match, in their order.
        """
        if self._count < RULES_MIN or len(text) > self._count * GRAM_LENGTH:
            return self._all
        found = self._always.copy()
        for gram in self._by_gram.keys() & _grams(text):
            found += self._by_gram[gram]
        found.sort()
        return found


def _grams(text: str) -> set[str]:
    return {
        text[start : start + GRAM_LENGTH]
        for start in range(len(text) - GRAM_LENGTH + 1)
    }


def literal_of(pattern: str) -> str | None:
    """
    Return the longest text that every match of a regular expression contains.

    Cautious: None where alternatives or flags leave it in doubt.
    """
    if "|" in pattern or re.search(r"\(\?[a-zA-Z-]", pattern.replace("(?P", "(")):
        return None
    best = run = ""
    index = depth = 0
    while index < len(pattern):
        part = _part_at(pattern, index)
        index += len(part)
        depth += (part == "(") - (part == ")")
        quantifier = pattern[index : index + 1]
        is_plain = _PLAIN.fullmatch(part) or _ESCAPED_PLAIN.fullmatch(part)
        if depth == 0 and is_plain and quantifier not in _OPTIONAL:
            run += part[-1]
            best = max(best, run, key=len)
            if quantifier == "+":
                run = ""
        else:
            run = ""
    return best or None


def _part_at(pattern: str, index: int) -> str:
    """
    Return an escape, a whole character class, or one character.
    """
    if pattern[index] == "\\":
        return pattern[index : index + 2]
    if pattern[index] == "[":
        end = index + 2 if pattern[index + 1 : index + 2] == "]" else index + 1
        end += pattern[index + 1 : index + 3] == "^]"
        while end < len(pattern) and pattern[end] != "]":
            end += 2 if pattern[end] == "\\" else 1
        return pattern[index : end + 1]
    return pattern[index]
