"""
``/v1/webhook_endpoints``: who is told of what happens, and with which secret.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from mock_server.clock import Clock
from mock_server.draws import Draws
from mock_server.limits import Counts
from mock_server.shelf import Shelf
from mock_server.signatures import parse_secret
from mock_server.surfaces.api_events import ApiEvent, Destination
from mock_server.surfaces.ports import Answer, SurfaceRequest, WorldMemory
from mock_server.surfaces.resources import Call, Resource, check_fields, page_of
from mock_server.surfaces.responses import answer_of
from mock_server.surfaces.webhook_emitter import WebhookEmitter
from mock_server.wire import ApiError, check_api_key, error_plan
from mock_server.wire.shape import Array, Boolean, Shape, Text

PATH: Final = "/webhook_endpoints"
EVENT_TYPES: Final = (
    "batch.completed",
    "batch.failed",
    "batch.expired",
    "batch.cancelled",
    "response.completed",
    "response.failed",
    "response.cancelled",
    "response.incomplete",
    "eval.run.succeeded",
    "eval.run.failed",
    "eval.run.canceled",
    "fine_tuning.job.succeeded",
    "fine_tuning.job.failed",
    "fine_tuning.job.cancelled",
    "realtime.call.incoming",
    "video.completed",
    "video.failed",
    "agent.environment.ready",
    "agent.environment.failed",
    "agent.environment.suspended",
    "agent.environment.expired",
    "agent.session.created",
    "agent.session.action_required",
    "agent.session.in_progress",
    "agent.session.idle",
    "agent.session.failed",
    "safety.alert.created",
)
OLD_SECRET_ACTIVE_S: Final = 24 * 3600.0

_TEST: Final = "/test"
_ID_LENGTH: Final = 32
_SECRET_DIGITS: Final = 64
_HINT_LENGTH: Final = 4
_SUCCESS: Final = range(200, 300)
_EVENT_TYPE: Final = Text(words=EVENT_TYPES)
_FIELDS: Final[dict[str, Shape]] = {
    "name": Text(length_min=1, length_max=256),
    "url": Text(pattern=r"^https?://[^\s/]+"),
    "event_types": Array(item=_EVENT_TYPE, length_min=1),
}


@dataclass(slots=True, kw_only=True)
class Endpoint:
    """
    A registered endpoint.
    """

    id: str
    name: str
    url: str
    event_types: list[str]
    created_s: int
    secret: str
    secrets_made: int = 1
    old_secret: str | None = None
    old_until_s: float = 0.0
    """Until when the secret before still signs, by the wall clock."""

    def keys_at(self, wall_s: float) -> tuple[bytes, ...]:
        """
        Return the keys that sign what is sent.
        """
        keys: tuple[bytes, ...] = (parse_secret(self.secret),)
        if self.old_secret is not None and wall_s < self.old_until_s:
            keys += (parse_secret(self.old_secret),)
        return keys

    def show(self) -> dict[str, Any]:
        """
        Return it as the API shows it: the secret is only hinted at.
        """
        return {
            "id": self.id,
            "object": "webhook_endpoint",
            "created_at": self.created_s,
            "name": self.name,
            "url": self.url,
            "event_types": self.event_types,
            "signing_secret_hint": self.secret[-_HINT_LENGTH:],
        }


class WebhookEndpoints(Resource):
    """
    Registers endpoints and tests them.

    Args:
        api_keys: Which keys are accepted; None for any.
        emitter: Sends the tests.
        clock: Says when an old secret ends.
        draws: Mints ids and secrets.
        endpoints_max: How many there may be.
    """

    name: ClassVar[str] = "webhook_endpoints"

    def __init__(
        self,
        api_keys: Sequence[str] | None,
        *,
        emitter: WebhookEmitter,
        clock: Clock,
        draws: Draws,
        endpoints_max: int,
    ) -> None:
        self._keys = api_keys
        self._emitter = emitter
        self._clock = clock
        self._draws = draws
        self._endpoints_max = endpoints_max
        self._made: Counts[str] = Counts(endpoints_max)
        self.shelf: Shelf[Endpoint] = Shelf(endpoints_max)
        super().__init__(
            api_keys,
            {
                "GET /webhook_event_types": self._list_types,
                f"POST {PATH}": self._create,
                f"GET {PATH}": self._list,
                f"GET {PATH}/{{id}}": self._get,
                f"POST {PATH}/{{id}}": self._update,
                f"DELETE {PATH}/{{id}}": self._delete,
                f"POST {PATH}/{{id}}/rotate_secret": self._rotate,
            },
        )

    def subscribers(self, world: str, event_type: str) -> list[Destination]:
        """
        Return the endpoints of a world that want events of a type.
        """
        return [
            self._destination(endpoint)
            for endpoint in self.shelf.of(world)
            if event_type in endpoint.event_types
        ]

    async def handle(self, request: SurfaceRequest, world: WorldMemory) -> Answer:
        """
        Return what the API says; a test waits for the endpoint's answer.
        """
        if request.method != "POST" or not request.path.endswith(_TEST):
            return await super().handle(request, world)
        keys = self._keys_of(request, world)
        endpoint_id = request.path.removeprefix(f"{PATH}/").removesuffix(_TEST)
        call = Call(request=request, world=world, keys=keys, ids={"id": endpoint_id})
        try:
            check_api_key(request.api_key, self._keys)
            value = await self._test(call)
        except ApiError as error:
            return Answer(keys=keys, plan=error_plan(error, request.request_id))
        return answer_of(call, value)

    async def _test(self, call: Call) -> dict[str, Any]:
        endpoint = self._find_stored(call)
        body = call.body()
        check_fields(body, {"event_type": _EVENT_TYPE}, required=("event_type",))
        event_type = body["event_type"]
        kind = event_type.partition(".")[0]
        event = ApiEvent(
            world=call.world.name,
            event_type=event_type,
            object_id=f"{kind}_test_{call.request.request_id.removeprefix('req_')}",
            trace_id=call.request.trace_id,
        )
        status = await self._emitter.test(event, self._destination(endpoint))
        if status not in _SUCCESS:
            said = "did not answer" if status is None else f"answered {status}"
            message = f"The test event could not be delivered: the endpoint {said}."
            raise ApiError(message, code="webhook_test_failed")
        return {
            "object": "webhook_endpoint.test",
            "event_type": event_type,
            "status_code": status,
            "success": True,
            "webhook_endpoint_id": endpoint.id,
        }

    def _destination(self, endpoint: Endpoint) -> Destination:
        keys = endpoint.keys_at(self._clock.wall())
        return Destination(url=endpoint.url, keys=keys, endpoint_id=endpoint.id)

    def _find_stored(self, call: Call) -> Endpoint:
        endpoint = self.shelf.get(call.world.name, call.ids["id"])
        if endpoint is None:
            message = f"No webhook endpoint found with id '{call.ids['id']}'."
            raise ApiError(message, status=404)
        return endpoint

    def _list_types(self, call: Call) -> Answer:
        return answer_of(call, {"object": "list", "data": list(EVENT_TYPES)})

    def _create(self, call: Call) -> Answer:
        body = call.body()
        check_fields(body, _FIELDS, required=tuple(_FIELDS))
        if len(self.shelf) >= self._endpoints_max:
            message = f"There are {self._endpoints_max} webhook endpoints already."
            raise ApiError(message, code="webhook_endpoints_max")
        world = call.world.name
        number = self._made.add(world)
        endpoint_id = self._draws.mint_hex("we_", world, number, length=_ID_LENGTH)
        endpoint = Endpoint(
            id=endpoint_id,
            name=body["name"],
            url=body["url"],
            event_types=body["event_types"],
            created_s=call.now_s,
            secret=self._mint_secret(endpoint_id, 1),
        )
        self.shelf.put(world, endpoint_id, endpoint)
        return self._show_secret(call, endpoint)

    def _list(self, call: Call) -> Answer:
        kept = self.shelf.of(call.world.name)
        return answer_of(call, page_of(kept, call.request.query, show=Endpoint.show))

    def _get(self, call: Call) -> Answer:
        return answer_of(call, self._find_stored(call).show())

    def _update(self, call: Call) -> Answer:
        endpoint = self._find_stored(call)
        body = call.body()
        check_fields(body, _FIELDS)
        for name, value in body.items():
            if value is not None:
                setattr(endpoint, name, value)
        return answer_of(call, endpoint.show())

    def _delete(self, call: Call) -> Answer:
        endpoint = self._find_stored(call)
        self.shelf.pop(call.world.name, endpoint.id)
        value = {"id": endpoint.id, "object": "webhook_endpoint.deleted"}
        return answer_of(call, {**value, "deleted": True})

    def _rotate(self, call: Call) -> Answer:
        endpoint = self._find_stored(call)
        body = call.body()
        name = "keep_old_secret_active_for_24_hours"
        check_fields(body, {name: Boolean()})
        endpoint.old_secret = endpoint.secret if body.get(name) else None
        endpoint.old_until_s = self._clock.wall() + OLD_SECRET_ACTIVE_S
        endpoint.secrets_made += 1
        endpoint.secret = self._mint_secret(endpoint.id, endpoint.secrets_made)
        return self._show_secret(call, endpoint)

    def _show_secret(self, call: Call, endpoint: Endpoint) -> Answer:
        return answer_of(call, {**endpoint.show(), "signing_secret": endpoint.secret})

    def _mint_secret(self, endpoint_id: str, number: int) -> str:
        digits = self._draws.mint_hex(
            "", "webhook-secret", endpoint_id, number, length=_SECRET_DIGITS
        )
        return f"whsec_{base64.b64encode(bytes.fromhex(digits)).decode()}"
