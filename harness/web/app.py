"""
The application: every route behind the same two layers.
"""

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from harness.bus import EventBus
from harness.clock import Clock
from harness.errors import check_options
from harness.ids import IdMint
from harness.orchestrator import (
    Callbacks,
    IdempotencyKeys,
    Orchestrator,
    OwnedTasks,
)
from harness.resilience import Pipelines
from harness.stores import Store
from harness.telemetry import Metrics, Redactor
from harness.tools import ToolFunction, ToolRegistry
from harness.web.admin_routes import AdminRoutes
from harness.web.chat_routes import ChatRoutes
from harness.web.event_routes import EventRoutes
from harness.web.middleware import AdminGuard, error_middleware, trace_middleware
from harness.web.once import OncePerKey
from harness.web.webhook_routes import WebhookRoutes
from harness.webhooks import WebhookReceiver, WebhookSender


@dataclass(frozen=True, slots=True, kw_only=True)
class WebOptions:
    """
    What is let in.
    """

    bound_host: str = "127.0.0.1"
    """The address that is listened on; on loopback operators need no token."""

    receive_path: str = "/webhook/callback"
    body_bytes_max: int = 1_048_576
    message_chars_max: int = 32_768
    event_streams_max: int = 32

    def __post_init__(self) -> None:
        check_options(
            self,
            bound_host=bool(self.bound_host),
            receive_path=self.receive_path.startswith("/"),
            body_bytes_max=self.body_bytes_max >= 1,
            message_chars_max=self.message_chars_max >= 1,
            event_streams_max=self.event_streams_max >= 1,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class WebParts:
    """
    What the routes speak to.
    """

    orchestrator: Orchestrator
    callbacks: Callbacks
    keys: IdempotencyKeys
    owned: OwnedTasks
    registry: ToolRegistry
    pipelines: Pipelines
    store: Store
    receiver: WebhookReceiver
    sender: WebhookSender | None
    metrics: Metrics
    redactor: Redactor
    function_for: Callable[[str], ToolFunction | None]
    is_ready: Callable[[], bool]


def create_app(
    parts: WebParts,
    options: WebOptions,
    *,
    admin_token: str | None,
    clock: Clock,
    ids: IdMint,
    bus: EventBus,
) -> web.Application:
    """
    Return the application; its event streams end when it is shut down.
    """
    guard = AdminGuard(bound_host=options.bound_host, token=admin_token)
    chats = ChatRoutes(
        orchestrator=parts.orchestrator,
        callbacks=parts.callbacks,
        once=OncePerKey(keys=parts.keys, owned=parts.owned, redactor=parts.redactor),
        redactor=parts.redactor,
        clock=clock,
        body_bytes_max=options.body_bytes_max,
        message_chars_max=options.message_chars_max,
    )
    webhooks = WebhookRoutes(
        receiver=parts.receiver, path=options.receive_path, clock=clock
    )
    admin = AdminRoutes(
        registry=parts.registry,
        pipelines=parts.pipelines,
        store=parts.store,
        sender=parts.sender,
        metrics=parts.metrics,
        guard=guard,
        function_for=parts.function_for,
        is_ready=parts.is_ready,
        clock=clock,
        body_bytes_max=options.body_bytes_max,
    )
    events = EventRoutes(
        bus=bus,
        guard=guard,
        redactor=parts.redactor,
        clock=clock,
        streams_max=options.event_streams_max,
    )
    app = web.Application(
        middlewares=[trace_middleware(ids), error_middleware(parts.redactor)],
        # Bodies are read by our own reader, which has the limit.
        client_max_size=options.body_bytes_max + 1,
    )
    for routes in (chats, webhooks, admin, events):
        app.add_routes(routes.routes())

    async def close_streams(_app: web.Application) -> None:
        events.close()

    app.on_shutdown.append(close_streams)
    return app
