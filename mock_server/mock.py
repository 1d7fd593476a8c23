"""
The mock: every surface on one port, put together by hand.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

from aiohttp import web

from mock_server.at_once import QuickExchange, Rest
from mock_server.clock import Clock
from mock_server.core import Core, build_core
from mock_server.documents import Document
from mock_server.faults import Target
from mock_server.http_request import HttpRequest
from mock_server.latency import LatencyProfile, profile_of
from mock_server.options import MockOptions
from mock_server.quotas import Quotas
from mock_server.script import Conversations, MockScript, script_of
from mock_server.surfaces.chat_completions import PATH as CHAT_PATH
from mock_server.surfaces.control import PATH_PREFIX as CONTROL_PREFIX
from mock_server.surfaces.control import Control, ControlOptions
from mock_server.surfaces.ports import Surface
from mock_server.surfaces.tool_backend import PATH_PREFIX as TOOLS_PREFIX
from mock_server.surfaces.tool_backend import ToolBackend
from mock_server.surfaces.webhook_emitter import EmitterOptions, WebhookEmitter
from mock_server.surfaces.webhook_endpoint import PATH_PREFIX as WEBHOOKS_PREFIX
from mock_server.surfaces.webhook_endpoint import WebhookEndpoint
from mock_server.tokens import TOKENIZER
from mock_server.upstream import Upstream
from mock_server.version import VERSION
from mock_server.writer import WrittenResponse

_VERSION_PREFIX: Final = "/v1/"
_CHAT_PATHS: Final = frozenset({CHAT_PATH, f"{_VERSION_PREFIX[:-1]}{CHAT_PATH}"})
"""What is answered at once if it can be."""


class Mock:
    """
    Everything outside the service under test, in one object.

    Args:
        script: What the outside does; without one, nothing is scripted.
        options: Everything else.
        clock: Time; by default that of the running loop.
        source: The script as it was given, for ``GET /_mock/script``.
    """

    def __init__(
        self,
        script: MockScript | None = None,
        options: MockOptions | None = None,
        *,
        clock: Clock | None = None,
        source: Any = None,
    ) -> None:
        self.options = options or MockOptions()
        self.before_request: Callable[[], bool] | None = None
        """Says that some task has to run before the next request is looked at."""

        self.core: Core = build_core(
            seed=self.options.seed or 0,
            clock=clock,
            limits=self.options.limits,
            event_log=self.options.event_log,
            speed=self.options.speed,
            may_close=self.options.control_port is not None,
        )
        self._emitter = WebhookEmitter(
            self.core,
            EmitterOptions(
                service_url=self.options.service_url,
                secret=self.options.webhook_secret,
                receive_path=self.options.receive_path,
            ),
        )
        self._exchange = QuickExchange(self.core)
        self._control = Control(
            self,
            ControlOptions(
                token=self.options.control_token,
                is_loopback=self.options.is_loopback,
            ),
        )
        self.load(script or MockScript.empty(), source=source)

    @property
    def script_source(self) -> Any:
        """
        The script as it was given.
        """
        return self._source

    def load(self, script: MockScript, *, source: Any = None) -> None:
        """
        Take another script; worlds, faults and counts begin anew.
        """
        core = self.core
        core.chores.forget()
        core.injector.load(script)
        self._script = script
        self._source = source if source is not None else {}
        self._tools = ToolBackend(
            script.tools,
            draws=core.draws,
            executions_max=core.limits.executions_max,
            resolve=self._emitter.resolve,
            resolve_early=self._emitter.resolve_early,
        )
        self._endpoint = WebhookEndpoint(
            script.webhook_endpoint,
            secret=self.options.webhook_secret,
            messages_max=core.limits.executions_max,
        )
        self._upstream = Upstream(script, core, self._emitter)
        self._emitter.use(
            script.webhook_emitter, subscribers=self._upstream.subscribers
        )
        self._exchange.use_quotas(Quotas(script.upstream.quotas))
        self._exchange.use_profiles(_profiles_of(script))
        for world in core.worlds:
            world.forget()

    def load_document(self, document: Document) -> None:
        """
        Take the script of a document.

        Raises:
            DocumentError: It has mistakes; nothing changed.
        """
        self.load(script_of(document), source=document.data)
        self._tell_faults()

    def reset(self) -> None:
        """
        Begin anew with the same script: nothing is remembered, time is not started.
        """
        self._emitter.forget()
        self.core.worlds.forget()
        self.core.time.stop()
        self.load(self._script, source=self._source)

    def health(self) -> Mapping[str, Any]:
        """
        Say how the mock is: what it holds, and what limits kept out.
        """
        core = self.core
        entries = sum(len(world.journal) for world in core.worlds)
        talks = [t for w in core.worlds if (t := w.known(Conversations)) is not None]
        return {
            "status": "ok",
            "version": VERSION,
            "seed": core.draws.seed,
            "tokenizer": TOKENIZER.name,
            "scenario_s": core.time.elapsed_s if core.time.is_started else None,
            "holds": {
                "worlds": len(core.worlds),
                "traces": core.worlds.traces,
                "script_conversations": sum(map(len, talks)),
                "journal_entries": entries,
                "journal_bytes": core.worlds.budget.kept_bytes,
                "faults": len(core.injector),
                "subscribers": core.events.subscribers,
                "emissions": self._emitter.pending,
                "chores": len(core.chores),
                **self._upstream.holds,
            },
            "events_published": core.events.published,
            "overhead_us": core.metrics.overhead_us(),
            "dropped": {
                "worlds_max": core.worlds.dropped,
                "traces_max": core.worlds.traces_dropped,
                "script_conversations_max": sum(talk.dropped for talk in talks),
                "journal_entries_max": core.worlds.budget.dropped,
                "subscriber_events_max": core.events.dropped,
                "emissions_max": self._emitter.dropped,
                "chores_max": core.chores.dropped,
                "executions_max": self._tools.dropped + self._endpoint.dropped,
                **self._upstream.dropped,
            },
        }

    async def handle(self, http: web.BaseRequest) -> web.StreamResponse:
        """
        Answer a request.
        """
        if self.before_request is not None and self.before_request():
            await self.core.clock.sleep(0)
        return await self.answer(http)

    async def answer(self, http: web.BaseRequest) -> web.StreamResponse:
        """
        Answer a request before which nothing else is to be done.
        """
        path = http.path
        if path.startswith(CONTROL_PREFIX):
            return await self._control.handle(http)
        if path.startswith(_VERSION_PREFIX):
            path = path[len(_VERSION_PREFIX) - 1 :]
        return await self._exchange.serve(
            http, self._surface_at(http.method, path), path
        )

    def answer_at_once(self, http: HttpRequest) -> WrittenResponse | Rest | None:
        """
        Answer what needs no task to be answered in, or begin to; None for all else.
        """
        if self.before_request is not None and self.before_request():
            return None
        return self.begin_answer(http)

    def begin_answer(self, http: HttpRequest) -> WrittenResponse | Rest | None:
        """
        Answer a chat that no fault can touch, or begin to; None for all else.

        Only a fault and a body that is still to come need a task to run in.
        """
        if (
            http.raw_path not in _CHAT_PATHS
            or http.method != "POST"
            or len(self.core.injector)
        ):
            return None
        return self._exchange.serve_at_once(http, self._upstream.chat, CHAT_PATH)

    async def handle_aside(self, http: web.BaseRequest) -> web.StreamResponse:
        """
        Answer a request at the second listener, which has no model API.
        """
        if http.path.startswith((CONTROL_PREFIX, TOOLS_PREFIX, WEBHOOKS_PREFIX)):
            return await self.handle(http)
        return self._control.refuse_elsewhere(http)

    def _surface_at(self, method: str, path: str) -> Surface:
        if path.startswith(TOOLS_PREFIX):
            return self._tools
        if path.startswith(WEBHOOKS_PREFIX):
            return self._endpoint
        return self._upstream.surface_at(method, path)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """
        Own the tasks of the mock; when it ends, whatever hangs ends too.
        """
        core = self.core
        core.events.publish("mock_started", seed=core.draws.seed, version=VERSION)
        self._tell_faults()
        try:
            async with self._emitter.running(), core.chores.running():
                yield
        finally:
            self.stop()
            core.events.close()

    def _tell_faults(self) -> None:
        for active in self.core.injector:
            self.core.events.publish("fault_added", **active.announce())

    def stop(self) -> None:
        """
        Let everything that hangs, and every reader of events, end.
        """
        self.core.closing.set()
        self.core.events.end_subscriptions()


def _profiles_of(
    script: MockScript,
) -> dict[tuple[Target, str | None], LatencyProfile]:
    endpoint = script.webhook_endpoint
    return {
        (Target.UPSTREAM, None): profile_of(script.upstream.latency),
        (Target.WEBHOOK_ENDPOINT, None): profile_of(endpoint.latency),
        **{
            (Target.WEBHOOK_ENDPOINT, name): profile_of(named.latency)
            for name, named in endpoint.endpoints.items()
        },
        **{
            (Target.TOOLS, name): profile_of(tool.latency)
            for name, tool in script.tools.items()
        },
    }
