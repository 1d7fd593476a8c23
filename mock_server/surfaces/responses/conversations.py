"""
``/v1/conversations``: transcripts that the API keeps for its users.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Final

from mock_server.surfaces.ports import Answer
from mock_server.surfaces.resources import (
    METADATA,
    Call,
    Resource,
    check_fields,
    page_of,
)
from mock_server.surfaces.responses.memory import Memory, StoredConversation
from mock_server.surfaces.responses.stored import answer_of
from mock_server.wire import ApiError
from mock_server.wire.responses import ITEM, Item, as_items
from mock_server.wire.shape import Array

_ITEMS_AT_ONCE_MAX: Final = 20
_ITEMS: Final = Array(item=ITEM, length_max=_ITEMS_AT_ONCE_MAX)


class Conversations(Resource):
    """
    Keeps conversations and hands them out again.

    Args:
        api_keys: Which keys are accepted; None for any.
        memory: Where they are.
    """

    name: ClassVar[str] = "conversations"

    def __init__(self, api_keys: Sequence[str] | None, *, memory: Memory) -> None:
        self._memory = memory
        super().__init__(
            api_keys,
            {
                "POST /conversations": self._create,
                "GET /conversations/{id}": self._get,
                "POST /conversations/{id}": self._update,
                "DELETE /conversations/{id}": self._delete,
                "POST /conversations/{id}/items": self._add_items,
                "GET /conversations/{id}/items": self._list_items,
                "GET /conversations/{id}/items/{item_id}": self._get_item,
                "DELETE /conversations/{id}/items/{item_id}": self._delete_item,
            },
        )

    def _find_stored(self, call: Call) -> StoredConversation:
        return self._memory.conversation(call.world.name, call.ids["id"])

    def _create(self, call: Call) -> Answer:
        body = call.body()
        check_fields(body, {"items": _ITEMS, "metadata": METADATA})
        world = call.world.name
        items = self._memory.resolve(as_items(body.get("items")), world)
        stored = self._memory.open_conversation(
            world, call.now_s, body.get("metadata") or {}
        )
        self._memory.extend(world, stored.id, items)
        return answer_of(call, _show(stored))

    def _get(self, call: Call) -> Answer:
        return answer_of(call, _show(self._find_stored(call)))

    def _update(self, call: Call) -> Answer:
        stored = self._find_stored(call)
        body = call.body()
        check_fields(body, {"metadata": METADATA})
        if "metadata" in body:
            stored.metadata = body["metadata"] or {}
        return answer_of(call, _show(stored))

    def _delete(self, call: Call) -> Answer:
        stored = self._find_stored(call)
        self._memory.conversations.pop(call.world.name, stored.id)
        value = {"id": stored.id, "object": "conversation.deleted", "deleted": True}
        return answer_of(call, value)

    def _add_items(self, call: Call) -> Answer:
        stored = self._find_stored(call)
        body = call.body()
        check_fields(body, {"items": _ITEMS}, required=("items",))
        world = call.world.name
        given = self._memory.resolve(as_items(body["items"]), world)
        self._memory.check_room([*stored.items, *given])
        added = self._memory.extend(world, stored.id, given)
        query = {"limit": str(_ITEMS_AT_ONCE_MAX), "order": "asc"}
        return answer_of(call, page_of(added, query, show=lambda item: item))

    def _list_items(self, call: Call) -> Answer:
        stored = self._find_stored(call)
        page = page_of(stored.items, call.request.query, show=lambda item: item)
        return answer_of(call, page)

    def _get_item(self, call: Call) -> Answer:
        return answer_of(call, self._find_item(call))

    def _delete_item(self, call: Call) -> Answer:
        stored = self._find_stored(call)
        stored.items.remove(self._find_item(call))
        return answer_of(call, _show(stored))

    def _find_item(self, call: Call) -> Item:
        wanted = call.ids["item_id"]
        stored = self._find_stored(call)
        for item in stored.items:
            if item["id"] == wanted:
                return item
        message = f"Item with id '{wanted}' not found in conversation '{stored.id}'."
        raise ApiError(message, status=404)


def _show(stored: StoredConversation) -> dict[str, Any]:
    return {
        "id": stored.id,
        "object": "conversation",
        "created_at": stored.created_s,
        "metadata": stored.metadata,
    }
