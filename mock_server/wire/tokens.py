"""
How many tokens a text has, and how it is cut into pieces for a stream.

Tokens are an estimate, the same everywhere: one for every four characters of text,
rounded up; four more for every message and three for the reply's start. A stream cuts
text at words, so that its pieces look like a model's.
"""

import re

from mock_server.wire.reply import Choice, Usage
from mock_server.wire.request import (
    AssistantMessage,
    ChatRequest,
    FunctionCall,
    FunctionTool,
    text_of,
)

CHARACTERS_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 4
TOKENS_PER_REPLY = 3

PIECES_MAX = 2048
"""A text with more pieces is cut into so many equal ones."""

_TEXT_PIECE = re.compile(r"\s?\S{1,12}|\s+")
_ARGUMENTS_PIECE = re.compile(r"\w{1,12}|\W{1,4}")


def count_tokens(text: str) -> int:
    """
    Return the estimate for one text.
    """
    return -(-len(text) // CHARACTERS_PER_TOKEN)


def prompt_tokens(request: ChatRequest) -> int:
    """
    Return the estimate for all that the model reads.
    """
    tokens = TOKENS_PER_REPLY
    for message in request.messages:
        tokens += TOKENS_PER_MESSAGE + count_tokens(text_of(message.content))
        if isinstance(message, AssistantMessage) and message.tool_calls:
            for call in message.tool_calls:
                if isinstance(call, FunctionCall):
                    name, given = call.function.name, call.function.arguments
                else:
                    name, given = call.custom.name, call.custom.input
                tokens += count_tokens(name) + count_tokens(given)
    for tool in request.tools or ():
        if isinstance(tool, FunctionTool):
            definition = tool.function
            schema_bytes = len(bytes(definition.parameters))
            length = len(definition.name) + len(definition.description or "")
            tokens += -(-(length + schema_bytes) // CHARACTERS_PER_TOKEN)
    return tokens


def completion_tokens(choice: Choice) -> int:
    """
    Return the estimate for one answer of the model.
    """
    tokens = count_tokens(choice.text or "") + count_tokens(choice.refusal or "")
    for call in choice.tool_calls:
        tokens += count_tokens(call.name) + count_tokens(call.arguments)
    return tokens


def usage_of(request: ChatRequest, choices: tuple[Choice, ...]) -> Usage:
    """
    Return the estimate for a request and its answers.
    """
    return Usage(
        prompt_tokens(request), sum(completion_tokens(choice) for choice in choices)
    )


def cut_text(text: str) -> list[str]:
    """
    Return the pieces that a stream sends a text in.
    """
    return _cut(text, _TEXT_PIECE)


def cut_arguments(arguments: str) -> list[str]:
    """
    Return the pieces that a stream sends the arguments of a tool call in.
    """
    return _cut(arguments, _ARGUMENTS_PIECE)


def _cut(text: str, piece: re.Pattern[str]) -> list[str]:
    pieces = piece.findall(text)
    if len(pieces) <= PIECES_MAX:
        return pieces
    size = -(-len(text) // PIECES_MAX)
    return [text[start : start + size] for start in range(0, len(text), size)]
