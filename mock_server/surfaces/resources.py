"""
What all surfaces have in common that keep things and hand them out again.

Such a surface is a table: which method on which path calls which handler. Everything
else (keys, unknown paths, other methods, errors, headers) is done once, here.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final, TypeVar

import orjson

from mock_server.encoding import to_json_bytes
from mock_server.faults import Target
from mock_server.script import Conversations
from mock_server.surfaces.ports import Answer, CallKeys, SurfaceRequest, WorldMemory
from mock_server.wire import (
    JSON_CONTENT,
    ApiError,
    Chunk,
    End,
    Head,
    Pace,
    Plan,
    check_api_key,
    error_plan,
    invalid_url,
    standard_headers,
    wrong_method,
)
from mock_server.wire.errors import bad_json
from mock_server.wire.shape import Shape, Table, Text, kind_of

T = TypeVar("T")

LIST_LIMIT_DEFAULT: Final = 20
LIST_LIMIT_MAX: Final = 100

METADATA: Final = Table(value=Text(length_max=512), key_length_max=64, length_max=16)
"""What people may write on things that are kept."""

_ID: Final = re.compile(r"\{(\w+)\}")
_OK: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """
    A request that found its handler.
    """

    request: SurfaceRequest
    world: WorldMemory
    keys: CallKeys
    ids: Mapping[str, str]
    """What stood in the path where its pattern has a name in braces."""

    def body(self) -> dict[str, Any]:
        """
        Return the body as a JSON object; none at all counts as an empty one.

        Raises:
            ApiError: It is something else.
        """
        if not self.request.body:
            return {}
        return parse_object(self.request.body)

    @property
    def now_s(self) -> int:
        """
        Return Unix time, in whole seconds as the API tells it.
        """
        return int(self.request.received_wall_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Content:
    """
    Bytes that are answered as they are.
    """

    data: bytes
    content_type: str = "application/octet-stream"
    headers: tuple[tuple[str, str], ...] = ()


Value = Mapping[str, Any] | Content
Handler = Callable[[Call], Value | Answer]
"""Returns what is answered; a whole answer where more is to be said of it."""


class Resource:
    """
    A surface that is a table of handlers.

    Args:
        api_keys: Which keys are accepted; None for any.
        routes: Handlers by ``METHOD /path/{id}``.
    """

    name: ClassVar[str]
    target: ClassVar[Target] = Target.UPSTREAM
    is_silent: ClassVar[bool] = True

    def __init__(
        self, api_keys: Sequence[str] | None, routes: Mapping[str, Handler]
    ) -> None:
        self._api_keys = api_keys
        self._routes: list[tuple[str, re.Pattern[str], Handler]] = []
        for route, handler in routes.items():
            method, path = route.split(" ", 1)
            self._routes.append((method, compile_path(path), handler))

    async def handle(self, request: SurfaceRequest, world: WorldMemory) -> Answer:
        """
        Return what the handler says, or why there is none.
        """
        keys = self._keys_of(request, world)
        try:
            check_api_key(request.api_key, self._api_keys)
            value = self._find(request, world, keys)
        except ApiError as error:
            return Answer(keys=keys, plan=error_plan(error, request.request_id))
        if isinstance(value, Answer):
            return value
        headers = standard_headers(request.request_id)
        return Answer(keys=keys, plan=value_plan(value, headers))

    def _keys_of(self, request: SurfaceRequest, world: WorldMemory) -> CallKeys:
        name = f"{request.method} {request.path}"
        key = request.trace_id or name
        body = name.encode("utf-8", "surrogatepass") + request.body
        conversation = world.recall(Conversations, Conversations).open(key)
        return CallKeys(
            conversation=key,
            turn=0,
            attempt_number=conversation.count_attempt(0, body),
        )

    def _find(
        self, request: SurfaceRequest, world: WorldMemory, keys: CallKeys
    ) -> Value | Answer:
        path = request.path.rstrip("/")
        method = "GET" if request.method == "HEAD" else request.method
        is_known = False
        for wanted, pattern, handler in self._routes:
            found = pattern.fullmatch(path)
            if found is None:
                continue
            is_known = True
            if wanted == method:
                ids = found.groupdict()
                return handler(Call(request=request, world=world, keys=keys, ids=ids))
        if is_known:
            raise wrong_method(request.method, f"/v1{request.path}")
        raise invalid_url(request.method, f"/v1{request.path}")


def compile_path(path: str) -> re.Pattern[str]:
    """
    Return what finds a path in which ``{name}`` stands for one segment.

    ``{name}`` at the end of ``/models/`` stands for the rest, slashes included.
    """
    return re.compile(_ID.sub(r"(?P<\1>[^/]+)", path).replace("{+}", "(?P<rest>.+)"))


def parse_object(body: bytes) -> dict[str, Any]:
    """
    Return a body as a JSON object.

    Raises:
        ApiError: It is something else.
    """
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise bad_json() from error
    if not isinstance(value, dict):
        raise bad_json()
    return value


def check_fields(
    body: Mapping[str, Any],
    fields: Mapping[str, Shape],
    *,
    required: Iterable[str] = (),
) -> None:
    """
    Refuse a body with a missing, unknown or misshapen field; null is as left out.

    Raises:
        ApiError: The first mistake.
    """
    for name in required:
        if body.get(name) is None:
            message = f"Missing required parameter: '{name}'."
            code = "missing_required_parameter"
            raise ApiError(message, param=name, code=code)
    for name, value in body.items():
        if name not in fields:
            message = f"Unknown parameter: '{name}'."
            raise ApiError(message, param=name, code="unknown_parameter")
        if value is not None:
            fields[name].check(value, name)


def value_plan(
    value: Value,
    headers: tuple[tuple[str, str], ...],
    *,
    pace: Pace = Pace.NONE,
) -> Plan:
    """
    Return a whole answer.

    Args:
        value: JSON, or bytes with their own content type.
        headers: Besides those of the body.
        pace: How long it waits; what is kept is there at once.
    """
    if isinstance(value, Content):
        body, content = value.data, ("content-type", value.content_type)
        headers = (*value.headers, *headers)
    else:
        body, content = to_json_bytes(value), JSON_CONTENT
    head = (content, ("content-length", str(len(body))), *headers)
    return (Head(_OK, head), Chunk(body, pace), End())


def page_of(
    items: Iterable[T],
    query: Mapping[str, str],
    *,
    show: Callable[[T], Mapping[str, Any]],
    order: str = "desc",
    limit: int = LIST_LIMIT_DEFAULT,
    limit_max: int = LIST_LIMIT_MAX,
) -> dict[str, Any]:
    """
    Return a page of a list, cut as ``limit``, ``order``, ``after``, ``before`` ask.

    Args:
        items: All of them, the oldest first.
        query: Of the request.
        show: Makes an item what is answered; it has an ``id``.
        order: The one that is taken if none is asked for.
        limit: How many a page has if that is not asked for.
        limit_max: How many it may have.

    Raises:
        ApiError: The query asks for what cannot be.
    """
    shown = [show(item) for item in items]
    if _order_of(query, order) == "desc":
        shown.reverse()
    ids = [item["id"] for item in shown]
    start, end = 0, len(shown)
    if (after := query.get("after")) is not None:
        start = _index_of(ids, after, "after") + 1
    if (before := query.get("before")) is not None:
        end = _index_of(ids, before, "before")
    data = shown[start:end][: _limit_of(query, limit, limit_max)]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": start + len(data) < end,
    }


def _order_of(query: Mapping[str, str], default: str) -> str:
    order = query.get("order", default)
    Text(words=("asc", "desc")).check(order, "order")
    return order


def _limit_of(query: Mapping[str, str], default: int, limit_max: int) -> int:
    text = query.get("limit")
    if text is None:
        return default
    if not text.isascii() or not text.isdecimal():
        kind = kind_of(text)
        message = (
            f"Invalid type for 'limit': expected an integer, but got {kind} instead."
        )
        raise ApiError(message, param="limit", code="invalid_type")
    if len(text) > len(str(limit_max)) or not 1 <= int(text) <= limit_max:
        message = (
            f"Invalid 'limit': expected a value between 1 and {limit_max}, but got "
            f"{text[:20]} instead."
        )
        raise ApiError(message, param="limit", code="integer_out_of_range")
    return int(text)


def _index_of(ids: Sequence[str], wanted: str, param: str) -> int:
    if wanted not in ids:
        message = f"No item with id '{wanted}' found."
        raise ApiError(message, param=param, code="invalid_value")
    return ids.index(wanted)
