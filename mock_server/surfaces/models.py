"""
``GET /v1/models`` and ``GET /v1/models/{id}``.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, Final
from urllib.parse import unquote

from mock_server.surfaces.resources import Call, Resource, Value
from mock_server.wire import unknown_model_id

_CREATED_S: Final = 1715367049
_OWNER: Final = "toolcall-harness"


class Models(Resource):
    """
    Says which models there are.

    Args:
        api_keys: Which keys are accepted; None for any.
        models: Their names.
    """

    name: ClassVar[str] = "models"

    def __init__(self, api_keys: Sequence[str] | None, models: Sequence[str]) -> None:
        self._models = models
        super().__init__(
            api_keys, {"GET /models": self._list, "GET /models/{+}": self._get}
        )

    def _list(self, call: Call) -> Value:
        del call
        return {"object": "list", "data": [_model(name) for name in self._models]}

    def _get(self, call: Call) -> Value:
        # An id may hold slashes, sent as they are or encoded.
        model = unquote(call.ids["rest"])
        if model not in self._models:
            raise unknown_model_id(model)
        return _model(model)


def _model(name: str) -> dict[str, Any]:
    return {
        "id": name,
        "object": "model",
        "created": _CREATED_S,
        "owned_by": _OWNER,
    }
