"""
What the model says, before it is bytes.

Faults that change what a model says change these values; the encoders turn them into
an answer. Nothing here is checked: a reply may be as broken as a fault wants it.
"""

from enum import StrEnum

from msgspec import Struct


class FinishReason(StrEnum):
    """
    Why the model stopped.
    """

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


class ToolKind(StrEnum):
    """
    What a tool call is a call of.
    """

    FUNCTION = "function"
    CUSTOM = "custom"


class ReplyToolCall(Struct, frozen=True):
    """
    A tool call that the model asks for.
    """

    id: str
    name: str
    arguments: str
    """As text; for a custom tool its free input."""

    kind: ToolKind = ToolKind.FUNCTION


class Choice(Struct, frozen=True, kw_only=True):
    """
    One answer to the question; there are as many as ``n`` asked for.
    """

    text: str | None = None
    tool_calls: tuple[ReplyToolCall, ...] = ()
    refusal: str | None = None
    reasoning: str | None = None
    """What the model thought, summarised; only the Responses API shows it."""

    finish_reason: str | None = FinishReason.STOP


class Usage(Struct, frozen=True):
    """
    Tokens in and out.
    """

    prompt_tokens: int
    completion_tokens: int


class Reply(Choice, frozen=True, kw_only=True):
    """
    What the model says: its first choice, the further ones, and what is around them.
    """

    id: str
    """``chatcmpl-`` and 29 characters."""

    created_s: int
    """Unix time."""

    model: str
    usage: Usage
    system_fingerprint: str
    others: tuple[Choice, ...] = ()
    top_logprobs: int | None = None
    """How many likely tokens are shown at each place; None shows no probabilities."""

    @property
    def choices(self) -> tuple[Choice, ...]:
        """
        All of them, in the order of their index.
        """
        return (self, *self.others)
