"""
The mock's own API under ``/_mock/``: script, faults, journal, events, metrics.
"""

import hmac
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from ipaddress import ip_address
from typing import Any, Protocol

from aiohttp import web

from mock_server.core import Core
from mock_server.documents import (
    DOCUMENT_BYTES_MAX,
    Document,
    DocumentError,
    parse_document,
)
from mock_server.encoding import to_json_bytes
from mock_server.events import Subscription, TooManySubscribersError, encode_record
from mock_server.injector import NoSecondListenerError, TooManyFaultsError
from mock_server.request_body import read_body
from mock_server.surfaces.control_requests import (
    RequestError,
    page_of,
    parse_fault,
    parse_start,
    select,
)
from mock_server.wire import ApiError
from mock_server.worlds import World

PATH_PREFIX = "/_mock/"
_WORLD = re.compile(r"worlds/(?P<world>[^/]+)/(?P<rest>.+)")
_HOST_PORT = re.compile(r":\d+$")
_LOOPBACK_NAMES = frozenset({"localhost"})


class Controlled(Protocol):
    """
    What the control API steers.
    """

    @property
    def core(self) -> Core:
        """
        The parts of the mock.
        """

    @property
    def script_source(self) -> Any:
        """
        The script as it was given.
        """

    def load_document(self, document: Document) -> None:
        """
        Take another script; faults and cursors begin anew.

        Raises:
            DocumentError: It has mistakes; nothing changed.
        """

    def reset(self) -> None:
        """
        Begin anew with the same script.
        """

    def health(self) -> Mapping[str, Any]:
        """
        Say how the mock is.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlOptions:
    """
    Who may steer the mock.
    """

    token: str | None = None
    """The bearer token; None asks for none, which only loopback may."""

    is_loopback: bool = True
    """Bound to loopback: a request must then name a loopback host."""


Handler = Callable[[web.BaseRequest, World | None], Awaitable[web.StreamResponse]]


class Control:
    """
    Answers the requests under ``/_mock/``.
    """

    def __init__(self, mock: Controlled, options: ControlOptions) -> None:
        self._mock = mock
        self._options = options
        self._routes: dict[tuple[str, str], Handler] = {
            ("GET", "health"): self._get_health,
            ("GET", "script"): self._get_script,
            ("PUT", "script"): self._put_script,
            ("GET", "events"): self._get_events,
            ("GET", "metrics"): self._get_metrics,
            ("GET", "worlds"): self._get_worlds,
            ("GET", "openapi.json"): self._get_openapi,
            ("POST", "start"): self._post_start,
            ("POST", "reset"): self._post_reset,
            **self._world_routes(),
        }

    def _world_routes(self) -> dict[tuple[str, str], Handler]:
        return {
            ("GET", "faults"): self._get_faults,
            ("POST", "faults"): self._post_faults,
            ("DELETE", "faults"): self._delete_faults,
            ("GET", "journal"): self._get_journal,
            ("DELETE", "journal"): self._delete_journal,
            ("POST", "reset"): self._post_reset,
        }

    @property
    def routes(self) -> set[tuple[str, str]]:
        """
        Every method and path, those with names in them as templates.
        """
        named = {("DELETE", "faults/{fault_id}"), *self._world_routes()}
        of_world = {(method, f"worlds/{{world}}/{path}") for method, path in named}
        return {*self._routes, *named, *of_world}

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """
        Answer a request.
        """
        rest = http.path.removeprefix(PATH_PREFIX).rstrip("/")
        try:
            self._check_host(http)
            if rest != "health":
                self._check_token(http)
            return await self._dispatch(http, rest)
        except DocumentError as error:
            mistakes = [asdict(mistake) for mistake in error.mistakes]
            return _error(422, "mistakes", str(error), mistakes=mistakes)
        except RequestError as error:
            return _error(error.status, error.code, str(error))
        except NoSecondListenerError as error:
            return _error(422, "no_second_listener", str(error))

    @staticmethod
    def refuse_elsewhere(http: web.BaseRequest) -> web.Response:
        """
        Answer at the second listener what belongs to the first one.
        """
        message = f"{http.path} is not here but on the mock's first port"
        return _error(404, "not_here", message)

    async def _dispatch(self, http: web.BaseRequest, rest: str) -> web.StreamResponse:
        world = None
        routes = self._routes
        if (found := _WORLD.fullmatch(rest)) is not None:
            world = self._mock.core.worlds.get(found["world"])
            if world is None:
                raise RequestError(404, "no_world", f"no world {found['world']!r}")
            rest, routes = found["rest"], self._world_routes()
        if rest.startswith("faults/") and http.method == "DELETE":
            return self._delete_fault(rest.removeprefix("faults/"), world)
        handler = routes.get((http.method, rest))
        if handler is None:
            methods = sorted(m for m, known in routes if known == rest)
            if methods:
                message = f"{rest} knows {', '.join(methods)}"
                raise RequestError(405, "method_not_allowed", message)
            message = (
                f"no {rest!r}; there are {', '.join(sorted({r for _, r in routes}))}"
            )
            raise RequestError(404, "not_found", message)
        return await handler(http, world)

    # Who may ask ----------------------------------------------------------------------

    def _check_host(self, http: web.BaseRequest) -> None:
        """
        Refuse a page that had its own name resolve to loopback.
        """
        host = _HOST_PORT.sub("", http.headers.get("host", "")).strip("[]").lower()
        if not self._options.is_loopback or host in _LOOPBACK_NAMES:
            return
        try:
            is_loopback = ip_address(host).is_loopback
        except ValueError:
            is_loopback = False
        if not is_loopback:
            raise RequestError(403, "bad_host", f"{host!r} is not this mock's host")

    def _check_token(self, http: web.BaseRequest) -> None:
        token = self._options.token
        if token is None:
            return
        given = http.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode("utf-8", "replace"), token.encode()):
            message = "the control API needs Authorization: Bearer and its token"
            raise RequestError(401, "unauthorized", message)

    # Health, script, time -------------------------------------------------------------

    async def _get_health(
        self, http: web.BaseRequest, world: World | None
    ) -> web.Response:
        del http, world
        return _json(self._mock.health())

    async def _get_openapi(
        self, http: web.BaseRequest, world: World | None
    ) -> web.Response:
        del http, world
        # It describes every surface and fault, and few ever ask for it.
        from mock_server.surfaces.control_openapi import openapi_document  # noqa: PLC0415

        return _json(openapi_document())

    async def _get_script(
        self, http: web.BaseRequest, world: World | None
    ) -> web.Response:
        del http, world
        return _json(self._mock.script_source)

    async def _put_script(
        self, http: web.BaseRequest, world: World | None
    ) -> web.Response:
        del world
        text = await _read_text(http, self._mock.core)
        self._mock.load_document(parse_document(text, file="script"))
        return _json({"status": "loaded"})

    async def _post_start(
        self, http: web.BaseRequest, world: World | None
    ) -> web.Response:
        del world
        self._mock.core.time.start(
            at_s=parse_start(await _read_text(http, self._mock.core))
        )
        return _json({"status": "started"})

    async def _post_reset(
        self, http: web.BaseRequest, world: World | None
    ) -> web.Response:
        del http
        if world is None:
            self._mock.reset()
        else:
            self._reset_world(world)
        return _json({"status": "reset"})

    def _reset_world(self, world: World) -> None:
        """
        Let one world begin anew; the others do not notice.
        """
        for active in list(self._mock.core.injector):
            if active.world == world.name:
                self._remove_fault(active.fault_id)
        world.journal.clear()
        world.forget()

    # Faults ---------------------------------------------------------------------------

    async def _get_faults(
        self, http: web.BaseRequest, world: World | None
    ) -> web.Response:
        del http
        faults = [
            active.describe()
            for active in self._mock.core.injector
            if world is None or active.world in {None, world.name}
        ]
        return _json({"faults": faults})

    async def _post_faults(
        self, http: web.BaseRequest, world: World | None
    ) -> web.Response:
        core = self._mock.core
        wanted = parse_fault(
            await _read_text(http, self._mock.core), now_s=core.time.elapsed_s
        )
        try:
            active = core.injector.add(
                wanted.script,
                target=wanted.target,
                name=wanted.name,
                world=None if world is None else world.name,
            )
        except TooManyFaultsError:
            message = f"there are {core.limits.faults_max} faults; remove one first"
            raise RequestError(422, "too_many_faults", message) from None
        core.events.publish("fault_added", **active.announce())
        return _json(active.describe(), status=201)

    async def _delete_faults(
        self, http: web.BaseRequest, world: World | None
    ) -> web.Response:
        del http
        ids = [
            active.fault_id
            for active in self._mock.core.injector
            if world is None or active.world == world.name
        ]
        for fault_id in ids:
            self._remove_fault(fault_id)
        return _json({"removed": ids})

    def _delete_fault(self, fault_id: str, world: World | None) -> web.Response:
        active = self._mock.core.injector.get(fault_id)
        if active is None or (world is not None and active.world != world.name):
            raise RequestError(404, "no_fault", f"no fault {fault_id!r}")
        self._remove_fault(fault_id)
        return _json({"removed": [fault_id]})

    def _remove_fault(self, fault_id: str) -> None:
        core = self._mock.core
        if core.injector.remove(fault_id) is not None:
            core.events.publish("fault_removed", fault_id=fault_id)

    # What happened --------------------------------------------------------------------

    async def _get_worlds(
        self, http: web.BaseRequest, world: World | None
    ) -> web.Response:
        del http, world
        worlds = [
            {"world": each.name, "journal_entries": len(each.journal)}
            for each in self._mock.core.worlds
        ]
        return _json({"worlds": worlds})

    async def _get_journal(
        self, http: web.BaseRequest, world: World | None
    ) -> web.Response:
        worlds = self._mock.core.worlds
        page = page_of(http.query)
        shown = list(worlds) if world is None else [world]
        entries = select((e for each in shown for e in each.journal), page)
        is_full = len(entries) == page.limit
        return _json(
            {
                "entries": [entry.describe() for entry in entries],
                "next_after": entries[-1].number if is_full else None,
                "dropped": worlds.budget.dropped,
            }
        )

    async def _delete_journal(
        self, http: web.BaseRequest, world: World | None
    ) -> web.Response:
        del http
        worlds = list(self._mock.core.worlds) if world is None else [world]
        removed = sum(len(each.journal) for each in worlds)
        for each in worlds:
            each.journal.clear()
        return _json({"removed": removed})

    async def _get_events(
        self, http: web.BaseRequest, world: World | None
    ) -> web.StreamResponse:
        del world
        try:
            with self._mock.core.events.subscribed() as subscription:
                return await _stream(http, subscription)
        except TooManySubscribersError:
            message = "the event stream has as many readers as it may have"
            raise RequestError(503, "too_many_readers", message) from None

    async def _get_metrics(
        self, http: web.BaseRequest, world: World | None
    ) -> web.Response:
        del http, world
        # With the first who asks: most mocks are never asked, and prometheus_client
        # takes its time.
        from mock_server.exposition import CONTENT_TYPE, expose  # noqa: PLC0415

        health = self._mock.health()
        body = expose(
            self._mock.core.metrics,
            events=health["events_published"],
            held=health["holds"],
            dropped=health["dropped"],
        )
        return web.Response(body=body, headers={"content-type": CONTENT_TYPE})


async def _stream(
    http: web.BaseRequest, subscription: Subscription
) -> web.StreamResponse:
    response = web.StreamResponse(
        headers={"content-type": "text/event-stream", "cache-control": "no-store"}
    )
    await response.prepare(http)
    # Says that from here on nothing is missed.
    await response.write(b": subscribed\n\n")
    dropped = 0
    async for record in subscription:
        if subscription.dropped > dropped:
            dropped = subscription.dropped
            await response.write(b": dropped %d\n\n" % dropped)
        await response.write(b"data: " + encode_record(record) + b"\n\n")
    await response.write_eof()
    return response


async def _read_text(http: web.BaseRequest, core: Core) -> str:
    try:
        body = await read_body(
            http,
            bytes_max=DOCUMENT_BYTES_MAX,
            timeout_s=core.limits.request_read_timeout_s,
            clock=core.clock,
        )
    except ApiError as error:
        raise RequestError(error.status, "bad_body", str(error)) from error
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        message = f"the body is not UTF-8 at byte {error.start}"
        raise RequestError(400, "not_utf8", message) from error


def _json(value: Any, *, status: int = 200) -> web.Response:
    body = to_json_bytes(value, sort_keys=True)
    return web.Response(status=status, body=body, content_type="application/json")


def _error(status: int, code: str, message: str, **more: Any) -> web.Response:
    return _json({"error": {"code": code, "message": message, **more}}, status=status)
