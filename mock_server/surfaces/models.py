"""
``GET /v1/models`` and ``GET /v1/models/{id}``.
"""

from typing import Any, ClassVar, Final

import orjson

from mock_server.faults import Target
from mock_server.script import CompiledScript
from mock_server.surfaces.ports import Answer, CallKeys, SurfaceRequest, WorldMemory
from mock_server.wire import (
    JSON_CONTENT,
    ApiError,
    Chunk,
    End,
    Head,
    Plan,
    check_api_key,
    error_plan,
    standard_headers,
    unknown_model_id,
    wrong_method,
)

PATH: Final = "/models"
_CREATED_S: Final = 1715367049
_OWNER: Final = "toolcall-harness"


class Models:
    """
    Says which models there are.

    Args:
        script: Names the models.
    """

    name: ClassVar[str] = "models"
    target: ClassVar[Target] = Target.UPSTREAM
    is_silent: ClassVar[bool] = True

    def __init__(self, script: CompiledScript) -> None:
        upstream = script.script.upstream
        self._api_keys = upstream.api_keys
        self._models = upstream.listed_models

    async def handle(self, request: SurfaceRequest, world: WorldMemory) -> Answer:
        """
        Return the list, or one of it.
        """
        keys = CallKeys(conversation=world.name, turn=0, attempt_number=1)
        try:
            value = self._value(request)
        except ApiError as error:
            return Answer(keys=keys, plan=error_plan(error, request.request_id))
        return Answer(keys=keys, plan=_plan(value, request.request_id))

    def _value(self, request: SurfaceRequest) -> dict[str, Any]:
        check_api_key(request.api_key, self._api_keys)
        if request.method not in {"GET", "HEAD"}:
            raise wrong_method(request.method, f"/v1{request.path}")
        # An id may hold slashes, sent as they are or encoded.
        model = request.path.removeprefix(PATH).strip("/").replace("%2F", "/")
        if not model:
            return {"object": "list", "data": [_model(name) for name in self._models]}
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


def _plan(value: dict[str, Any], request_id: str) -> Plan:
    body = orjson.dumps(value)
    headers = (
        JSON_CONTENT,
        ("content-length", str(len(body))),
        *standard_headers(request_id),
    )
    return (Head(200, headers), Chunk(body), End())
