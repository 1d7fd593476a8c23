"""
A rule of the model API's script: what it matches, and what it replies.
"""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from mock_server.script.base import Json, OneOrMore, OneOrMoreNumbers, ScriptModel
from mock_server.script.fault_script import UpstreamFault
from mock_server.script.latency_script import LatencyScript
from mock_server.units import Duration
from mock_server.wire import FailureForm


def _check_regex(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        message = f"is no regular expression: {error}"
        raise ValueError(message) from error
    return text


Regex = Annotated[str, AfterValidator(_check_regex)]
Role = Literal["developer", "system", "user", "assistant", "tool", "function"]


class TextMatch(ScriptModel):
    """
    What a text must be like; everything that is given must hold.
    """

    text: str | None = None
    """The whole text."""

    contains: str | None = None
    regex: Regex | None = None
    """Found anywhere in the text."""


class MessageMatch(TextMatch):
    """
    What a message must be like.
    """

    role: Role | None = None


class ToolResultMatch(TextMatch):
    """
    What the tool result that ends the transcript must be like.
    """

    tool: str | None = None
    """The name of the tool that was called."""

    value: dict[str, Json] | None = None
    """Values that the result, parsed as JSON, must hold; dots reach inside."""


def _as_header_match(value: object) -> object:
    return {"text": value} if isinstance(value, str) else value


HeaderMatch = Annotated[
    TextMatch, BeforeValidator(_as_header_match, json_schema_input_type=str | TextMatch)
]


class Match(ScriptModel):
    """
    Which requests a rule is for; an empty match is for all.
    """

    model: str | None = None
    """The model's name; ``*`` stands for anything."""

    last_message: MessageMatch | None = None
    any_message: MessageMatch | None = None
    turn: OneOrMoreNumbers | None = None
    """The round with the model: 1 plus the assistant messages of the transcript."""

    tools: OneOrMore | None = None
    """Tools that must all be offered; an empty list: none is."""

    tool_result: ToolResultMatch | None = None
    header: dict[str, HeaderMatch] | None = None
    stream: bool | None = None


class ToolCallScript(ScriptModel):
    """
    A tool call that the model asks for.
    """

    name: str
    arguments: dict[str, Json] | str = Field(default_factory=dict)
    """Values, sent as JSON; or the raw text, sent as it is."""

    id: str | None = None
    """By default one is minted."""


class ErrorScript(ScriptModel):
    """
    An error in the API's own shape.
    """

    status: int = Field(default=500, ge=400, le=599)
    message: str | None = None
    type: str | None = None
    param: str | None = None
    code: str | None = None
    retry_after: Duration | None = None
    headers: dict[str, str] = Field(default_factory=dict)
    failure: FailureForm | None = None
    """A streamed or background response begins and then fails, told in this form.

    Chat completions, and plain responses, answer with the status all the same.
    """


class UsageScript(ScriptModel):
    """
    Token counts that replace the estimate.
    """

    prompt_tokens: int | None = Field(default=None, ge=0)
    completion_tokens: int | None = Field(default=None, ge=0)


def _as_reply(value: object) -> object:
    if value == "auto":
        return {"auto": True}
    if isinstance(value, list):
        return {"sequence": value}
    return value


class ReplyScript(ScriptModel):
    """
    What the model replies: text, tool calls, a refusal, an error, or a sequence.
    """

    text: str | None = None
    tool_calls: list[ToolCallScript] = Field(default_factory=list)
    refusal: str | None = None
    reasoning: str | None = None
    """What the model thought, summarised: a reasoning item of the Responses API."""

    finish_reason: str | None = None
    """By default what the rest of the reply implies."""

    usage: UsageScript | None = None
    error: ErrorScript | None = None
    auto: bool = False
    """Computed from the offered tools' JSON Schemas; text once they have answered."""

    sequence: list["Reply"] = Field(default_factory=list)
    """One after the other, each conversation from the first."""

    then: Literal["last", "first", "next_rule"] | None = None
    """After a sequence: its last reply again (default), from its first, or pass on."""

    @model_validator(mode="after")
    def _check_kind(self) -> Self:
        kinds = [
            name
            for name, given in (
                ("an answer", self._is_answer()),
                ("error", self.error is not None),
                ("auto", self.auto),
                ("sequence", bool(self.sequence)),
            )
            if given
        ]
        if not kinds:
            message = (
                "a reply has one of text, tool_calls, refusal, error, auto, sequence"
            )
            raise ValueError(message)
        if len(kinds) > 1:
            message = f"{' and '.join(kinds)} exclude each other"
            raise ValueError(message)
        if self.then is not None and not self.sequence:
            message = "then belongs to a sequence"
            raise ValueError(message)
        return self

    def _is_answer(self) -> bool:
        return (
            self.text is not None or bool(self.tool_calls) or self.refusal is not None
        )


Reply = Annotated[
    ReplyScript,
    BeforeValidator(
        _as_reply,
        json_schema_input_type=ReplyScript | Literal["auto"] | list[ReplyScript],
    ),
]
"""A reply; ``auto`` alone stands for ``{auto: true}``, a list for a sequence."""


class Rule(ScriptModel):
    """
    The first rule whose match holds gives the reply.
    """

    name: str | None = None
    match: Match = Field(default_factory=Match.empty)
    reply: Reply
    latency: LatencyScript | None = None
    """Replaces the surface's latency for this reply."""

    faults: list[UpstreamFault] = Field(default_factory=list)
    """Added to the surface's faults for this reply."""

    endless: bool = False
    """Lets the rule match its own tool result for ever, which is a mistake else."""
