"""
Recorded exchanges become rules that tell them apart.

A rule asks for no more than it must: the turn, the role of the last message and what
the user said; the model, earlier words, the tool's answer, the offered tools and the
form of the answer only where the same question was answered in different ways. What
cannot be told apart at all is answered in the order of the record.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from mock_server.recorder.recorded import (
    Asked,
    Recorded,
    RecordedError,
    RecordedReply,
    Timing,
)
from mock_server.recorder.redaction import BLOT, Redactor

_USER: Final = "user"
_WILDCARDS: Final = re.compile(r"([*?\[])")
_TEMPLATE_MARKS: Final = re.compile(r"\{\{|\{%|\{#")
_DELAY_MIN_S: Final = 0.5e-6

Values = dict[str, Any]
Feature = Callable[[Asked], object]


@dataclass(frozen=True, slots=True)
class _Group:
    """
    Exchanges that one rule, or one row of rules, answers.
    """

    members: tuple[Recorded, ...]
    asks_for: frozenset[str]
    """Which of the features tell it from others."""


_FEATURES: Final[Mapping[str, Feature]] = {
    "model": lambda asked: asked.model,
    "first_user": lambda asked: asked.user_texts[:1],
    "system": lambda asked: asked.system_text,
    "last_text": lambda asked: asked.last_text,
    "tools": lambda asked: frozenset(asked.tools),
    "stream": lambda asked: asked.stream,
}
"""In the order in which they are tried."""


def rules_of(recorded: Sequence[Recorded], redact: Redactor) -> list[Values]:
    """
    Return the rules that give the recorded answers again.
    """
    # A question that holds another one's words comes first.
    ordered = sorted(recorded, key=lambda each: -len(each.asked.user_texts))
    groups: dict[object, list[Recorded]] = {}
    for each in ordered:
        groups.setdefault(_key_of(each.asked), []).append(each)
    rules = []
    for members in groups.values():
        for group in _split(_Group(tuple(members), frozenset()), tuple(_FEATURES)):
            rules += _row(group, redact)
    return rules


def _key_of(asked: Asked) -> object:
    return asked.last_role, asked.turn, asked.user_texts[-1:] or asked.last_text


def _split(group: _Group, features: tuple[str, ...]) -> list[_Group]:
    """
    Tell the exchanges of a group apart as far as their answers ask for it.
    """
    if not features or len({each.reply.without_ids for each in group.members}) == 1:
        return [group]
    name, *rest = features
    feature = _FEATURES[name]
    parts: dict[object, list[Recorded]] = {}
    for each in group.members:
        parts.setdefault(feature(each.asked), []).append(each)
    if len(parts) == 1 or not _can_ask(name, group):
        return _split(group, tuple(rest))
    asks_for = group.asks_for | {name}
    return [
        found
        for part in parts.values()
        for found in _split(_Group(tuple(part), asks_for), tuple(rest))
    ]


def _can_ask(name: str, group: _Group) -> bool:
    """
    Say whether a match has room for a feature: it has one place for any message.
    """
    asked = group.members[0].asked
    if name in {"first_user", "system"}:
        is_taken = asked.last_role != _USER and bool(asked.user_texts)
        return not is_taken and not group.asks_for & {"first_user", "system"}
    return name != "last_text" or asked.last_role != _USER


def _row(group: _Group, redact: Redactor) -> list[Values]:
    """
    Return one rule, or several that are asked one after the other.
    """
    conversation = group.members[0].asked.conversation
    mine = [each for each in group.members if each.asked.conversation == conversation]
    # An answer that only repeats the one before needs no rule of its own.
    distinct = [next(same) for _, same in groupby(mine, key=lambda each: each.reply)]
    # Many conversations must not share the ids of one of them.
    is_shared = len(mine) < len(group.members)
    rules = []
    for each in distinct:
        said = each.reply.without_ids if is_shared else each.reply
        reply = _reply_values(said, redact)
        if each is not distinct[-1]:
            reply = {"sequence": [reply], "then": "next_rule"}
        rule: Values = {"match": _match_values(group, redact), "reply": reply}
        latency = _latency_values(each.timing)
        if latency:
            rule["latency"] = latency
        rules.append(rule)
    return rules


def _match_values(group: _Group, redact: Redactor) -> Values:
    asked = group.members[0].asked
    match: Values = {}
    if "model" in group.asks_for:
        match["model"] = _WILDCARDS.sub(r"[\1]", asked.model)
    match["turn"] = asked.turn
    last: Values = {"role": asked.last_role}
    if (
        asked.last_role == _USER
        or "last_text" in group.asks_for
        or not asked.user_texts
    ):
        last |= _text_values(asked.last_text, redact)
    match["last_message"] = last
    if asked.last_role != _USER and asked.user_texts:
        said = _text_values(asked.user_texts[-1], redact)
        match["any_message"] = {"role": _USER, **said}
    elif "first_user" in group.asks_for:
        said = _text_values(asked.user_texts[0], redact)
        match["any_message"] = {"role": _USER, **said}
    elif "system" in group.asks_for and asked.system_text is not None:
        match["any_message"] = _text_values(asked.system_text, redact)
    if "tools" in group.asks_for:
        match["tools"] = sorted(asked.tools)
    if "stream" in group.asks_for:
        match["stream"] = asked.stream
    return match


def _text_values(text: str | None, redact: Redactor) -> Values:
    """
    Return a match for a text, with room where a secret stood.
    """
    if text is None:
        return {}
    redacted = redact(text)
    if redacted == text:
        return {"text": text}
    parts = map(re.escape, redacted.split(BLOT))
    return {"regex": rf"(?s)\A{'.+?'.join(parts)}\Z"}


def _reply_values(reply: RecordedReply, redact: Redactor) -> Values:
    if reply.error is not None:
        return {"error": _error_values(reply.error, redact)}
    values: Values = {}
    if reply.text is not None:
        values["text"] = _literal(redact(reply.text))
    if reply.tool_calls:
        values["tool_calls"] = [
            {
                "name": call.name,
                "arguments": _literal(redact(call.arguments)),
                **({"id": _literal(call.id)} if call.id else {}),
            }
            for call in reply.tool_calls
        ]
    if reply.refusal is not None:
        values["refusal"] = _literal(redact(reply.refusal))
    if reply.finish_reason is not None:
        values["finish_reason"] = reply.finish_reason
    usage = {
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
    }
    given = {name: count for name, count in usage.items() if count is not None}
    if given:
        values["usage"] = given
    return values


def _error_values(error: RecordedError, redact: Redactor) -> Values:
    values: Values = {"status": error.status}
    if error.message is not None:
        values["message"] = _literal(redact(error.message))
    for name, text in (
        ("type", error.type),
        ("param", error.param),
        ("code", error.code),
    ):
        if text is not None:
            values[name] = text
    if error.headers:
        values["headers"] = dict(error.headers)
    return values


def _literal(text: str) -> str:
    """
    Return a template that renders as the text, whatever the text holds.
    """
    if not _TEMPLATE_MARKS.search(text):
        return text
    escaped = _TEMPLATE_MARKS.sub(lambda mark: f"{{{{ '{mark[0]}' }}}}", text)
    # Templates turn every end of line into a line feed.
    return escaped.replace("\r", "{{ '\\r' }}")


def _latency_values(timing: Timing) -> Values:
    values: Values = {}
    if timing.time_to_first_token_s >= _DELAY_MIN_S:
        values["time_to_first_token"] = _duration(timing.time_to_first_token_s)
    if any(delay_s >= _DELAY_MIN_S for delay_s in timing.inter_token_s):
        delays = " ".join(map(_duration, timing.inter_token_s))
        values["inter_token"] = {"recorded": delays}
    return values


def _duration(delay_s: float) -> str:
    text = f"{delay_s * 1000:.3f}".rstrip("0").rstrip(".")
    return f"{text}ms"
