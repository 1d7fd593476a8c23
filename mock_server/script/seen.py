"""
A request as the rules of a script see it.

What an arrival is tagged with (`` [#k7f3]`` at the end of a user message) is taken
off first: the tag makes conversations different, and rules must not depend on it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from mock_server.wire import (
    AssistantMessage,
    ChatRequest,
    FunctionTool,
    Message,
    ToolMessage,
    UserMessage,
    text_of,
)

_TAG = re.compile(r"\s?\[#([A-Za-z0-9_-]{1,64})\]\s*\Z")

ROLES = {
    "SystemMessage": "system",
    "DeveloperMessage": "developer",
    "UserMessage": "user",
    "AssistantMessage": "assistant",
    "ToolMessage": "tool",
    "FunctionMessage": "function",
}


def split_tag(text: str) -> tuple[str, str | None]:
    """
    Return a text without the tag at its end, and the tag.
    """
    if not text.endswith("]") and not text.rstrip().endswith("]"):
        return text, None
    found = _TAG.search(text)
    return (text, None) if found is None else (text[: found.start()], found[1])


@dataclass(frozen=True, slots=True)
class SeenMessage:
    """
    One message of the transcript.
    """

    role: str
    text: str


@dataclass(frozen=True, slots=True)
class SeenResult:
    """
    What a tool answered since the model last spoke.
    """

    tool_call_id: str
    tool: str | None
    """None if no call of the transcript has that id."""

    content: str


class Seen:
    """
    A request, taken apart once and only as far as the rules ask.
    """

    def __init__(self, request: ChatRequest, headers: Mapping[str, str]) -> None:
        self.request = request
        self.headers = headers
        self.model = request.model
        self.stream = bool(request.stream)
        self.turn = 1 + sum(isinstance(m, AssistantMessage) for m in request.messages)
        last = request.messages[-1] if request.messages else UserMessage(content="")
        self.last = see_message(last)

    @cached_property
    def messages(self) -> tuple[SeenMessage, ...]:
        """
        The whole transcript.
        """
        return tuple(see_message(message) for message in self.request.messages)

    @cached_property
    def tools(self) -> tuple[str, ...]:
        """
        The names of the offered tools.
        """
        return tuple(
            tool.function.name if isinstance(tool, FunctionTool) else tool.custom.name
            for tool in self.request.tools or ()
        )

    @cached_property
    def results(self) -> tuple[SeenResult, ...]:
        """
        The tool results that end the transcript, in its order.
        """
        answers: list[ToolMessage] = []
        names: dict[str, str] = {}
        for message in reversed(self.request.messages):
            if isinstance(message, ToolMessage):
                answers.append(message)
                continue
            if isinstance(message, AssistantMessage):
                for call in message.tool_calls or ():
                    part = call.function if hasattr(call, "function") else call.custom
                    names[call.id] = part.name
            break
        return tuple(
            SeenResult(
                answer.tool_call_id,
                names.get(answer.tool_call_id),
                text_of(answer.content),
            )
            for answer in reversed(answers)
        )

    @cached_property
    def _last_user(self) -> tuple[str, str | None]:
        for message in reversed(self.request.messages):
            if isinstance(message, UserMessage):
                return split_tag(text_of(message.content))
        return "", None

    @property
    def user_text(self) -> str:
        """
        What the user said last, without its tag.
        """
        return self._last_user[0]

    @property
    def tag(self) -> str | None:
        """
        The tag of what the user said last.
        """
        return self._last_user[1]


def see_message(message: Message) -> SeenMessage:
    """
    Return a message as rules see it.
    """
    text = text_of(message.content)
    if isinstance(message, UserMessage):
        text = split_tag(text)[0]
    return SeenMessage(ROLES[type(message).__name__], text)
