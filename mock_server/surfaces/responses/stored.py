"""
Everything about responses that are there already, and ``/v1/responses/input_tokens``.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final

from mock_server.clock import Clock
from mock_server.encoding import to_json_bytes
from mock_server.surfaces.api_events import ApiEvent
from mock_server.surfaces.ports import Answer
from mock_server.surfaces.resources import Call, Resource, page_of
from mock_server.surfaces.responses.memory import Memory, StoredResponse
from mock_server.wire import ApiError, prompt_tokens, standard_headers
from mock_server.wire.responses import (
    UNFINISHED,
    Status,
    chat_of,
    parse_responses_request,
    value_plan,
)

_TRUE: Final = frozenset({"true", "1"})
_MODEL_WHEN_NONE: Final = "gpt-4o"
_NUMBER_DIGITS_MAX: Final = 18


def answer_of(call: Call, value: Mapping[str, Any]) -> Answer:
    """
    Return a plain answer that comes at once: no model is asked.
    """
    plan = value_plan(value, standard_headers(call.request.request_id))
    return Answer(keys=call.keys, plan=plan)


class StoredResponses(Resource):
    """
    Hands out stored responses, lets them be cancelled and deleted.

    Args:
        api_keys: Which keys are accepted; None for any.
        memory: Where they are.
        clock: Says how far background responses have come.
        announce: Told of those that are cancelled.
        strict: How requests are validated.
    """

    name: ClassVar[str] = "stored_responses"

    def __init__(
        self,
        api_keys: Sequence[str] | None,
        *,
        memory: Memory,
        clock: Clock,
        announce: Callable[[ApiEvent], None],
        strict: bool,
    ) -> None:
        self._memory = memory
        self._clock = clock
        self._announce = announce
        self._strict = strict
        super().__init__(
            api_keys,
            {
                "POST /responses/input_tokens": self._count_tokens,
                "GET /responses/{id}": self._get,
                "DELETE /responses/{id}": self._delete,
                "POST /responses/{id}/cancel": self._cancel,
                "GET /responses/{id}/input_items": self._list_items,
            },
        )

    def _find_stored(self, call: Call) -> StoredResponse:
        return self._memory.response(call.world.name, call.ids["id"])

    def _get(self, call: Call) -> Answer:
        stored = self._find_stored(call)
        now_s = self._clock.monotonic()
        if call.request.query.get("stream") not in _TRUE:
            return answer_of(call, stored.value_at(now_s))
        after = _number_of(call.request.query, "starting_after")
        if stored.timeline is None or not stored.response.request.streams:
            message = (
                "Only a background response that was created with 'stream' can be "
                "streamed again."
            )
            raise ApiError(message, param="stream")
        return Answer(
            keys=call.keys,
            plan=stored.timeline.plan(call.request.request_id, now_s, after=after),
            received={"stream": True},
        )

    def _cancel(self, call: Call) -> Answer:
        stored = self._find_stored(call)
        now_s = self._clock.monotonic()
        timeline = stored.timeline
        if timeline is None:
            message = "Cannot cancel a synchronous response."
            raise ApiError(message)
        if timeline.status_at(now_s) in UNFINISHED:
            timeline.stop(now_s, is_cancelled=True)
            self._memory.withdraw(call.world.name, stored)
            self._announce(
                ApiEvent(
                    world=call.world.name,
                    event_type=f"response.{Status.CANCELLED}",
                    object_id=stored.response.id,
                    trace_id=call.request.trace_id,
                )
            )
        return answer_of(call, stored.value_at(now_s))

    def _delete(self, call: Call) -> Answer:
        stored = self._find_stored(call)
        now_s = self._clock.monotonic()
        if stored.status_at(now_s) in UNFINISHED and stored.timeline is not None:
            stored.timeline.stop(now_s, is_cancelled=False)
        self._memory.responses.pop(call.world.name, stored.response.id)
        value = {"id": stored.response.id, "object": "response", "deleted": True}
        return answer_of(call, value)

    def _list_items(self, call: Call) -> Answer:
        stored = self._find_stored(call)
        page = page_of(stored.items, call.request.query, show=lambda item: item)
        return answer_of(call, page)

    def _count_tokens(self, call: Call) -> Answer:
        body = call.body()
        body.setdefault("model", _MODEL_WHEN_NONE)
        asked = parse_responses_request(to_json_bytes(body), strict=self._strict)
        world = call.world.name
        context = self._memory.context_of(asked, world)
        given = self._memory.resolve(asked.items, world)
        chat = chat_of(asked, (*context.items, *given))
        tokens = prompt_tokens(chat)
        value = {"object": "response.input_tokens", "input_tokens": tokens}
        return answer_of(call, value)


def _number_of(query: Mapping[str, str], name: str) -> int:
    text = query.get(name)
    if text is None:
        return -1
    if not (text.isascii() and text.isdecimal() and len(text) <= _NUMBER_DIGITS_MAX):
        message = f"Invalid type for '{name}': expected an integer."
        raise ApiError(message, param=name, code="invalid_type")
    return int(text)
