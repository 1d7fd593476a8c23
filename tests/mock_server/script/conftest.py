"""
Scripts and requests in a few words.
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson
import pytest

from mock_server.documents import DocumentError, parse_document
from mock_server.script import CallNames, CompiledScript, Seen, script_of
from mock_server.script.conversation import Conversation
from mock_server.script.engine import Decision
from mock_server.wire import parse_chat_request

Ask = Callable[..., Seen]
Lint = Callable[[str], list[str]]


class Player:
    """
    Plays a script to one conversation.
    """

    def __init__(self, text: str) -> None:
        self._script = CompiledScript.of(script_of(parse_document(text, file="s")))
        self._conversation = Conversation()

    def new_conversation(self) -> None:
        """
        Forget what the conversation has moved.
        """
        self._conversation = Conversation()

    def decide(self, seen: Seen) -> Decision:
        """
        Return what the script makes of a request.
        """
        names = CallNames("conversation-1", 1)
        return self._script.decide(seen, names, self._conversation)

    def text(self, seen: Seen) -> str | None:
        """
        Return the text of the reply.
        """
        drawn = self.decide(seen).drawn
        return None if drawn is None else drawn.text


@pytest.fixture
def play() -> Callable[[str], Player]:
    """
    Return what makes a player of a script.
    """
    return Player


@pytest.fixture
def ask() -> Ask:
    """
    Return what makes a request that rules can see.
    """

    def make(
        message: str | None = None,
        *,
        messages: list[dict[str, Any]] | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> Seen:
        transcript = messages or [{"role": "user", "content": message or "hi"}]
        body = {"model": "gpt-4o", "messages": transcript, **more}
        request = parse_chat_request(orjson.dumps(body), strict=False)
        return Seen(request, headers or {})

    return make


@pytest.fixture
def lint() -> Lint:
    """
    Return what lists the mistakes of a script, as they are printed.
    """

    def run(text: str) -> list[str]:
        try:
            script_of(parse_document(text, file="s.yaml"))
        except DocumentError as error:
            return [str(mistake) for mistake in error.mistakes]
        return []

    return run
