"""
``/v1/assistants``: a model, its instructions and its tools under one name.
"""

from collections.abc import Sequence
from typing import Any, ClassVar

from mock_server.hashes import sha256_of
from mock_server.surfaces.resources import Call, Resource, Value, check_fields, page_of
from mock_server.surfaces.scripted import ScriptedModel
from mock_server.surfaces.threads.requests import ASSISTANT
from mock_server.surfaces.threads.state import ThreadMemory, none_found


class Assistants(Resource):
    """
    Keeps assistants and hands them out again.

    Args:
        api_keys: Which keys are accepted; None for any.
        model: Says which models there are.
        memory: Where they are kept.
    """

    name: ClassVar[str] = "assistants"

    def __init__(
        self,
        api_keys: Sequence[str] | None,
        model: ScriptedModel,
        memory: ThreadMemory,
    ) -> None:
        self._model = model
        self._memory = memory
        super().__init__(
            api_keys,
            {
                "POST /assistants": self._create,
                "GET /assistants": self._list,
                "GET /assistants/{id}": self._get,
                "POST /assistants/{id}": self._update,
                "DELETE /assistants/{id}": self._delete,
            },
        )

    def _create(self, call: Call) -> Value:
        body = call.body()
        model = self._model.model_of(body)
        check_fields(body, ASSISTANT)
        place = (call.world.name, sha256_of(call.request.body))
        value: dict[str, Any] = {
            "id": self._memory.mint.mint(
                "asst_",
                *place,
                is_taken=lambda minted: (
                    self._memory.assistants.get(call.world.name, minted) is not None
                ),
            ),
            "object": "assistant",
            "created_at": call.now_s,
            "name": body.get("name"),
            "description": body.get("description"),
            "model": model,
            "instructions": body.get("instructions"),
            "tools": body.get("tools") or [],
            "tool_resources": body.get("tool_resources"),
            "metadata": body.get("metadata") or {},
            "temperature": body.get("temperature"),
            "top_p": body.get("top_p"),
            "response_format": body.get("response_format") or "auto",
        }
        self._memory.assistants.put(call.world.name, value["id"], value)
        return value

    def _list(self, call: Call) -> Value:
        kept = self._memory.assistants.of(call.world.name)
        return page_of(kept, call.request.query, show=lambda value: value)

    def _get(self, call: Call) -> Value:
        return self._find_assistant(call)

    def _update(self, call: Call) -> Value:
        value = self._find_assistant(call)
        body = call.body()
        check_fields(body, ASSISTANT)
        if body.get("model") is not None:
            self._model.check_model(body["model"])
        changed = {name: given for name, given in body.items() if name in value}
        value = {**value, **changed}
        self._memory.assistants.put(call.world.name, value["id"], value)
        return value

    def _delete(self, call: Call) -> Value:
        assistant_id = self._find_assistant(call)["id"]
        self._memory.assistants.pop(call.world.name, assistant_id)
        return {"id": assistant_id, "object": "assistant.deleted", "deleted": True}

    def _find_assistant(self, call: Call) -> dict[str, Any]:
        value = self._memory.assistants.get(call.world.name, call.ids["id"])
        if value is None:
            raise none_found(call.ids["id"], "assistant")
        return value
