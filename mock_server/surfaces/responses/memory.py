"""
What is kept of responses and conversations, and what a request makes of it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from mock_server.clock import Clock
from mock_server.draws import Draws
from mock_server.encoding import to_json_bytes
from mock_server.limits import Counts, Limits
from mock_server.script import ConversationName
from mock_server.shelf import Shelf
from mock_server.surfaces.responses.timeline import Timeline
from mock_server.wire import ApiError
from mock_server.wire.responses import (
    UNFINISHED,
    Item,
    Response,
    ResponsesRequest,
    Status,
    kind_of,
)

ITEM_ID_LENGTH = 48
_PREFIXES = {
    "message": "msg_",
    "function_call": "fc_",
    "function_call_output": "fco_",
    "custom_tool_call": "ctc_",
    "custom_tool_call_output": "ctco_",
    "reasoning": "rs_",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """
    What the model knew before it was asked.
    """

    items: tuple[Item, ...] = ()
    name: ConversationName | None = None
    """The conversation that is continued, if one is."""

    items_bytes: int = 0


@dataclass(slots=True, kw_only=True)
class StoredResponse:
    """
    A response that can be asked for.
    """

    response: Response
    items: tuple[Item, ...]
    """All that the model read, each with its id."""

    name: ConversationName
    items_bytes: int
    """What the items and the output weigh, which the next one of a chain holds too."""

    timeline: Timeline | None = None
    """Of a background response."""

    def status_at(self, now_s: float) -> Status:
        """
        Return how far it has come.
        """
        if self.timeline is None:
            return self.response.final_status
        return self.timeline.status_at(now_s)

    def value_at(self, now_s: float) -> dict[str, Any]:
        """
        Return the response as it stands.
        """
        created_s = self.response.created_s
        if self.timeline is None:
            return self.response.value(completed_s=created_s)
        worked_s = self.timeline.finished_s - self.timeline.due_s[0]
        return self.response.value(
            self.timeline.status_at(now_s), completed_s=created_s + int(worked_s)
        )


@dataclass(slots=True, kw_only=True)
class StoredConversation:
    """
    A conversation that the API keeps.
    """

    id: str
    created_s: int
    metadata: dict[str, str]
    items: list[Item] = field(default_factory=list)
    items_bytes: int = 0
    items_added: int = 0


def bytes_of(items: Sequence[Item]) -> int:
    """
    Return what items weigh.
    """
    return len(to_json_bytes(list(items)))


class Memory:
    """
    The responses and the conversations of all worlds, bounded.

    Args:
        limits: How many there are at most, and what they may weigh.
        clock: Says how far background responses have come.
        draws: Mints the ids of items.
    """

    def __init__(self, limits: Limits, *, clock: Clock, draws: Draws) -> None:
        self._clock = clock
        self._draws = draws
        self._items_max = limits.response_items_max
        self.responses: Shelf[StoredResponse] = Shelf(
            limits.responses_max, bytes_max=limits.response_bytes_max
        )
        self.conversations: Shelf[StoredConversation] = Shelf(
            limits.conversations_max, bytes_max=limits.response_bytes_max
        )
        self._conversations_made: Counts[str] = Counts(limits.worlds_max)

    def context_of(self, request: ResponsesRequest, world: str) -> Context:
        """
        Return what a request continues.

        Raises:
            ApiError: It is not there, or not finished.
        """
        if request.previous_response_id is not None:
            return self._chain_of(request.previous_response_id, world)
        if request.conversation_id is not None:
            conversation = self.conversation(world, request.conversation_id)
            return Context(
                items=tuple(conversation.items),
                name=ConversationName(conversation.id, is_unique=True),
                items_bytes=conversation.items_bytes,
            )
        return Context()

    def _chain_of(self, response_id: str, world: str) -> Context:
        stored = self.responses.get(world, response_id)
        param = "previous_response_id"
        if stored is None:
            message = f"Previous response with id '{response_id}' not found."
            raise ApiError(message, param=param, code="previous_response_not_found")
        status = stored.status_at(self._clock.monotonic())
        if status in UNFINISHED:
            message = f"Previous response with id '{response_id}' is {status}."
            raise ApiError(message, param=param)
        is_said = status in {Status.COMPLETED, Status.INCOMPLETE}
        said = stored.response.output if is_said else ()
        return Context(
            items=(*stored.items, *said),
            name=stored.name,
            items_bytes=stored.items_bytes,
        )

    def resolve(self, items: Sequence[Item], world: str) -> tuple[Item, ...]:
        """
        Return items with what references point to in the references' place.

        Raises:
            ApiError: A reference points to nothing.
        """
        return tuple(
            self._find_item(item, world) if kind_of(item) == "item_reference" else item
            for item in items
        )

    def _find_item(self, reference: Item, world: str) -> Item:
        wanted = reference.get("id")
        for stored in reversed(self.responses.of(world)):
            for item in (*stored.response.output, *stored.items):
                if item.get("id") == wanted:
                    return item
        for conversation in reversed(self.conversations.of(world)):
            for item in conversation.items:
                if item.get("id") == wanted:
                    return item
        message = f"Item with id '{wanted}' not found."
        raise ApiError(message, status=404, param="input")

    def check_room(self, items: Sequence[Item]) -> None:
        """
        Refuse more items than a model, or the mock, can hold.

        Raises:
            ApiError: There are too many.
        """
        if len(items) > self._items_max:
            message = (
                "Your input exceeds the context window of this model. Please adjust "
                "your input and try again."
            )
            raise ApiError(message, param="input", code="context_length_exceeded")

    def with_ids(self, items: Iterable[Item], *place: str | int) -> tuple[Item, ...]:
        """
        Return items as lists show them, each with an id and a status.
        """
        return tuple(
            self._with_id(item, *place, number) for number, item in enumerate(items)
        )

    def _with_id(self, item: Item, *place: str | int) -> Item:
        kind = kind_of(item)
        prefix = _PREFIXES.get(kind, "item_")
        status = {} if kind == "reasoning" else {"status": "completed"}
        item_id = item.get("id") or self.mint(prefix, "input", *place)
        given = {key: value for key, value in item.items() if value is not None}
        return {**status, "type": kind, **given, "id": item_id}

    def mint(self, prefix: str, *place: str | int) -> str:
        """
        Return an id of the kind that the Responses API gives.
        """
        return self._draws.mint_hex(prefix, *place, length=ITEM_ID_LENGTH)

    def response(self, world: str, response_id: str) -> StoredResponse:
        """
        Return a stored response.

        Raises:
            ApiError: There is none of that id.
        """
        stored = self.responses.get(world, response_id)
        if stored is None:
            message = f"Response with id '{response_id}' not found."
            raise ApiError(message, status=404)
        return stored

    def conversation(self, world: str, conversation_id: str) -> StoredConversation:
        """
        Return a stored conversation.

        Raises:
            ApiError: There is none of that id.
        """
        stored = self.conversations.get(world, conversation_id)
        if stored is None:
            message = f"Conversation with id '{conversation_id}' not found."
            raise ApiError(message, status=404)
        return stored

    def open_conversation(
        self, world: str, created_s: int, metadata: dict[str, str]
    ) -> StoredConversation:
        """
        Return a conversation that is made for this.
        """
        number = self._conversations_made.add(world)
        conversation = StoredConversation(
            id=self.mint("conv_", world, number),
            created_s=created_s,
            metadata=metadata,
        )
        self.conversations.put(world, conversation.id, conversation)
        return conversation

    def extend(
        self, world: str, conversation_id: str, items: Iterable[Item]
    ) -> tuple[Item, ...]:
        """
        Add items to a conversation, if it is there, and return them as they are kept.
        """
        conversation = self.conversations.get(world, conversation_id)
        if conversation is None:
            return ()
        added = self.with_ids(items, conversation.id, conversation.items_added)
        conversation.items += added
        conversation.items_added += len(added)
        conversation.items_bytes += bytes_of(added)
        self.conversations.put(
            world,
            conversation.id,
            conversation,
            weight_bytes=conversation.items_bytes,
        )
        return added

    def keep(self, world: str, stored: StoredResponse, *, own_bytes: int) -> None:
        """
        Let a response be asked for.

        Args:
            world: Whose it is.
            stored: The response.
            own_bytes: What it weighs besides its items.
        """
        weight_bytes = stored.items_bytes + own_bytes
        self.responses.put(world, stored.response.id, stored, weight_bytes=weight_bytes)

    def withdraw(self, world: str, stored: StoredResponse) -> None:
        """
        Take back what a response that did not come to be added to its conversation.
        """
        conversation_id = stored.response.request.conversation_id or ""
        conversation = self.conversations.get(world, conversation_id)
        if conversation is not None:
            unsaid = {item["id"] for item in stored.response.output}
            conversation.items[:] = [
                item for item in conversation.items if item["id"] not in unsaid
            ]
