"""
Which rule answers a request, and with what.

The script is compiled once and never changes; what moves (the cursor of a sequence)
belongs to a conversation of a world.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, Self

import msgspec
import orjson
from msgspec import Struct

from mock_server.script.conversation import Conversation
from mock_server.script.drawn import (
    Constant,
    Draw,
    DrawnReply,
    compile_reply,
    draw_auto,
)
from mock_server.script.match import Condition, compile_match
from mock_server.script.model import MockScript
from mock_server.script.prefilter import RULES_MIN, Prefilter, literal_of
from mock_server.script.rule import MessageMatch, Rule
from mock_server.script.seen import Seen
from mock_server.script.template_error import TemplateError
from mock_server.script.templates import Context
from mock_server.wire import ApiError

TEMPLATE_NAMES = frozenset(
    {
        "attempt",
        "conversation",
        "match",
        "message",
        "model",
        "request",
        "results",
        "tool",
        "tools",
        "turn",
        "user",
    }
)
"""What a template may use; the conversation's and the attempt's are its keys."""


class ScriptError(Exception):
    """
    A template of the script failed on a request.
    """


class Names(Protocol):
    """
    What templates may know of a request besides its text.
    """

    @property
    def conversation(self) -> str:
        """
        What its conversation is called.
        """

    @property
    def attempt_number(self) -> int:
        """
        The nth identical body in that conversation and turn, from 1.
        """


class CallNames(Struct, frozen=True):
    """
    These names, and nothing else.
    """

    conversation: str
    attempt_number: int


@dataclass(frozen=True, slots=True)
class CompiledRule:
    """
    A rule, ready to be asked.
    """

    number: int
    rule: Rule
    conditions: tuple[Condition, ...]
    draws: tuple[Draw, ...]
    """One, or those of a sequence."""

    literal: str | None
    """What the last message's text must hold; quicker to look for than to ask."""

    uses_request: bool
    """A template reads the request itself, which costs more than all else."""

    @property
    def asks_literal_only(self) -> bool:
        """
        Whether nothing is left to ask of a text that holds the literal.
        """
        asked = self.rule.match.last_message
        return (
            len(self.conditions) == 1
            and asked is not None
            and asked.contains is not None
            and asked.contains == self.literal
        )

    @property
    def constant(self) -> "Decision | None":
        """
        What it makes of every request that it matches, if that is always the same.
        """
        draw = self.draws[0]
        if self.rule.reply.sequence or not isinstance(draw, Constant):
            return None
        return Decision(rule=self, drawn=draw.reply)

    def matches(self, seen: Seen) -> bool:
        """
        Say whether all conditions hold.
        """
        for condition in self.conditions:  # noqa: SIM110 - all() takes twice as long
            if not condition.holds(seen):
                return False
        return True

    def step_of(self, conversation: Conversation) -> int | None:
        """
        Return which reply of the sequence is due; None if the rule passes.
        """
        done = conversation.cursors.get(self.number, 0)
        last = len(self.draws) - 1
        if done <= last:
            return done
        match self.rule.reply.then:
            case "first":
                return done % len(self.draws)
            case "next_rule":
                return None
            case _:
                return last


class Decision(Struct, frozen=True, kw_only=True):
    """
    What a script makes of a request.
    """

    rule: CompiledRule | None
    """None: the built-in reply of a script without rules."""

    drawn: DrawnReply | None = None
    error: ApiError | None = None
    undelivered: Callable[[], None] | None = None
    """Takes the reply back: the sequence has not moved on."""


_Asked = tuple[str | None, bool, Decision | None, CompiledRule]


class CompiledScript:
    """
    The rules of a script, ready to be asked.
    """

    def __init__(self, script: MockScript) -> None:
        self.script = script
        self.rules = tuple(
            _compile_rule(number, rule)
            for number, rule in enumerate(script.upstream.script)
        )
        self._prefilter = Prefilter([rule.literal for rule in self.rules])
        self._is_short = len(self.rules) < RULES_MIN
        self._asked = [
            (rule.literal, rule.asks_literal_only, rule.constant, rule)
            for rule in self.rules
        ]
        """What is needed of each rule, so that most need not be looked at further."""

    @classmethod
    def of(cls, script: MockScript) -> Self:
        """
        Compile a script.

        Raises:
            TemplateError: A template cannot be read; the lint says where.
        """
        return cls(script)

    def decide(self, seen: Seen, names: Names, conversation: Conversation) -> Decision:
        """
        Return what the first rule that matches says.

        Raises:
            ScriptError: A template failed.
        """
        if not self.rules:
            return Decision(rule=None, drawn=draw_auto(seen))
        text = seen.last.text
        asked: Iterable[_Asked] = self._asked
        if not self._is_short:
            asked = map(self._asked.__getitem__, self._prefilter.candidates(text))
        for literal, is_enough, constant, rule in asked:
            if literal is not None and literal not in text:
                continue
            if is_enough or rule.matches(seen):
                if constant is not None:
                    return constant
                step = rule.step_of(conversation)
                if step is not None:
                    return _draw(rule, step, seen, names, conversation)
        return Decision(rule=None, error=self._no_match(seen))

    def _no_match(self, seen: Seen) -> ApiError:
        rule, failed = min(
            ((rule, _failed(rule, seen)) for rule in self.rules),
            key=lambda pair: len(pair[1]) / (len(pair[0].conditions) or 1),
        )
        reason = (
            f"which asks for {failed[0].name}" if failed else "whose sequence has ended"
        )
        called = f" ({rule.rule.name})" if rule.rule.name else ""
        message = (
            f"No rule of the script matches this request. Nearest is rule "
            f"{rule.number + 1}{called}, {reason}; the last message is "
            f"of role {seen.last.role} and says {seen.last.text[:120]!r}."
        )
        return ApiError(message, status=404, code="no_matching_rule")


def _failed(rule: CompiledRule, seen: Seen) -> list[Condition]:
    return [c for c in rule.conditions if not c.holds(seen)]


def _compile_rule(number: int, rule: Rule) -> CompiledRule:
    replies = rule.reply.sequence or [rule.reply]
    return CompiledRule(
        number,
        rule,
        compile_match(rule.match),
        tuple(compile_reply(reply) for reply in replies),
        _literal_of(rule.match.last_message),
        "request" in rule.reply.model_dump_json(),
    )


def _literal_of(match: MessageMatch | None) -> str | None:
    if match is None:
        return None
    literals = [match.text, match.contains]
    if match.regex is not None:
        literals.append(literal_of(match.regex))
    return max((text for text in literals if text), key=len, default=None)


def _draw(
    rule: CompiledRule,
    step: int,
    seen: Seen,
    names: Names,
    conversation: Conversation,
) -> Decision:
    undelivered = None
    if rule.rule.reply.sequence:
        cursors = conversation.cursors
        cursors[rule.number] = cursors.get(rule.number, 0) + 1
        undelivered = partial(_take_back, cursors, rule.number)
    make_context = partial(context_of, seen, names, rule)
    try:
        drawn = rule.draws[step](seen, make_context)
    except ApiError as error:
        return Decision(rule=rule, error=error, undelivered=undelivered)
    except TemplateError as error:
        label = f" ({rule.rule.name})" if rule.rule.name else ""
        message = f"The template of rule {rule.number + 1}{label} failed: {error}"
        raise ScriptError(message) from error
    return Decision(rule=rule, drawn=drawn, undelivered=undelivered)


def _take_back(cursors: dict[int, int], number: int) -> None:
    cursors[number] = max(0, cursors.get(number, 0) - 1)


def context_of(seen: Seen, names: Names, rule: CompiledRule) -> Context:
    """
    Return what the templates of a rule may use for a request.
    """
    results = [_parsed(result.content) for result in seen.results]
    context: dict[str, Any] = {
        "message": seen.user_text,
        "tools": results,
        "results": {
            result.tool: value
            for result, value in zip(seen.results, results, strict=True)
            if result.tool is not None
        },
        "conversation": names.conversation,
        "attempt": names.attempt_number,
        "turn": seen.turn,
        "model": seen.model,
        "user": seen.request.user,
    }
    if rule.uses_request:
        context["request"] = msgspec.to_builtins(seen.request, enc_hook=_raw_value)
    if results:
        context["tool"] = results[-1]
    found = next(_found(seen, rule.rule), None)
    if found is not None:
        context["match"] = {
            **dict(enumerate((found[0], *found.groups()))),
            **found.groupdict(),
        }
    return context


def _found(seen: Seen, rule: Rule) -> Iterator[re.Match[str]]:
    """
    Return where the rule's regular expressions matched.
    """
    last, anywhere = rule.match.last_message, rule.match.any_message
    if last is not None and last.regex is not None:
        found = re.search(last.regex, seen.last.text)
        if found is not None:
            yield found
    if anywhere is not None and anywhere.regex is not None:
        for message in seen.messages:
            found = re.search(anywhere.regex, message.text)
            if found is not None and anywhere.role in {None, message.role}:
                yield found


def _parsed(content: str) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return content


def _raw_value(value: Any) -> Any:
    return orjson.loads(bytes(value)) if isinstance(value, msgspec.Raw) else str(value)
