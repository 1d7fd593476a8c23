"""
What operators ask and do: tools, circuits, dead letters, metrics, health.
"""

import contextlib
import dataclasses
import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any

from aiohttp import web

from harness.clock import Clock
from harness.errors import (
    HarnessError,
    LimitExceededError,
    StoreUnavailableError,
    UnknownToolError,
)
from harness.ids import MessageId
from harness.resilience import Pipelines
from harness.stores import Store
from harness.telemetry import Metrics
from harness.tools import ToolFunction, ToolRegistry, ToolSpec
from harness.web.answers import RequestError, json_answer
from harness.web.bodies import ToolBody, parse, read_json_body, to_spec
from harness.web.middleware import AdminGuard
from harness.webhooks import WebhookSender

DEAD_LETTERS_MAX = 1_000
"""Dead letters in one answer."""


class AdminRoutes:
    """
    Serves operators; health is for everybody.

    Args:
        sender: Redelivers; None for a service that sends no webhooks.
        function_for: Returns what runs a tool of that name; None where nothing can.
        is_ready: Whether requests are to be sent here.
    """

    def __init__(
        self,
        *,
        registry: ToolRegistry,
        pipelines: Pipelines,
        store: Store,
        sender: WebhookSender | None,
        metrics: Metrics,
        guard: AdminGuard,
        function_for: Callable[[str], ToolFunction | None],
        is_ready: Callable[[], bool],
        clock: Clock,
        body_bytes_max: int,
    ) -> None:
        self._registry = registry
        self._pipelines = pipelines
        self._store = store
        self._sender = sender
        self._metrics = metrics
        self._guard = guard
        self._function_for = function_for
        self._is_ready = is_ready
        self._clock = clock
        self._body_bytes_max = body_bytes_max

    def routes(self) -> Sequence[web.RouteDef]:
        """
        Return what is served at which path.
        """
        guard = self._guard.guard
        return [
            web.get("/healthz", self.get_health),
            web.get("/readyz", self.get_readiness),
            web.get("/metrics", guard(self.get_metrics)),
            web.get("/tools", guard(self.get_tools)),
            web.put("/tools/{name}", guard(self.put_tool)),
            web.delete("/tools/{name}", guard(self.delete_tool)),
            web.get("/breakers", guard(self.get_breakers)),
            # A circuit's name has slashes in it.
            web.post("/breakers/{name:.+}/isolate", guard(self.isolate_breaker)),
            web.post("/breakers/{name:.+}/reset", guard(self.reset_breaker)),
            web.get("/dead-letters", guard(self.get_dead_letters)),
            web.post(
                "/dead-letters/{message_id}/redeliver", guard(self.redeliver_letter)
            ),
            web.delete("/dead-letters/{message_id}", guard(self.purge_letter)),
        ]

    # Health and figures --------------------------------------------------------------

    async def get_health(self, _request: web.Request) -> web.StreamResponse:
        """
        Say that the process answers.
        """
        return json_answer({"status": "ok"})

    async def get_readiness(self, _request: web.Request) -> web.StreamResponse:
        """
        Say whether chats are taken: not while the store is out or at the end.
        """
        reason = None if self._is_ready() else "stopping"
        if reason is None:
            try:
                await self._store.counts()
            except HarnessError:
                reason = "store_unavailable"
        if reason is None:
            return json_answer({"status": "ready"})
        return json_answer({"status": "not_ready", "reason": reason}, status=503)

    async def get_metrics(self, _request: web.Request) -> web.StreamResponse:
        """
        Return the figures for Prometheus.
        """
        for circuit in self._pipelines.circuits():
            self._metrics.show_circuit(circuit.name, circuit.state.value)
        # A store that is out must not take the other figures along.
        with contextlib.suppress(StoreUnavailableError):
            self._metrics.show_store(dataclasses.asdict(await self._store.counts()))
        return web.Response(
            body=self._metrics.render(),
            headers={"Content-Type": self._metrics.content_type},
        )

    # Tools ---------------------------------------------------------------------------

    async def get_tools(self, _request: web.Request) -> web.StreamResponse:
        """
        List the tools that the model is offered.
        """
        return json_answer([_tool(spec) for spec in self._registry.specs()])

    async def put_tool(self, request: web.Request) -> web.StreamResponse:
        """
        Offer a tool that the backend runs, or change what the model is told of one.
        """
        name = request.match_info["name"]
        body = await read_json_body(
            request, body_bytes_max=self._body_bytes_max, clock=self._clock
        )
        known = next(
            (each for each in self._registry.specs() if each.name == name), None
        )
        spec = to_spec(name, parse(body, ToolBody), known=known)
        try:
            self._registry.update(spec)
        except UnknownToolError:
            function = self._function_for(name)
            if function is None:
                raise RequestError(
                    status=409,
                    code="no_tool_backend",
                    message=f"there is no tool {name!r}, and no backend to run it",
                ) from None
            try:
                self._registry.register(spec, function)
            except LimitExceededError as error:
                raise RequestError(
                    status=409, code="too_many_tools", message=str(error)
                ) from error
            return json_answer(_tool(spec), status=201)
        return json_answer(_tool(spec))

    async def delete_tool(self, request: web.Request) -> web.StreamResponse:
        """
        Stop offering a tool.
        """
        try:
            self._registry.remove(request.match_info["name"])
        except UnknownToolError as error:
            raise RequestError(
                status=404, code="not_found", message=str(error)
            ) from error
        return web.Response(status=204)

    # Circuits ------------------------------------------------------------------------

    async def get_breakers(self, _request: web.Request) -> web.StreamResponse:
        """
        List all circuits as they stand.
        """
        return json_answer(self._circuits())

    async def isolate_breaker(self, request: web.Request) -> web.StreamResponse:
        """
        Let nothing through a circuit until it is reset.
        """
        return self._set_circuit(request, self._pipelines.isolate)

    async def reset_breaker(self, request: web.Request) -> web.StreamResponse:
        """
        Close a circuit and forget what it counted.
        """
        return self._set_circuit(request, self._pipelines.reset)

    def _set_circuit(
        self, request: web.Request, change: Callable[[str], None]
    ) -> web.StreamResponse:
        name = request.match_info["name"]
        try:
            change(name)
        except KeyError as error:
            raise RequestError(
                status=404, code="not_found", message=f"no circuit {name[:200]!r}"
            ) from error
        return json_answer(self._circuits())

    def _circuits(self) -> list[dict[str, Any]]:
        return [
            {
                "name": circuit.name,
                "state": circuit.state.value,
                "since": dt.datetime.fromtimestamp(
                    circuit.since_s, tz=dt.UTC
                ).isoformat(timespec="milliseconds"),
                "retry_after_s": round(circuit.retry_after_s, 3),
                "failures": circuit.failures,
                "probes": circuit.probes,
            }
            for circuit in self._pipelines.circuits()
        ]

    # Dead letters --------------------------------------------------------------------

    async def get_dead_letters(self, _request: web.Request) -> web.StreamResponse:
        """
        List what the sender gave up, oldest first.
        """
        letters = await self._store.dead_letters(letters_max=DEAD_LETTERS_MAX)
        return json_answer(
            [
                {
                    "message_id": letter.message_id,
                    "type": letter.event_type,
                    "endpoint": letter.endpoint,
                    "reason": letter.reason,
                    "attempts": letter.attempts,
                    "last_error": letter.last_error,
                }
                for letter in letters
            ]
        )

    async def redeliver_letter(self, request: web.Request) -> web.StreamResponse:
        """
        Send a dead letter again, under its own id.
        """
        message_id = MessageId(request.match_info["message_id"])
        if self._sender is None or not await self._sender.redeliver(message_id):
            raise _no_letter()
        return json_answer({"message_id": message_id, "status": "waiting"})

    async def purge_letter(self, request: web.Request) -> web.StreamResponse:
        """
        Forget a dead letter.
        """
        message_id = MessageId(request.match_info["message_id"])
        if self._sender is None or not await self._sender.purge(message_id):
            raise _no_letter()
        return web.Response(status=204)


def _no_letter() -> RequestError:
    return RequestError(status=404, code="not_found", message="no such dead letter")


def _tool(spec: ToolSpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "description": spec.description,
        "parameters": dict(spec.parameters),
        "deferred": spec.deferred,
        "timeout_s": spec.timeout_s,
    }
