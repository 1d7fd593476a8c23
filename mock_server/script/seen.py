"""
A request as the rules of a script see it.

What an arrival is tagged with (`` [#k7f3]`` at the end of what the user said, which a
service may have put into a longer prompt) is taken off first: the tag makes
conversations different, and rules must not depend on it.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from mock_server.wire import (
    AssistantMessage,
    ChatRequest,
    DeveloperMessage,
    FunctionCall,
    FunctionMessage,
    FunctionTool,
    Message,
    SystemMessage,
    Tool,
    ToolMessage,
    UserMessage,
    text_of,
)

_TAG = re.compile(r"\s?\[#([A-Za-z0-9_-]{1,64})\]\s*\Z")

_WRAPPED_TAG = re.compile(r" \[#([0-9a-z]{4})\]")
"""A tag as the bench writes it, in a service that puts the message into a prompt."""

ROLES: Mapping[type[Message], str] = {
    SystemMessage: "system",
    DeveloperMessage: "developer",
    UserMessage: "user",
    AssistantMessage: "assistant",
    ToolMessage: "tool",
    FunctionMessage: "function",
}

_USER: Final = ROLES[UserMessage]
_NOTHING_SAID: Final = UserMessage(content="")


def split_tag(text: str) -> tuple[str, str | None]:
    """
    Return a text without its tag, and the tag.
    """
    if "[#" not in text:
        return text, None
    at_end = _TAG.search(text)
    if at_end is not None:
        return text[: at_end.start()], at_end[1]
    wrapped = list(_WRAPPED_TAG.finditer(text))
    if not wrapped:
        return text, None
    found = wrapped[-1]
    return text[: found.start()] + text[found.end() :], found[1]


class SeenMessage(Struct, frozen=True, gc=False):
    """
    One message of the transcript.
    """

    role: str
    text: str


class SeenResult(Struct, frozen=True):
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

    __slots__ = (
        "_messages",
        "_results",
        "_tools",
        "headers",
        "last",
        "model",
        "request",
        "stream",
        "tag",
        "turn",
        "user_text",
    )

    def __init__(self, request: ChatRequest, headers: Mapping[str, str]) -> None:
        self.request = request
        self.headers = headers
        self.model = request.model
        self.stream = bool(request.stream)
        messages = request.messages
        turn = 1
        for message in messages:
            if type(message) is AssistantMessage:
                turn += 1
        self.turn = turn
        last = messages[-1] if messages else _NOTHING_SAID
        if type(last) is UserMessage:
            content = last.content
            text = content if type(content) is str else text_of(content)
            self.user_text, self.tag = text, None
            """What the user said last, and what it was tagged with."""

            if "[#" in text:
                self.user_text, self.tag = split_tag(text)
            self.last = SeenMessage(_USER, self.user_text)
        else:
            self.user_text, self.tag = split_tag(_last_user_text(messages))
            self.last = see_message(last)
        self._messages: tuple[SeenMessage, ...] | None = None
        self._results: tuple[SeenResult, ...] | None = None
        self._tools: tuple[str, ...] | None = None

    @property
    def messages(self) -> tuple[SeenMessage, ...]:
        """
        The whole transcript.
        """
        if self._messages is None:
            self._messages = tuple(map(see_message, self.request.messages))
        return self._messages

    @property
    def tools(self) -> tuple[str, ...]:
        """
        The names of the offered tools.
        """
        if self._tools is None:
            self._tools = tuple(map(name_of, self.request.tools or ()))
        return self._tools

    @property
    def results(self) -> tuple[SeenResult, ...]:
        """
        The tool results that end the transcript, in its order.
        """
        if self._results is None:
            self._results = _results_of(self.request.messages)
        return self._results


def _last_user_text(messages: Sequence[Message]) -> str:
    for message in reversed(messages):
        if type(message) is UserMessage:
            return text_of(message.content)
    return ""


def _results_of(messages: Sequence[Message]) -> tuple[SeenResult, ...]:
    if not messages or type(messages[-1]) is not ToolMessage:
        return ()
    answers: list[ToolMessage] = []
    names: dict[str, str] = {}
    for message in reversed(messages):
        if isinstance(message, ToolMessage):
            answers.append(message)
            continue
        if isinstance(message, AssistantMessage):
            for call in message.tool_calls or ():
                part = call.function if isinstance(call, FunctionCall) else call.custom
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


def name_of(tool: Tool) -> str:
    """
    Return a tool's name.
    """
    return tool.function.name if isinstance(tool, FunctionTool) else tool.custom.name


def see_message(message: Message) -> SeenMessage:
    """
    Return a message as rules see it.
    """
    text = text_of(message.content)
    if type(message) is UserMessage:
        text = split_tag(text)[0]
    return SeenMessage(ROLES[type(message)], text)
