"""
How many tokens a text has, and how it is cut into pieces for a stream.

A text has the tokens that :mod:`mock_server.tokens` says; four more are counted for
every message and three for the reply's start. A stream cuts text at words, so that its
pieces look like a model's; at tokens, if their log probabilities are asked for.
"""

import re

from msgspec.structs import replace

from mock_server.tokens import CHARACTERS_PER_TOKEN, TOKENIZER
from mock_server.wire.reply import Choice, FinishReason, ReplyToolCall
from mock_server.wire.request import (
    AssistantMessage,
    ChatRequest,
    FunctionCall,
    FunctionTool,
    text_of,
)

TOKENS_PER_MESSAGE = 4
TOKENS_PER_REPLY = 3

PIECES_MAX = 2048
"""A text with more pieces is cut into so many equal ones."""

_TEXT_PIECE = re.compile(r"\s?\S{1,12}|\s+")
_ARGUMENTS_PIECE = re.compile(r"\w{1,12}|\W{1,4}")


def count_tokens(text: str) -> int:
    """
    Return how many tokens a text has.
    """
    return TOKENIZER.count(text)


def prompt_tokens(request: ChatRequest) -> int:
    """
    Return the tokens of all that the model reads.
    """
    count, is_estimate = TOKENIZER.count, TOKENIZER.is_estimate
    messages = request.messages
    tokens = TOKENS_PER_REPLY + TOKENS_PER_MESSAGE * len(messages)
    for message in messages:
        content = message.content
        text = content if type(content) is str else text_of(content)
        # A call takes several times as long as the division.
        tokens += -(-len(text) // CHARACTERS_PER_TOKEN) if is_estimate else count(text)
        if type(message) is AssistantMessage and message.tool_calls:
            for call in message.tool_calls:
                if isinstance(call, FunctionCall):
                    name, given = call.function.name, call.function.arguments
                else:
                    name, given = call.custom.name, call.custom.input
                tokens += count(name) + count(given)
    for tool in request.tools or ():
        if type(tool) is FunctionTool:
            definition = tool.function
            schema_bytes = len(bytes(definition.parameters))
            length = len(definition.name) + len(definition.description or "")
            tokens += -(-(length + schema_bytes) // CHARACTERS_PER_TOKEN)
    return tokens


def completion_tokens(choice: Choice) -> int:
    """
    Return the tokens of one answer of the model.
    """
    tokens = 0
    if choice.text:
        tokens = count_tokens(choice.text)
    if choice.refusal:
        tokens += count_tokens(choice.refusal)
    if choice.reasoning:
        tokens += count_tokens(choice.reasoning)
    for call in choice.tool_calls:
        tokens += count_tokens(call.name) + count_tokens(call.arguments)
    return tokens


def truncate(choice: Choice, tokens_max: int | None) -> Choice:
    """
    Return what a model says that may say so many tokens and no more.

    A call that is cut keeps its name: its arguments end in the middle.
    """
    if tokens_max is None or completion_tokens(choice) <= tokens_max:
        return choice
    left = max(0, tokens_max - count_tokens(choice.reasoning or ""))
    text, refusal = choice.text, choice.refusal
    if text is not None:
        text = TOKENIZER.cut(text, left)
        left -= count_tokens(text)
    if refusal is not None:
        refusal = TOKENIZER.cut(refusal, left)
        left -= count_tokens(refusal)
    calls: list[ReplyToolCall] = []
    for call in choice.tool_calls:
        left -= count_tokens(call.name)
        if left <= 0:
            break
        arguments = TOKENIZER.cut(call.arguments, left)
        left -= count_tokens(arguments)
        calls.append(replace(call, arguments=arguments))
    return replace(
        choice,
        text=text,
        refusal=refusal,
        tool_calls=tuple(calls),
        finish_reason=FinishReason.LENGTH,
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


def cut_tokens(text: str) -> list[str]:
    """
    Return the pieces that a stream sends a text in whose tokens are all shown.
    """
    tokens = TOKENIZER.split(text)
    size = -(-len(tokens) // PIECES_MAX) or 1
    return [
        "".join(tokens[start : start + size]) for start in range(0, len(tokens), size)
    ]


def _cut(text: str, piece: re.Pattern[str]) -> list[str]:
    pieces = piece.findall(text)
    if len(pieces) <= PIECES_MAX:
        return pieces
    size = -(-len(text) // PIECES_MAX)
    return [text[start : start + size] for start in range(0, len(text), size)]
