"""
What a caller asks and what a chat comes to.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from harness.ids import SessionId, TraceId
from harness.orchestrator.conversation import Conversation, FinishedCall, PlannedCall
from harness.resilience import Deadline


class ChatMode(StrEnum):
    """
    How the caller takes the answer.
    """

    SYNC = "sync"
    ASYNC = "async"
    STREAM = "stream"


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatCommand:
    """
    What a user says, as it was validated at the door.
    """

    message: str
    user_id: str
    session_id: SessionId | None = None
    """None begins a session."""

    model: str | None = None
    """None asks the model of the options."""


@dataclass(slots=True, kw_only=True)
class Chat:
    """
    One chat under way.
    """

    chat_id: str
    """Tool calls in the store carry it; of an async chat the callback's id."""

    mode: ChatMode
    session_id: SessionId
    model: str
    deadline: Deadline
    trace_id: TraceId | None
    calls_started: int = field(default=0)
    """Tool calls that were handed to be run: from one on, repeating has effects."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatResult:
    """
    A chat that was answered.
    """

    response: str
    function_calls: tuple[FinishedCall, ...]
    session_id: SessionId
    trace_id: TraceId | None
    turns: int

    def to_body(self) -> dict[str, Any]:
        """
        Return the body of the answer.
        """
        return {
            "success": True,
            "response": self.response,
            "function_calls": [call.to_body() for call in self.function_calls],
            "session_id": self.session_id,
            "trace_id": self.trace_id,
        }


class ChatListener(Protocol):
    """
    Whoever watches a chat while it runs; what it raises ends the chat.
    """

    async def delta(self, text: str) -> None:
        """
        Take a piece of the answer's text.
        """

    async def tool_call(self, call: PlannedCall) -> None:
        """
        Take a tool call that begins.
        """

    async def tool_result(self, finished: FinishedCall) -> None:
        """
        Take the answer to a tool call.
        """


Progress = Callable[[Conversation], Awaitable[None]]
"""Keeps a chat's conversation as of a step."""
