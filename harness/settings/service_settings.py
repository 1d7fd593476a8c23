"""
Everything the reference service can be told, and where it may be told.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from harness.errors import EgressDeniedError, UsageError
from harness.orchestrator import OrchestratorOptions
from harness.resilience import PipelineOptions
from harness.settings.section import Section
from harness.settings.sections import (
    NO_API_KEY,
    LimitSettings,
    ToolSettings,
    UpstreamSettings,
    WebhookSettings,
)
from harness.settings.strategies import (
    BreakerSettings,
    ConcurrencySettings,
    RateLimitSettings,
)
from harness.settings.text import ALREADY_PARSED, PositiveDuration
from harness.stores import Durability, StoreOptions
from harness.webhooks import is_loopback

_SYSTEM_PROMPT: Final = (
    "You are a helpful assistant. Use the tools when they help to answer; "
    "when a tool reports an error, say what could not be done."
)


class ServiceSettings(Section):
    """
    Everything the reference service can be told.
    """

    host: str = "127.0.0.1"
    """Address to listen on."""

    port: Annotated[int, Field(ge=0, le=65_535)] = 8000
    """Port to listen on; 0 takes a free one."""

    store: str | None = None
    """``sqlite:///PATH`` or ``redis://…``; None is ``service.sqlite`` under ``data_dir``."""

    data_dir: str = "data"
    """Where the service keeps its files."""

    durability: Literal["full", "process"] = "full"
    """``full`` survives a power cut, ``process`` only the death of the process."""

    retention: PositiveDuration = 3600.0
    """How long results are kept after their delivery ended."""

    admin_token: SecretStr | None = None
    """Bearer token for everything but chats, callbacks, the receiver and health."""

    model: Annotated[str, Field(min_length=1)] = "gpt-4o"
    """The model, unless a chat names another."""

    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    """Sent with every request to the model."""

    system_prompt: str = _SYSTEM_PROMPT
    """First message of every conversation."""

    breaker: BreakerSettings = BreakerSettings()
    concurrency: ConcurrencySettings = ConcurrencySettings()
    rate_limit: RateLimitSettings = RateLimitSettings()
    upstream: UpstreamSettings = UpstreamSettings()
    tools: ToolSettings = ToolSettings()
    webhook: WebhookSettings = WebhookSettings()
    limits: LimitSettings = LimitSettings()

    @field_validator("concurrency")
    @classmethod
    def _lets_probes_through(
        cls, value: ConcurrencySettings, info: ValidationInfo
    ) -> ConcurrencySettings:
        # A field's own check, so that it is told beside the mistakes of other sections.
        breaker = info.data.get("breaker")
        if not isinstance(breaker, BreakerSettings) or not breaker.enabled:
            return value
        if value.enabled and value.requests_max < breaker.probes_max:
            message = (
                f"requests_max {value.requests_max} is less than breaker.probes_max "
                f"{breaker.probes_max}"
            )
            raise ValueError(message)
        return value

    @property
    def store_url(self) -> str:
        """
        The store's URL, the default one where none was given.
        """
        return self.store or f"sqlite:///{self.data_dir.rstrip('/')}/service.sqlite"

    def pipeline_options(self) -> PipelineOptions:
        """
        Return what stands between the service and a model.
        """
        total_s = self.upstream.total_timeout
        attempt_s = min(self.upstream.attempt_timeout, total_s)
        return PipelineOptions(
            total_timeout_s=total_s,
            retry=self.upstream.retry_options(),
            hedging=self.upstream.hedging.options(),
            circuit_breaker=self.breaker.options(attempt_timeout_s=attempt_s),
            adaptive_limiter=self.concurrency.adaptive_options(
                attempt_timeout_s=attempt_s
            ),
            bulkhead=self.concurrency.bulkhead_options(),
            rate_limiter=self.rate_limit.options(),
            attempt_timeout_s=attempt_s,
        )

    def orchestrator_options(self) -> OrchestratorOptions:
        """
        Return how chats are run, and how many.
        """
        return OrchestratorOptions(
            model=self.model,
            temperature=self.temperature,
            system_prompt=self.system_prompt,
            total_timeout_s=self.upstream.total_timeout,
            turns_max=self.tools.turns_max,
            parallel=self.tools.parallel,
            tool_calls_max=self.limits.tool_calls_max,
            arguments_bytes_max=self.limits.arguments_bytes_max,
            pending_timeout_s=self.tools.pending_timeout,
            session_messages_max=self.limits.session_messages_max,
            chats_max=self.limits.chats_max,
            async_chats_max=self.limits.async_chats_max,
        )

    def store_options(self) -> StoreOptions:
        """
        Return what the store promises and how long it keeps things.
        """
        durability = (
            Durability.POWER_LOSS if self.durability == "full" else Durability.PROCESS
        )
        return StoreOptions(durability=durability, result_keep_s=self.retention)

    def doubts(self) -> tuple[str, ...]:
        """
        Return what is allowed and hardly meant, in sentences for the log.
        """
        doubts = []
        if self.admin_token is None and not is_loopback(self.host):
            doubts.append(
                f"{self.host} is reachable from elsewhere, and without admin_token"
                " (ADMIN_TOKEN) operators are refused altogether"
            )
        if self.webhook.url is not None:
            try:
                policy = self.webhook.egress_policy(bound_host=self.host)
                policy.check_url(self.webhook.url)
            except EgressDeniedError as error:
                doubts.append(
                    f"no webhook will be delivered: {error}; webhook.allow_private"
                    " (WEBHOOK_ALLOW_PRIVATE) allows networks like 10.0.0.0/8"
                )
        return tuple(doubts)

    def secret_texts(self) -> tuple[str, ...]:
        """
        Return every secret as it was given, for those who must keep it out of sight.
        """
        known = (self.upstream.api_key, self.webhook.secret, self.admin_token)
        texts = (secret.get_secret_value() for secret in known if secret is not None)
        return tuple(text for text in texts if text != NO_API_KEY)

    def replaced(self, values: Mapping[str, Any]) -> Self:
        """
        Return these settings with some values replaced, sections merged.

        Raises:
            pydantic.ValidationError: The values do not fit.
        """
        merged = _merge(self.model_dump(exclude_unset=True), values)
        return type(self).model_validate(merged, context=ALREADY_PARSED)

    @classmethod
    def from_environment(
        cls, environ: Mapping[str, str], base: "ServiceSettings | None" = None
    ) -> "ServiceSettings":
        """
        Return ``base``, or the defaults, with what the environment says put over it.

        Raises:
            UsageError: Variables that make no sense, all of them.
        """
        values: dict[str, Any] = {}
        for variable, path in ENVIRONMENT.items():
            if text := environ.get(variable):
                _put(values, path, _READ.get(path, str)(text))
        try:
            return (base or cls()).replaced(values)
        except ValidationError as error:
            raise UsageError(_explain(error)) from None


ENVIRONMENT: Final[Mapping[str, tuple[str, ...]]] = {
    "HOST": ("host",),
    "PORT": ("port",),
    "DATA_DIR": ("data_dir",),
    "STORE_URL": ("store",),
    "ADMIN_TOKEN": ("admin_token",),
    "OPENAI_BASE_URL": ("upstream", "base_url"),
    "OPENAI_API_KEY": ("upstream", "api_key"),
    "OPENAI_MODEL": ("model",),
    "TOOLS_BASE_URL": ("tools", "base_url"),
    "WEBHOOK_URL": ("webhook", "url"),
    "WEBHOOK_SECRET": ("webhook", "secret"),
    "WEBHOOK_ALLOW_PRIVATE": ("webhook", "allow_private"),
}
"""The variables that are read, and the setting each of them puts."""

_READ: Final[Mapping[tuple[str, ...], Any]] = {
    ("webhook", "allow_private"): lambda text: text.replace(",", " ").split(),
}


def _merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        known = merged.get(name)
        if isinstance(known, Mapping) and isinstance(value, Mapping):
            merged[name] = _merge(known, value)
        else:
            merged[name] = value
    return merged


def _put(values: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    for part in path[:-1]:
        values = values.setdefault(part, {})
    values[path[-1]] = value


def _explain(error: ValidationError) -> str:
    variables = {path: variable for variable, path in ENVIRONMENT.items()}
    lines = []
    for detail in error.errors(include_url=False, include_input=False):
        path = tuple(str(part) for part in detail["loc"])
        name = next(
            (variables[path[:n]] for n in (1, 2) if path[:n] in variables),
            ".".join(path),
        )
        message = detail["msg"].removeprefix("Value error, ")
        lines.append(f"{name}: {message[:1].lower()}{message[1:]}")
    return "\n".join(lines)
