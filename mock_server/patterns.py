"""
Regular expressions read backwards: the shortest plain text that one matches.

What the expressions of JSON Schemas are made of is understood: characters, classes,
groups, alternatives, repetitions, anchors. Look-arounds and back references are not.
"""

import re
import warnings
from typing import Final

_TEXT_MAX: Final = 10_000
"""Repetitions of repetitions grow quickly; a longer text is not made."""

_DEPTH_MAX: Final = 50
_CLASSES: Final = {"d": "0", "w": "a", "s": " ", "D": "a", "W": "-", "S": "a"}
_ESCAPES: Final = {"n": "\n", "t": "\t", "r": "\r", "f": "\f", "v": "\v", "0": "\0"}
_NOTHING: Final = frozenset("bBAZzG")
_CANDIDATES: Final = "atA0-_. @/:" + "".join(map(chr, range(33, 127)))
_COUNT: Final = re.compile(r"\{(\d{0,9}),?\d{0,9}\}", re.ASCII)


class _UnknownError(Exception):
    """
    The expression has something that is not understood.
    """


def text_for(pattern: str) -> str | None:
    """
    Return a text in which the expression is found; None if none could be made.

    The expression is not run over it: it is a stranger's, and may take for ever.
    """
    try:
        return _Reader(pattern).read()
    except (_UnknownError, re.error):
        return None


class _Reader:
    """
    Reads an expression from left to right and writes what it matches.
    """

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._at = 0
        self._depth = 0

    def read(self) -> str:
        """
        Return the text of the whole expression.
        """
        text = self._alternatives()
        if self._at < len(self._pattern):
            raise _UnknownError
        return text

    def _peek(self) -> str:
        return self._pattern[self._at : self._at + 1]

    def _take(self) -> str:
        character = self._peek()
        if not character:
            raise _UnknownError
        self._at += 1
        return character

    def _alternatives(self) -> str:
        self._depth += 1
        if self._depth > _DEPTH_MAX:
            raise _UnknownError
        first = self._sequence()
        while self._peek() == "|":
            self._take()
            self._sequence()
        self._depth -= 1
        return first

    def _sequence(self) -> str:
        text = ""
        while self._peek() not in {"", "|", ")"}:
            part = self._part()
            repeats = self._repeats()
            if len(text) + len(part) * repeats > _TEXT_MAX:
                raise _UnknownError
            text += part * repeats
        return text

    def _part(self) -> str:
        match character := self._take():
            case "(":
                return self._group()
            case "[":
                return self._class()
            case "\\":
                return self._escape()
            case "^" | "$":
                return ""
            case ".":
                return "a"
            case "*" | "+" | "?" | "{":
                raise _UnknownError
            case _:
                return character

    def _group(self) -> str:
        if self._peek() == "?":
            self._take()
            kind = self._take()
            if kind == "P" and self._peek() == "<":
                kind = self._take()
            if kind == "<" and self._peek() not in {"=", "!"}:
                while self._take() != ">":
                    pass
            elif kind != ":":
                raise _UnknownError
        text = self._alternatives()
        if self._take() != ")":
            raise _UnknownError
        return text

    def _class(self) -> str:
        start = self._at - 1
        if self._peek() == "^":
            self._take()
        if self._peek() == "]":
            self._take()
        while (character := self._take()) != "]":
            if character == "\\":
                self._take()
        with warnings.catch_warnings():
            # Of brackets in brackets Python warns; the pattern is not ours to mend.
            warnings.simplefilter("ignore", FutureWarning)
            allowed = re.compile(self._pattern[start : self._at])
        found = next((c for c in _CANDIDATES if allowed.fullmatch(c)), None)
        if found is None:
            raise _UnknownError
        return found

    def _escape(self) -> str:
        character = self._take()
        if character in _CLASSES:
            return _CLASSES[character]
        if character in _NOTHING:
            return ""
        if character in _ESCAPES:
            return _ESCAPES[character]
        if character.isalnum():
            raise _UnknownError
        return character

    def _repeats(self) -> int:
        """
        Return how often the last part has to come, at least.
        """
        match self._peek():
            case "*" | "?":
                repeats = 0
            case "+":
                repeats = 1
            case "{":
                return self._counted()
            case _:
                return 1
        self._take()
        self._skip_manner()
        return repeats

    def _counted(self) -> int:
        found = _COUNT.match(self._pattern, self._at)
        if found is None:
            raise _UnknownError
        self._at = found.end()
        self._skip_manner()
        return min(int(found[1] or 0), _TEXT_MAX + 1)

    def _skip_manner(self) -> None:
        # Greedy or not, the least is the least.
        if self._peek() in {"?", "+"}:
            self._take()
