"""
Which conversation a request belongs to, and what is remembered of it.

Chance is drawn from the conversation, the turn and the attempt, so that two
conversations that run at once change nothing for each other.
"""

import hashlib
from dataclasses import dataclass, field
from functools import lru_cache

from msgspec import Struct

from mock_server.limits import BoundedDict
from mock_server.script.seen import Seen
from mock_server.wire import Message, UserMessage, text_of

CONVERSATIONS_MAX = 4096
"""Conversations that a world remembers; the one unused for longest is forgotten."""

ATTEMPTS_MAX = 1024
"""Different requests of one conversation whose attempts are counted, the latest."""

_METADATA_KEY = "conversation"
_DIGEST_DIGITS = 16
_SHORT_LENGTH_MAX = 256


class ConversationName(Struct, frozen=True, gc=False):
    """
    What a conversation is called, and whether another could be called the same.
    """

    key: str
    is_unique: bool


def name_conversation(seen: Seen, trace_id: str | None) -> ConversationName:
    """
    Return the conversation of a request.

    It is the trace id, else ``metadata.conversation``, else the first user message;
    only the last can be the same for two conversations, unless it is tagged.
    """
    if trace_id is not None:
        return ConversationName(trace_id, is_unique=True)
    metadata = seen.request.metadata
    if metadata and metadata.get(_METADATA_KEY):
        return ConversationName(metadata[_METADATA_KEY], is_unique=True)
    text = _first_user_text(seen.request.messages)
    name = _name_of_short if len(text) <= _SHORT_LENGTH_MAX else _name_of
    return ConversationName(name(text), is_unique=seen.tag is not None)


def _name_of(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
    return f"message-{digest[:_DIGEST_DIGITS]}"


# Every turn and every attempt of a conversation begins with the same message.
_name_of_short = lru_cache(CONVERSATIONS_MAX)(_name_of)


def _first_user_text(messages: list[Message]) -> str:
    for message in messages:
        if type(message) is UserMessage:
            return text_of(message.content)
    return text_of(messages[0].content) if messages else ""


@dataclass(slots=True)
class Conversation:
    """
    What is remembered of one conversation.
    """

    attempts: dict[tuple[int, int], int] = field(default_factory=dict)
    """How often each body came, by turn."""

    cursors: dict[int, int] = field(default_factory=dict)
    """How many replies of its sequence each rule has given."""

    def count_attempt(self, turn: int, body: bytes) -> int:
        """
        Return which attempt this is: the nth identical body in that turn, from 1.
        """
        key = (turn, hash(body))
        number = self.attempts.pop(key, 0) + 1
        self.attempts[key] = number
        if len(self.attempts) > ATTEMPTS_MAX:
            del self.attempts[next(iter(self.attempts))]
        return number


class Conversations:
    """
    The conversations of one world.
    """

    def __init__(self, conversations_max: int = CONVERSATIONS_MAX) -> None:
        self._conversations: BoundedDict[str, Conversation] = BoundedDict(
            conversations_max
        )

    def __len__(self) -> int:
        return len(self._conversations)

    @property
    def dropped(self) -> int:
        """
        Conversations that were forgotten for want of room.
        """
        return self._conversations.dropped

    def open(self, key: str) -> Conversation:
        """
        Return what is remembered of a conversation.
        """
        return self._conversations.recall(key, Conversation)
