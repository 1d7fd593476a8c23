"""
What the model says, before it is bytes.

Faults that change what a model says change these values; the encoders turn them into
an answer. Nothing here is checked: a reply may be as broken as a fault wants it.
"""

from dataclasses import dataclass
from enum import StrEnum


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


@dataclass(frozen=True, slots=True)
class ReplyToolCall:
    """
    A tool call that the model asks for.
    """

    id: str
    name: str
    arguments: str
    """As text; for a custom tool its free input."""

    kind: ToolKind = ToolKind.FUNCTION


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """
    One of the answers that were asked for.
    """

    text: str | None = None
    tool_calls: tuple[ReplyToolCall, ...] = ()
    refusal: str | None = None
    finish_reason: str | None = FinishReason.STOP


@dataclass(frozen=True, slots=True)
class Usage:
    """
    Tokens in and out.
    """

    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """
    A whole answer of the model.
    """

    id: str
    """``chatcmpl-`` and 29 characters."""

    created_s: int
    """Unix time."""

    model: str
    choices: tuple[Choice, ...]
    usage: Usage
    system_fingerprint: str

    @property
    def choice(self) -> Choice:
        """
        The first answer; an empty one if there is none.
        """
        return self.choices[0] if self.choices else Choice(finish_reason=None)
