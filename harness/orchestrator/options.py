"""
How chats are run, and how many.
"""

from dataclasses import dataclass

from harness.errors import check_options


@dataclass(frozen=True, slots=True, kw_only=True)
class OrchestratorOptions:
    """
    What a chat may cost, and what is said in every one of them.
    """

    model: str = "gpt-4o"
    """Asked unless the caller names another."""

    temperature: float = 0.7
    system_prompt: str = ""
    """First message of every conversation; empty sends none."""

    total_timeout_s: float = 120.0
    """For a whole chat: all requests, waits and tools."""

    turns_max: int = 8
    """Requests to the model within one chat."""

    parallel: bool = True
    """Whether the tool calls of one turn run at the same time."""

    tool_calls_max: int = 32
    """Tool calls in one turn."""

    arguments_bytes_max: int = 65_536
    """Size of the arguments of one tool call."""

    pending_timeout_s: float = 60.0
    """How long a deferred tool has for its result."""

    session_messages_max: int = 64
    """Messages of a session that are remembered."""

    chats_max: int = 10_000
    """Chats of waiting callers at once."""

    async_chats_max: int = 1_000
    """Asynchronous chats being worked on at once."""

    reread_s: float = 1.5
    """How often a waiting chat reads the store again, in case a hint was lost."""

    def __post_init__(self) -> None:
        check_options(
            self,
            model=bool(self.model),
            temperature=0 <= self.temperature <= 2,  # noqa: PLR2004 - the API's own bounds
            total_timeout_s=self.total_timeout_s > 0,
            turns_max=self.turns_max >= 1,
            tool_calls_max=self.tool_calls_max >= 1,
            arguments_bytes_max=self.arguments_bytes_max >= 1,
            pending_timeout_s=self.pending_timeout_s > 0,
            session_messages_max=self.session_messages_max >= 1,
            chats_max=self.chats_max >= 1,
            async_chats_max=self.async_chats_max >= 1,
            reread_s=self.reread_s > 0,
        )
