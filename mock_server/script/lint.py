"""
What is wrong with a script that is well-formed: templates, dead rules, endless loops.
"""

import difflib
from collections.abc import Iterator, Sequence
from typing import Any, Final

from mock_server.documents import Document, Mistake
from mock_server.script.engine import TEMPLATE_NAMES
from mock_server.script.implication import implies
from mock_server.script.model import MockScript, ToolReplyScript, ToolScript
from mock_server.script.rule import Match, MessageMatch, ReplyScript, Rule
from mock_server.script.template_error import TemplateError
from mock_server.script.templates import (
    compile_value,
    is_template,
    to_json,
    unknown_names,
)

Path = tuple[str | int, ...]

TOOL_TEMPLATE_NAMES: Final = frozenset({"arguments", "execution", "tool"})
"""What the templates of a tool's result may use."""

_COMPARED_RULES_MAX: Final = 400
"""In longer scripts only broad rules and exact repeats are looked for."""

_RULES: Final[Path] = ("upstream", "script")


def lint_script(document: Document, script: MockScript) -> list[Mistake]:
    """
    Return the mistakes of a script, each with its place.

    Args:
        document: Where the script was read; it may hold more than the script.
        script: What was read.
    """
    rules = script.upstream.script
    return [
        *_template_mistakes(document, script),
        *_contradictions(document, rules),
        *_unreachable(document, rules),
        *_endless(document, script),
    ]


def _template_mistakes(document: Document, script: MockScript) -> Iterator[Mistake]:
    for path, text in _texts_of_rules(script.upstream.script):
        yield from _check_template(document, path, text, TEMPLATE_NAMES)
    for name, tool in script.tools.items():
        for path, text in _texts_of_tool(tool, ("tools", name)):
            yield from _check_template(document, path, text, TOOL_TEMPLATE_NAMES)


def _check_template(
    document: Document, path: Path, text: str, known: frozenset[str]
) -> Iterator[Mistake]:
    if not is_template(text):
        return
    try:
        names = unknown_names(text, known)
        compile_value(text)
    except TemplateError as error:
        yield document.mistake(path, f"is no template: {error}")
        return
    for name in names:
        near = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
        message = f"the template uses {name!r}, which is not known"
        if not near:
            message += f"; there are {', '.join(sorted(known))}"
        yield document.mistake(path, message, suggestion=near[0] if near else None)


def _texts_of_rules(rules: Sequence[Rule]) -> Iterator[tuple[Path, str]]:
    for number, rule in enumerate(rules):
        yield from _texts_of_reply(rule.reply, (*_RULES, number, "reply"))


def _texts_of_reply(reply: ReplyScript, path: Path) -> Iterator[tuple[Path, str]]:
    for name in ("text", "refusal", "reasoning"):
        text = getattr(reply, name)
        if text is not None:
            yield (*path, name), text
    for number, call in enumerate(reply.tool_calls):
        place = (*path, "tool_calls", number)
        yield from _texts_in(call.arguments, (*place, "arguments"))
        if call.id is not None:
            yield (*place, "id"), call.id
    if reply.error is not None and reply.error.message is not None:
        yield (*path, "error", "message"), reply.error.message
    for number, part in enumerate(reply.sequence):
        yield from _texts_of_reply(part, (*path, "sequence", number))


def _texts_of_tool(tool: ToolScript, path: Path) -> Iterator[tuple[Path, str]]:
    replies: list[tuple[Path, ToolReplyScript]] = [(path, tool)]
    replies += [((*path, "script", n), rule) for n, rule in enumerate(tool.script)]
    for place, reply in replies:
        yield from _texts_in(reply.result, (*place, "result"))


def _texts_in(value: Any, path: Path) -> Iterator[tuple[Path, str]]:
    match value:
        case str():
            yield path, value
        case dict():
            for key, item in value.items():
                yield from _texts_in(item, (*path, key))
        case list():
            for number, item in enumerate(value):
                yield from _texts_in(item, (*path, number))
        case _:
            pass


def _contradictions(document: Document, rules: Sequence[Rule]) -> Iterator[Mistake]:
    for number, rule in enumerate(rules):
        last = rule.match.last_message
        asks_for_result = rule.match.tool_result is not None
        if asks_for_result and last is not None and last.role not in {None, "tool"}:
            path = (*_RULES, number, "match", "tool_result")
            message = (
                f"can never match: a tool result ends the transcript, so the last "
                f"message is not of role {last.role}"
            )
            yield document.mistake(path, message)


def _unreachable(document: Document, rules: Sequence[Rule]) -> Iterator[Mistake]:
    is_long = len(rules) > _COMPARED_RULES_MAX
    # A rule that passes on at the end of its sequence hides nothing.
    earlier: list[tuple[int, Match]] = []
    repeats: dict[str, int] = {}
    for number, rule in enumerate(rules):
        if is_long:
            repeated = repeats.setdefault(rule.match.model_dump_json(), number)
            hider = repeated if repeated != number else None
        else:
            hider = None
        if hider is None:
            hider = next((n for n, m in earlier if implies(rule.match, m)), None)
        if hider is not None:
            line, _ = document.places.get((*_RULES, hider), (0, 0))
            where = f"rule {hider + 1} (line {line})" if line else f"rule {hider + 1}"
            message = (
                f"can never be reached: {where} already matches all that it matches"
            )
            yield document.mistake((*_RULES, number), message)
        elif rule.reply.then != "next_rule" and (not is_long or _is_broad(rule.match)):
            earlier.append((number, rule.match))


def _is_broad(match: Match) -> bool:
    last = match.last_message
    return last is None or (last.text, last.contains, last.regex) == (None,) * 3


def _endless(document: Document, script: MockScript) -> Iterator[Mistake]:
    for number, rule in enumerate(script.upstream.script):
        if _may_catch_result(rule.match):
            # What comes after it is asked only if this one was not for the result.
            if _loops(rule, script):
                yield _endless_mistake(document, number)
            return
        if _loops(rule, script):
            yield _endless_mistake(document, number)


def _endless_mistake(document: Document, number: int) -> Mistake:
    message = (
        "matches its own tool result for ever: ask for the role of the last message "
        "or for a turn, or say endless: true"
    )
    return document.mistake(
        (*_RULES, number, "match"), message, suggestion="last_message: {role: user}"
    )


def _loops(rule: Rule, script: MockScript) -> bool:
    return (
        not rule.endless
        and _calls_for_ever(rule.reply)
        and _holds_after_call(rule, script)
    )


def _calls_for_ever(reply: ReplyScript) -> bool:
    """
    Say whether a rule goes on calling tools as long as it is asked.
    """
    if not reply.sequence:
        return bool(reply.tool_calls)
    match reply.then:
        case "next_rule":
            return False
        case "first":
            return all(part.tool_calls for part in reply.sequence)
        case _:
            return bool(reply.sequence[-1].tool_calls)


def _may_catch_result(match: Match) -> bool:
    last = match.last_message
    return match.tool_result is not None or (last is not None and last.role == "tool")


def _holds_after_call(rule: Rule, script: MockScript) -> bool:
    """
    Say whether a rule surely matches again once its own calls were answered.
    """
    match = rule.match
    if match.turn is not None:
        return False
    called = {call.name for call in _calls_of(rule.reply)}
    result = match.tool_result
    if result is not None and (
        result.tool not in {None, *called}
        or result.value is not None
        or _asks_for_text(result)
    ):
        return False
    last = match.last_message
    if last is None:
        return True
    if last.role not in {None, "tool"}:
        return False
    return not _asks_for_text(last) or _results_hold(last, called, script)


def _asks_for_text(match: Any) -> bool:
    return (match.text, match.contains, match.regex) != (None, None, None)


def _results_hold(last: MessageMatch, called: set[str], script: MockScript) -> bool:
    """
    Say whether the scripted results of all called tools hold the text asked for.
    """
    if last.contains is None or last.text is not None or last.regex is not None:
        return False
    tools = [script.tools.get(name) for name in called]
    return all(
        tool is not None
        and not tool.script
        and tool.error is None
        and last.contains in to_json(tool.result)
        for tool in tools
    )


def _calls_of(reply: ReplyScript) -> list[Any]:
    calls: list[Any] = list(reply.tool_calls)
    for part in reply.sequence:
        calls += part.tool_calls
    return calls
