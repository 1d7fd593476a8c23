"""
The sections of the settings, each with what it tells the room below.
"""

from collections.abc import Sequence
from typing import Final, Literal, Self

from pydantic import SecretStr, model_validator

from harness.errors import UsageError
from harness.resilience import BackoffOptions, RetryOptions
from harness.settings.section import Section
from harness.settings.strategies import HedgingSettings, RetryBudgetSettings
from harness.settings.text import (
    Count,
    HttpUrl,
    Network,
    Path,
    PositiveDuration,
)
from harness.tools import ToolBackendOptions
from harness.upstream import UpstreamOptions
from harness.webhooks import (
    EgressPolicy,
    Endpoint,
    ReceiverOptions,
    RetrySchedule,
    Secret,
    SenderOptions,
    WebhookFormat,
    is_loopback,
    loopback_of,
)

DEFAULT_ENDPOINT: Final = "default"
"""Name of the endpoint that ``webhook.url`` stands for."""

NO_API_KEY: Final = "unset"
"""Sent where no key was given; it is no secret."""


class UpstreamSettings(Section):
    """
    The model API and how it is asked.
    """

    base_url: HttpUrl = "http://127.0.0.1:4010/v1"
    """Base URL, ``/v1`` included."""

    api_key: SecretStr = SecretStr(NO_API_KEY)
    """Bearer token."""

    retry_enabled: bool = True
    """False makes one attempt per request."""

    attempts_max: Count = 3
    """Attempts per request, the first one included."""

    attempt_timeout: PositiveDuration = 30.0
    """For one attempt, its whole answer included."""

    total_timeout: PositiveDuration = 120.0
    """For a whole chat: all requests, waits and tools."""

    backoff_base: PositiveDuration = 0.5
    """Upper bound of the delay before the first retry; it doubles from there."""

    backoff_max: PositiveDuration = 8.0
    """No backoff is longer, unless the peer asks for it."""

    retry_budget: RetryBudgetSettings = RetryBudgetSettings()
    """What keeps retries from making an outage worse."""

    hedging: HedgingSettings = HedgingSettings()
    """Second attempts beside slow ones."""

    connections_max: Count = 200
    """Connections to the model API at once."""

    kept_alive_max: Count = 100
    """Idle connections that are kept to be used again."""

    keep_alive: PositiveDuration = 15.0
    """How long an idle connection is kept."""

    def options(self) -> UpstreamOptions:
        """
        Return what the client of the model API is told.
        """
        return UpstreamOptions(
            base_url=self.base_url, api_key=self.api_key.get_secret_value()
        )

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        # A default gives way to what was asked for; two wishes have to fit.
        wrong = [
            f"{longer} is longer than {shorter}"
            for longer, shorter in (
                ("attempt_timeout", "total_timeout"),
                ("backoff_base", "backoff_max"),
            )
            if {longer, shorter} <= self.model_fields_set
            and getattr(self, longer) > getattr(self, shorter)
        ]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def retry_options(self) -> RetryOptions | None:
        """
        Return how attempts are repeated; None for never.
        """
        if not self.retry_enabled:
            return None
        return RetryOptions(
            attempts_max=self.attempts_max,
            backoff=BackoffOptions(
                base_s=self.backoff_base, max_s=max(self.backoff_max, self.backoff_base)
            ),
            budget=self.retry_budget.options(),
        )


class ToolSettings(Section):
    """
    The tools and the loop around them.
    """

    base_url: HttpUrl | None = None
    """The tool backend, asked at ``{base_url}/tools/{name}``; None answers from samples."""

    turns_max: Count = 8
    """Requests to the model within one chat."""

    parallel: bool = True
    """Whether the tool calls of one turn run at the same time."""

    timeout: PositiveDuration = 10.0
    """For one execution that is not deferred."""

    pending_timeout: PositiveDuration = 60.0
    """How long a deferred tool has for its result."""

    def backend_options(self) -> ToolBackendOptions:
        """
        Return what the client of the tool backend is told.
        """
        return ToolBackendOptions(timeout_s=self.timeout)


class WebhookSettings(Section):
    """
    Webhooks out and in.
    """

    url: HttpUrl | None = None
    """Where ``function_call.*`` and ``chat.*`` go; None sends none."""

    secret: SecretStr | None = None
    """Signing secret ``whsec_…``, for both directions."""

    format: Literal["standard", "article"] = "standard"
    """``article`` sends and accepts the article's shape, which can be replayed for ever."""

    attempts_max: Count = 3
    """Attempts per delivery, the first one included."""

    timeout: PositiveDuration = 10.0
    """For one whole exchange."""

    backoff_base: PositiveDuration = 1.0
    """Delay before the first retry; it doubles from there."""

    backoff_max: PositiveDuration = 3600.0
    """No delay is longer, unless the peer asks for it."""

    in_flight_max: Count = 64
    """Deliveries being sent at once."""

    receive_path: Path = "/webhook/callback"
    """Where results of deferred tools come in."""

    tolerance: PositiveDuration = 300.0
    """How far the timestamp of an incoming webhook may be off, both ways."""

    allow_private: tuple[Network, ...] | None = None
    """Private networks that may be dialled, like ``127.0.0.0/8``; without a list a service
    that listens on loopback dials the loopback address that ``url`` itself names."""

    def secrets(self) -> tuple[Secret, ...]:
        """
        Return the signing secrets, for both directions.

        Raises:
            UsageError: The secret is none.
        """
        if self.secret is None:
            return ()
        text = self.secret.get_secret_value()
        try:
            if self.format == "article" and not text.startswith("whsec_"):
                return (Secret.plain(text),)
            return (Secret.parse(text),)
        except UsageError as error:
            message = f"webhook.secret (WEBHOOK_SECRET): {error}"
            raise UsageError(message) from error

    def endpoints(self) -> dict[str, Endpoint]:
        """
        Return where webhooks go, by name; nowhere without a URL.

        Raises:
            UsageError: There is a URL and no usable secret to sign with.
        """
        if self.url is None:
            return {}
        if self.secret is None:
            message = "webhook.secret (WEBHOOK_SECRET): needed to sign what goes to webhook.url"
            raise UsageError(message)
        endpoint = Endpoint(
            name=DEFAULT_ENDPOINT,
            url=self.url,
            secrets=self.secrets(),
            body_format=WebhookFormat(self.format),
        )
        return {endpoint.name: endpoint}

    def schedule(self) -> RetrySchedule:
        """
        Return the waits between the attempts of a delivery.
        """
        return RetrySchedule.doubling(
            attempts_max=self.attempts_max,
            first_delay_s=self.backoff_base,
            delay_max_s=self.backoff_max,
        )

    def egress_policy(self, *, bound_host: str) -> EgressPolicy:
        """
        Return which addresses may be dialled.

        Args:
            bound_host: The address that the service listens on.
        """
        networks: Sequence[str] = self.allow_private or ()
        if self.allow_private is None and self.url and is_loopback(bound_host):
            # Whoever runs both on one machine has said so twice; nobody else can.
            networks = loopback_of(self.url)
        return EgressPolicy.parse(networks)

    def sender_options(self) -> SenderOptions:
        """
        Return what the sender is told.
        """
        return SenderOptions(
            attempt_timeout_s=self.timeout, in_flight_max=self.in_flight_max
        )

    def receiver_options(self) -> ReceiverOptions:
        """
        Return what the receiver is told.
        """
        return ReceiverOptions(
            tolerance_s=self.tolerance, body_format=WebhookFormat(self.format)
        )


class LimitSettings(Section):
    """
    How much the service takes on; beyond it answers 413, 422, 429 or 503.
    """

    chats_max: Count = 10_000
    """Chats of waiting callers at once."""

    async_chats_max: Count = 1_000
    """Asynchronous chats being worked on at once."""

    body_bytes_max: Count = 1_048_576
    """Size of a request body."""

    message_chars_max: Count = 32_768
    """Length of a user's message."""

    tool_calls_max: Count = 32
    """Tool calls in one turn."""

    arguments_bytes_max: Count = 65_536
    """Size of the arguments of one tool call."""

    result_bytes_max: Count = 262_144
    """Size of the result of one tool call."""

    session_messages_max: Count = 64
    """Messages of a session that are remembered."""

    event_streams_max: Count = 32
    """Listeners of ``GET /events`` at once."""

    grace: PositiveDuration = 10.0
    """How long an orderly shutdown waits for what is in flight."""
