"""
Whether a rule is for a request: pure, and able to say why not.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import translate
from typing import Any

import orjson

from mock_server.script.rule import (
    Match,
    MessageMatch,
    TextMatch,
    ToolResultMatch,
)
from mock_server.script.seen import Seen, SeenMessage, SeenResult

TextTest = Callable[[str], bool]

_MISSING = object()


@dataclass(frozen=True, slots=True)
class Condition:
    """
    One of the things that must hold for a rule to match.
    """

    name: str
    """As the script spells it, like ``last_message.contains 'weather'``."""

    holds: Callable[[Seen], bool]


def compile_match(match: Match) -> tuple[Condition, ...]:
    """
    Return the conditions of a match, the cheapest first.
    """
    return tuple(_conditions(match))


def _conditions(match: Match) -> Iterator[Condition]:
    if match.stream is not None:
        stream = match.stream
        yield Condition(f"stream {str(stream).lower()}", lambda s: s.stream is stream)
    if match.turn is not None:
        turns = frozenset(match.turn)
        name = f"turn {', '.join(map(str, match.turn))}"
        yield Condition(name, lambda s: s.turn in turns)
    if match.model is not None:
        pattern = re.compile(translate(match.model))
        name = f"model {match.model!r}"
        yield Condition(name, lambda s: pattern.match(s.model) is not None)
    if match.last_message is not None:
        yield from _last_message(match.last_message)
    if match.tools is not None:
        yield _offers(match.tools)
    if match.tool_result is not None:
        yield from _tool_result(match.tool_result)
    for header, wanted in (match.header or {}).items():
        for label, test in text_tests(wanted):
            yield Condition(f"header {header} {label}", _header(header, test))
    if match.any_message is not None:
        yield _any_message(match.any_message)


def text_tests(match: TextMatch) -> Iterator[tuple[str, TextTest]]:
    """
    Return the tests of a text, each with the words of the script.
    """
    if match.text is not None:
        whole = match.text
        yield f"text {whole!r}", whole.__eq__
    if match.contains is not None:
        part = match.contains
        yield f"contains {part!r}", lambda text: part in text
    if match.regex is not None:
        search = re.compile(match.regex).search
        yield f"regex {match.regex!r}", lambda text: search(text) is not None


def _last_message(match: MessageMatch) -> Iterator[Condition]:
    if match.role is not None:
        role = match.role
        yield Condition(f"last_message.role {role}", lambda s: s.last.role == role)
    for label, test in text_tests(match):
        yield Condition(f"last_message.{label}", _last_text(test))


def _last_text(test: TextTest) -> Callable[[Seen], bool]:
    return lambda seen: test(seen.last.text)


def _any_message(match: MessageMatch) -> Condition:
    tests = tuple(text_tests(match))
    labels = [label for label, _ in tests]
    if match.role is not None:
        labels.insert(0, f"role {match.role}")

    def fits(message: SeenMessage) -> bool:
        return match.role in {None, message.role} and all(
            test(message.text) for _, test in tests
        )

    name = f"any_message {' and '.join(labels) or 'at all'}"
    return Condition(name, lambda seen: any(map(fits, seen.messages)))


def _offers(tools: Sequence[str]) -> Condition:
    if not tools:
        return Condition("tools: none offered", lambda seen: not seen.tools)
    wanted = frozenset(tools)
    return Condition(
        f"tools {', '.join(tools)}", lambda seen: wanted.issubset(seen.tools)
    )


def _tool_result(match: ToolResultMatch) -> Iterator[Condition]:
    tests = tuple(text_tests(match))
    labels = [label for label, _ in tests]
    if match.value is not None:
        labels.append(f"value {orjson.dumps(match.value, default=str).decode()}")
    if match.tool is not None:
        labels.insert(0, f"of {match.tool}")

    def fits(result: SeenResult) -> bool:
        return (
            match.tool in {None, result.tool}
            and all(test(result.content) for _, test in tests)
            and (match.value is None or holds_values(result.content, match.value))
        )

    name = f"tool_result {' and '.join(labels) or 'at all'}"
    yield Condition(name, lambda seen: any(map(fits, seen.results)))


def _header(name: str, test: TextTest) -> Callable[[Seen], bool]:
    def holds(seen: Seen) -> bool:
        value = seen.headers.get(name)
        return value is not None and test(value)

    return holds


def holds_values(content: str, wanted: Mapping[str, Any]) -> bool:
    """
    Say whether a text, parsed as JSON, holds all these values; dots reach inside.
    """
    try:
        value = orjson.loads(content)
    except orjson.JSONDecodeError:
        return False
    return all(reach(value, path) == expected for path, expected in wanted.items())


def reach(value: Any, path: str) -> Any:
    """
    Return what stands at a dotted path, or a value that equals nothing else.
    """
    for part in path.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return _MISSING
    return value
