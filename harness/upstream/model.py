"""
What is asked of the model and what it answers, as frozen values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from harness.ids import ToolCallId


class FinishReason(StrEnum):
    """
    Why the model stopped.
    """

    STOP = "stop"
    LENGTH = "length"
    """The answer was cut at a limit; its last tool call may be cut as well."""

    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


class Breakage(StrEnum):
    """
    What makes an answer unusable: the reasons of ``UpstreamProtocolError``.
    """

    EMPTY_BODY = "empty_body"
    HTML = "html"
    """A page for people, usually of a proxy in between."""

    MALFORMED_JSON = "malformed_json"
    INVALID_UTF8 = "invalid_utf8"
    WRONG_SHAPE = "wrong_shape"
    """JSON, but a field is missing or of another type than the contract says."""

    NOT_A_STREAM = "not_a_stream"
    """A stream was asked for and something else came."""

    NOT_HTTP = "not_http"
    NO_CHOICES = "no_choices"
    TRUNCATED = "truncated"
    """It ended without a ``finish_reason``."""

    EMPTY_ANSWER = "empty_answer"
    """The model stopped of itself and said nothing, or nothing but blanks."""

    ANSWER_CHANGED = "answer_changed"
    """Chunks of two answers in one stream: the text could be somebody else's."""

    UNKNOWN_FINISH_REASON = "unknown_finish_reason"
    OUTPUT_AFTER_FINISH = "output_after_finish"
    TOOL_CALLS_MISSING = "tool_calls_missing"
    """It stopped to call tools and called none."""

    TOOL_CALL_INDEX = "tool_call_index"
    TOOL_CALL_CHANGED = "tool_call_changed"
    """A later delta gives a call another id or name."""

    TOOL_CALL_REPEATED = "tool_call_repeated"
    """Two calls under one id: their answers could not be told apart."""

    TOOL_CALL_UNNAMED = "tool_call_unnamed"
    """A call without an id or without a function."""

    TOO_LARGE = "too_large"
    TOO_MANY_TOOL_CALLS = "too_many_tool_calls"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """
    A function the model wants to be called.
    """

    id: ToolCallId
    name: str
    arguments: str
    """Text as the model wrote it; it need not be JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """
    What the answer cost, in tokens.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Completion:
    """
    A complete answer of the model.
    """

    text: str | None
    tool_calls: tuple[ToolCall, ...]
    finish_reason: FinishReason
    refusal: str | None = None
    """What the model says where it will not answer; there is no text then."""

    usage: Usage | None = None
    model: str | None = None
    """The model as the answer names it, which may be longer than what was asked for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatRequest:
    """
    What the model is asked.
    """

    model: str
    messages: Sequence[Mapping[str, Any]]
    """In the shape of the wire: the conversation is kept in it."""

    tools: Sequence[Mapping[str, Any]] = ()
    """As ``ToolRegistry.openai_tools`` lists them; empty leaves the field out."""

    temperature: float | None = None
    tool_choice: str | Mapping[str, Any] | None = None
    """None means ``auto`` where there are tools."""

    parallel_tool_calls: bool | None = None
    completion_tokens_max: int | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SubmittedOutput:
    """
    What became of a run that was given a tool's output.
    """

    run_id: str
    status: str | None
