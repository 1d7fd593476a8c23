"""
What is remembered of a user's earlier chats.
"""

import orjson

from harness.ids import SessionId
from harness.orchestrator.conversation import Conversation, Message, remembered
from harness.orchestrator.failures import SessionForeignError
from harness.stores import Store


class Sessions:
    """
    Keeps the conversation of each session in the store, for its own user alone.

    Of two chats of one session at the same time the one that ends last is remembered.
    """

    def __init__(self, *, store: Store, messages_max: int) -> None:
        self._store = store
        self._messages_max = messages_max

    async def load(self, session_id: SessionId, *, user_id: str) -> tuple[Message, ...]:
        """
        Return the history of a session; an unknown one has none.

        Raises:
            SessionForeignError: The session belongs to another user.
        """
        text = await self._store.load_session(session_id)
        if text is None:
            return ()
        kept = orjson.loads(text)
        if kept["user_id"] != user_id:
            raise SessionForeignError(session_id=session_id)
        return tuple(kept["messages"])

    async def save(
        self, session_id: SessionId, conversation: Conversation, *, user_id: str
    ) -> None:
        """
        Remember a conversation, up to the limit.
        """
        messages = remembered(conversation, messages_max=self._messages_max)
        kept = {"user_id": user_id, "messages": messages}
        await self._store.save_session(session_id, orjson.dumps(kept).decode())
