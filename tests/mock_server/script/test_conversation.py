"""
What is remembered of conversations is bounded.
"""

from mock_server.script import Conversations
from mock_server.script.conversation import ATTEMPTS_MAX, Conversation


def test_conversations_are_bounded() -> None:
    """
    The conversation unused for longest is forgotten, and counted.
    """
    conversations = Conversations(conversations_max=2)
    first = conversations.open("a")
    conversations.open("b")
    conversations.open("a")
    conversations.open("c")

    assert conversations.open("a") is first
    assert len(conversations) == 2
    assert conversations.dropped == 1


def test_attempts_are_bounded() -> None:
    """
    A conversation of endless different requests counts only the latest ones.
    """
    conversation = Conversation()
    for number in range(ATTEMPTS_MAX + 10):
        conversation.count_attempt(1, b"%d" % number)
        conversation.count_attempt(1, b"again")

    assert len(conversation.attempts) == ATTEMPTS_MAX
    assert conversation.count_attempt(1, b"again") == ATTEMPTS_MAX + 11
    assert conversation.count_attempt(1, b"0") == 1
