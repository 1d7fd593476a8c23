"""
Whether one match holds wherever another one does.

Cautious: what cannot be told is taken not to be so.
"""

import re
from fnmatch import fnmatchcase

from mock_server.script.rule import Match, MessageMatch, TextMatch, ToolResultMatch

_WILDCARDS = re.compile(r"[*?\[]")


def implies(narrow: Match, wide: Match) -> bool:
    """
    Say whether every request that ``narrow`` matches, ``wide`` matches too.
    """
    return (
        _implies_model(narrow.model, wide.model)
        and (wide.stream is None or narrow.stream is wide.stream)
        and _implies_turns(narrow.turn, wide.turn)
        and _implies_tools(narrow.tools, wide.tools)
        and _implies_last(narrow, wide.last_message)
        and _implies_any(narrow, wide.any_message)
        and _implies_result(narrow.tool_result, wide.tool_result)
        and _implies_headers(narrow, wide)
    )


def implies_text(narrow: TextMatch, wide: TextMatch) -> bool:
    """
    Say whether every text that ``narrow`` matches, ``wide`` matches too.
    """
    if wide.text is not None and narrow.text != wide.text:
        return False
    if wide.contains is not None and not any(
        given is not None and wide.contains in given
        for given in (narrow.text, narrow.contains)
    ):
        return False
    return (
        wide.regex is None
        or wide.regex == narrow.regex
        or (narrow.text is not None and re.search(wide.regex, narrow.text) is not None)
    )


def _implies_model(narrow: str | None, wide: str | None) -> bool:
    if wide is None or wide == "*":
        return True
    if narrow is None or _WILDCARDS.search(narrow):
        return narrow == wide
    return fnmatchcase(narrow, wide)


def _implies_turns(narrow: list[int] | None, wide: list[int] | None) -> bool:
    return wide is None or (narrow is not None and set(narrow) <= set(wide))


def _implies_tools(narrow: list[str] | None, wide: list[str] | None) -> bool:
    if wide is None:
        return True
    if narrow is None:
        return False
    return not narrow if not wide else set(wide) <= set(narrow)


def _implies_last(narrow: Match, wide: MessageMatch | None) -> bool:
    if wide is None:
        return True
    last = narrow.last_message or MessageMatch()
    # Whoever asks for a tool result asks for a last message of a tool.
    role = "tool" if narrow.tool_result is not None else last.role
    return wide.role in {None, role} and implies_text(last, wide)


def _implies_any(narrow: Match, wide: MessageMatch | None) -> bool:
    if wide is None:
        return True
    return any(
        given is not None
        and wide.role in {None, given.role}
        and implies_text(given, wide)
        for given in (narrow.any_message, narrow.last_message)
    )


def _implies_result(
    narrow: ToolResultMatch | None, wide: ToolResultMatch | None
) -> bool:
    if wide is None:
        return True
    if narrow is None:
        return False
    values = narrow.value or {}
    return (
        wide.tool in {None, narrow.tool}
        and implies_text(narrow, wide)
        and all(
            path in values and values[path] == wanted
            for path, wanted in (wide.value or {}).items()
        )
    )


def _implies_headers(narrow: Match, wide: Match) -> bool:
    given = {name.lower(): match for name, match in (narrow.header or {}).items()}
    return all(
        name.lower() in given and implies_text(given[name.lower()], wanted)
        for name, wanted in (wide.header or {}).items()
    )
