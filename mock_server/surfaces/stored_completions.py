"""
Chat completions that were asked for with ``store: true``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

import msgspec

from mock_server.shelf import Shelf
from mock_server.surfaces.ports import WorldMemory
from mock_server.surfaces.resources import (
    METADATA,
    Call,
    Resource,
    Value,
    check_fields,
    page_of,
)
from mock_server.wire import ApiError, ChatRequest, Reply, completion_value

_METADATA_QUERY: Final = "metadata["


@dataclass(slots=True)
class StoredCompletion:
    """
    A completion and the chat that it answers.
    """

    value: dict[str, Any]
    """As it is answered."""

    messages: list[dict[str, Any]]


class StoredCompletions(Resource):
    """
    Keeps completions and hands them out again.

    Args:
        api_keys: Which keys are accepted; None for any.
        completions_max: How many are kept; the oldest make room.
    """

    name: ClassVar[str] = "stored_completions"

    def __init__(self, api_keys: Sequence[str] | None, *, completions_max: int) -> None:
        self.shelf: Shelf[StoredCompletion] = Shelf(completions_max)
        super().__init__(
            api_keys,
            {
                "GET /chat/completions": self._list,
                "GET /chat/completions/{id}": self._get,
                "POST /chat/completions/{id}": self._update,
                "DELETE /chat/completions/{id}": self._delete,
                "GET /chat/completions/{id}/messages": self._messages,
            },
        )

    def keep(self, chat: ChatRequest, world: WorldMemory, reply: Reply) -> None:
        """
        Keep a completion.
        """
        value = {
            **completion_value(reply),
            "metadata": chat.metadata or {},
            "request_id": None,
            "tool_choice": msgspec.to_builtins(chat.tool_choice),
            "temperature": chat.temperature,
            "top_p": chat.top_p,
            "seed": chat.seed,
            "input_user": chat.user,
        }
        messages = [
            _message(f"{reply.id}-{index}", msgspec.to_builtins(message))
            for index, message in enumerate(chat.messages)
        ]
        self.shelf.put(world.name, reply.id, StoredCompletion(value, messages))

    def _list(self, call: Call) -> Value:
        query = call.request.query
        wanted = {
            name[len(_METADATA_QUERY) : -1]: value
            for name, value in query.items()
            if name.startswith(_METADATA_QUERY) and name.endswith("]")
        }
        kept = [
            stored
            for stored in self.shelf.of(call.world.name)
            if query.get("model") in {None, stored.value["model"]}
            and wanted.items() <= stored.value["metadata"].items()
        ]
        return page_of(kept, query, show=lambda stored: stored.value, order="asc")

    def _get(self, call: Call) -> Value:
        return self._find_stored(call).value

    def _update(self, call: Call) -> Value:
        stored = self._find_stored(call)
        body = call.body()
        check_fields(body, {"metadata": METADATA}, required=["metadata"])
        stored.value = {**stored.value, "metadata": body["metadata"]}
        return stored.value

    def _delete(self, call: Call) -> Value:
        stored = self._find_stored(call)
        completion_id = stored.value["id"]
        self.shelf.pop(call.world.name, completion_id)
        return {
            "object": "chat.completion.deleted",
            "id": completion_id,
            "deleted": True,
        }

    def _messages(self, call: Call) -> Value:
        stored = self._find_stored(call)
        return page_of(
            stored.messages, call.request.query, show=lambda m: m, order="asc"
        )

    def _find_stored(self, call: Call) -> StoredCompletion:
        completion_id = call.ids["id"]
        stored = self.shelf.get(call.world.name, completion_id)
        if stored is None:
            message = f"No chat completion found with id '{completion_id}'."
            raise ApiError(message, status=404, param="completion_id")
        return stored


def _message(message_id: str, message: dict[str, Any]) -> dict[str, Any]:
    """
    Return a message of the chat as it is shown: its parts beside its text.
    """
    content = message.get("content")
    parts = content if isinstance(content, list) else None
    if parts is not None:
        content = "".join(part.get("text", "") for part in parts)
    return {**message, "id": message_id, "content": content, "content_parts": parts}
