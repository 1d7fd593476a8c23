"""
The reference service as a graph of objects, built by hand.
"""

import base64
import dataclasses
import secrets
from collections.abc import Callable

import aiohttp
from aiohttp import web

from harness.bus import EventBus
from harness.clock import Clock
from harness.ids import IdMint
from harness.orchestrator import (
    Announcements,
    Callbacks,
    ChatLoop,
    IdempotencyKeys,
    Orchestrator,
    OrchestratorOptions,
    OwnedTasks,
    PendingCalls,
    Sessions,
    ToolCalls,
)
from harness.randomness import Randomness
from harness.resilience import Pipelines
from harness.service.approver import SampleApprover
from harness.service.sweeper import Sweeper
from harness.settings import DEFAULT_ENDPOINT, ServiceSettings
from harness.stores import Durability, NewMessage, SqliteStore, open_store
from harness.telemetry import Metrics, Redactor
from harness.tools import (
    ToolBackend,
    ToolFunction,
    ToolRegistry,
    backend_function,
    sample_tools,
)
from harness.upstream import UpstreamClient, classify
from harness.web import Runner, WebOptions, WebParts, create_app
from harness.webhooks import (
    MessageFactory,
    Secret,
    WebhookFormat,
    WebhookReceiver,
    WebhookSender,
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Outside:
    """
    The client sessions of a service, one per kind of peer.
    """

    upstream: aiohttp.ClientSession
    tools: aiohttp.ClientSession
    webhooks: aiohttp.ClientSession


class Service:
    """
    The reference service as a graph of objects; :func:`running_service` runs it.

    Attributes:
        url: Where it listens, once it does.
        is_ready: Whether chats are taken.
    """

    def __init__(
        self,
        settings: ServiceSettings,
        *,
        outside: Outside,
        clock: Clock,
        randomness: Randomness,
        ids: IdMint,
        bus: EventBus,
        is_simulated: bool,
    ) -> None:
        self.settings = settings
        self.url = ""
        self.is_ready = False
        self.bus = bus
        self.metrics = Metrics()
        self._clock = clock
        self._ids = ids
        self._outside = outside
        self._secrets = settings.webhook.secrets() or (_ephemeral_secret(),)
        self._redactor = Redactor(
            [*settings.secret_texts(), *(secret.text for secret in self._secrets)]
        )
        self._messages = self._make_messages()
        options = settings.orchestrator_options()
        self.store = self._open_store(randomness, is_simulated=is_simulated)
        self.sender = self._make_sender(randomness)
        self.announcements = Announcements(
            messages=self._messages, on_committed=self._wake_sender, bus=bus
        )
        self.pending = PendingCalls(
            store=self.store, clock=clock, reread_s=options.reread_s
        )
        self._make_webhooks()
        self.registry = ToolRegistry(
            clock=clock, result_bytes_max=settings.limits.result_bytes_max
        )
        self._function_for = self._register_tools()
        self.pipelines = Pipelines(
            clock=clock,
            randomness=randomness,
            bus=bus,
            options_for=lambda _: settings.pipeline_options(),
            classify=classify,
            ids=ids,
        )
        # There from the start, so that it is seen, and can be isolated, before it is used.
        self.pipelines.for_destination(f"upstream/{settings.model}")
        self._make_chats(options)

    # Building ------------------------------------------------------------------------

    def _make_messages(self) -> MessageFactory | None:
        webhook = self.settings.webhook
        if webhook.url is None:
            return None
        return MessageFactory(
            endpoint=DEFAULT_ENDPOINT,
            webhook_url=webhook.url,
            body_format=WebhookFormat(webhook.format),
            clock=self._clock,
            ids=self._ids,
        )

    def _open_store(self, randomness: Randomness, *, is_simulated: bool) -> SqliteStore:
        options = self.settings.store_options()
        if is_simulated:
            options = dataclasses.replace(options, durability=Durability.SIMULATED)
        messages = self._messages
        return open_store(
            self.settings.store_url,
            clock=self._clock,
            ids=self._ids,
            randomness=randomness,
            options=options,
            is_inline=is_simulated,
            expiry_message=None if messages is None else messages.function_call,
            on_enqueued=self._announce,
        )

    def _announce(self, message: NewMessage) -> None:
        self.announcements.committed(message)

    def _make_sender(self, randomness: Randomness) -> WebhookSender:
        webhook = self.settings.webhook
        return WebhookSender(
            store=self.store,
            session=self._outside.webhooks,
            endpoints=webhook.endpoints(),
            schedule=webhook.schedule(),
            clock=self._clock,
            randomness=randomness,
            ids=self._ids,
            bus=self.bus,
            options=webhook.sender_options(),
        )

    def _make_webhooks(self) -> None:
        """
        Make who takes results in, who ends calls without one, and who sends samples.
        """
        settings, clock = self.settings, self._clock
        self.receiver = WebhookReceiver(
            store=self.store,
            secrets=self._secrets,
            messages=self._messages,
            clock=clock,
            bus=self.bus,
            on_resolved=lambda call: self.pending.notify(call.tool_call_id),
            on_enqueued=self._wake_sender,
            options=settings.webhook.receiver_options(),
        )
        self.sweeper = Sweeper(
            store=self.store,
            pending=self.pending,
            pending_timeout_s=settings.tools.pending_timeout,
            on_enqueued=self._wake_sender,
            clock=clock,
            bus=self.bus,
        )
        self.approver = SampleApprover(
            session=self._outside.tools,
            secrets=self._secrets,
            receiver_url=lambda: f"{self.url}{settings.webhook.receive_path}",
            clock=clock,
            ids=self._ids,
        )

    def _register_tools(self) -> Callable[[str], ToolFunction | None]:
        """
        Offer the sample tools; return what finds functions for tools that are added.
        """
        tools = self.settings.tools
        backend = None
        if tools.base_url is not None:
            backend = ToolBackend(
                session=self._outside.tools,
                base_url=tools.base_url,
                clock=self._clock,
                ids=self._ids,
                options=tools.backend_options(),
            )
        samples: dict[str, ToolFunction] = {}
        for spec, function in sample_tools(backend, self.approver.approve):
            samples[spec.name] = function
            bounded = dataclasses.replace(spec, timeout_s=tools.timeout)
            self.registry.register(bounded, function)

        def function_for(name: str) -> ToolFunction | None:
            if backend is not None:
                return backend_function(backend, name)
            return samples.get(name)

        return function_for

    def _make_chats(self, options: OrchestratorOptions) -> None:
        clock, ids, bus, store = self._clock, self._ids, self.bus, self.store
        calls = ToolCalls(
            registry=self.registry,
            store=store,
            pending=self.pending,
            announcements=self.announcements,
            options=options,
            clock=clock,
            bus=bus,
        )
        loop = ChatLoop(
            model=UpstreamClient(
                session=self._outside.upstream,
                options=self.settings.upstream.options(),
                pipelines=self.pipelines,
                clock=clock,
                ids=ids,
            ),
            registry=self.registry,
            calls=calls,
            options=options,
            clock=clock,
        )
        sessions = Sessions(store=store, messages_max=options.session_messages_max)
        self.orchestrator = Orchestrator(
            loop=loop, sessions=sessions, options=options, clock=clock, ids=ids, bus=bus
        )
        self.callbacks = Callbacks(
            loop=loop,
            store=store,
            sessions=sessions,
            announcements=self.announcements,
            options=options,
            clock=clock,
            ids=ids,
            bus=bus,
        )
        self.owned = OwnedTasks(
            name="chats_max", tasks_max=options.chats_max, clock=clock
        )

    def make_runner(self, *, shutdown_timeout_s: float) -> web.AppRunner:
        """
        Return what serves the graph over HTTP.

        Args:
            shutdown_timeout_s: How long handlers have to end once it is stopped.
        """
        return Runner(
            self._make_app(),
            clock=self._clock,
            ids=self._ids,
            redactor=self._redactor,
            access_log=None,
            handler_cancellation=True,
            # It waits twice: for handlers to end, and for them to be cancelled.
            shutdown_timeout=shutdown_timeout_s / 2,
            # A signature covers the bytes as they were sent.
            auto_decompress=False,
        )

    def _make_app(self) -> web.Application:
        limits = self.settings.limits
        token = self.settings.admin_token
        return create_app(
            WebParts(
                orchestrator=self.orchestrator,
                callbacks=self.callbacks,
                keys=IdempotencyKeys(store=self.store),
                owned=self.owned,
                registry=self.registry,
                pipelines=self.pipelines,
                store=self.store,
                receiver=self.receiver,
                sender=self.sender,
                metrics=self.metrics,
                redactor=self._redactor,
                function_for=self._function_for,
                is_ready=lambda: self.is_ready,
            ),
            WebOptions(
                bound_host=self.settings.host,
                receive_path=self.settings.webhook.receive_path,
                body_bytes_max=limits.body_bytes_max,
                message_chars_max=limits.message_chars_max,
                event_streams_max=limits.event_streams_max,
            ),
            admin_token=None if token is None else token.get_secret_value(),
            clock=self._clock,
            ids=self._ids,
            bus=self.bus,
        )

    # Running -------------------------------------------------------------------------

    def _wake_sender(self) -> None:
        self.sender.wake()


def _ephemeral_secret() -> Secret:
    """
    Return a secret that nobody else knows: only the sample approver is heard.
    """
    key = base64.b64encode(secrets.token_bytes(32)).decode()
    return Secret.parse(f"whsec_{key}")
