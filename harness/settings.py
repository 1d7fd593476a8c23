"""
What the reference service can be told, in the shape of its YAML.

Durations and rates are text with units in files and plain seconds in the fields.
A value that makes no sense and a key that does not exist are refused, all mistakes
at once. Secrets never show in a representation, a dump or an error.
"""

import ipaddress
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    SecretStr,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
)

from harness.errors import UsageError
from harness.units import parse_duration_s, parse_rate_per_s

_ALREADY_PARSED: Final = {"already_parsed": True}
"""Validation context in which seconds may come as numbers: they were parsed before."""

_SYSTEM_PROMPT: Final = (
    "You are a helpful assistant. Use the tools when they help to answer; "
    "when a tool reports an error, say what could not be done."
)


def _is_parsed(value: object, info: ValidationInfo) -> bool:
    return info.context == _ALREADY_PARSED and isinstance(value, float)


def _to_seconds(value: object, info: ValidationInfo) -> object:
    return value if _is_parsed(value, info) else parse_duration_s(value)


def _to_rate(value: object, info: ValidationInfo) -> object:
    return value if _is_parsed(value, info) else parse_rate_per_s(value)


def _as_text(value: float) -> str:
    return f"{value:.9f}".rstrip("0").rstrip(".")


def _check_network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        message = f"{text!r} is no network: write one like 127.0.0.0/8"
        raise ValueError(message) from error


def _check_http_url(text: str) -> str:
    scheme, separator, rest = text.partition("://")
    if scheme not in {"http", "https"} or not separator or not rest.strip("/"):
        message = f"{text!r} is no URL: write one like http://127.0.0.1:4010"
        raise ValueError(message)
    return text.rstrip("/")


def _check_path(text: str) -> str:
    if not text.startswith("/"):
        message = f"{text!r} is no path: it starts with /"
        raise ValueError(message)
    return text


Duration = Annotated[
    float,
    BeforeValidator(_to_seconds),
    PlainSerializer(lambda value: f"{_as_text(value)}s", when_used="json"),
    WithJsonSchema(
        {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*(us|µs|ms|s|m|min|h|d)\s*$"}
    ),
]
"""Seconds; written with a unit, like ``250ms``."""

PositiveDuration = Annotated[Duration, Field(gt=0)]

Rate = Annotated[
    float,
    BeforeValidator(_to_rate),
    Field(gt=0),
    PlainSerializer(lambda value: f"{_as_text(value)}/s", when_used="json"),
    WithJsonSchema(
        {"type": "string", "pattern": r"^\s*\d+(\.\d+)?\s*/\s*(us|ms|s|m|min|h|d)\s*$"}
    ),
]
"""Events per second; written per unit of time, like ``600/min``."""

HttpUrl = Annotated[str, AfterValidator(_check_http_url)]
Count = Annotated[int, Field(ge=1)]


class _Section(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
        hide_input_in_errors=True,
    )


class BreakerSettings(_Section):
    """
    When a circuit opens, and how it closes again.
    """

    enabled: bool = True
    """False lets every call through."""

    failure_threshold: Count = 5
    """So many failures in a row open the circuit."""

    break_duration: PositiveDuration = 30.0
    """How long an open circuit refuses before it lets a probe through."""

    probes_max: Count = 3
    """Probes under way at once while half-open."""

    successes_to_close: Count = 3
    """So many successful probes close the circuit."""


class RateLimitSettings(_Section):
    """
    How fast the model API may be asked.
    """

    enabled: bool = True
    """False asks as fast as chats come in."""

    rate: Rate = 100.0
    """Attempts per second in the long run."""

    burst: Count = 200
    """Attempts that may be made at once."""

    wait_max: Duration = 30.0
    """Longest wait for a permit; a longer one is refused at once."""


class UpstreamSettings(_Section):
    """
    The model API and how it is asked.
    """

    base_url: HttpUrl = "http://127.0.0.1:4010/v1"
    """Base URL, ``/v1`` included."""

    api_key: SecretStr = SecretStr("unset")
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

    connections_max: Count = 200
    """Connections to the model API at once."""

    keep_alive: PositiveDuration = 15.0
    """How long an idle connection is kept."""


class ToolSettings(_Section):
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


class WebhookSettings(_Section):
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

    receive_path: Annotated[str, AfterValidator(_check_path)] = "/webhook/callback"
    """Where results of deferred tools come in."""

    tolerance: PositiveDuration = 300.0
    """How far the timestamp of an incoming webhook may be off, both ways."""

    allow_private: tuple[Annotated[str, AfterValidator(_check_network)], ...] = ()
    """Private networks that may be dialled, like ``127.0.0.0/8``."""


class LimitSettings(_Section):
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


class ServiceSettings(_Section):
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
    rate_limit: RateLimitSettings = RateLimitSettings()
    upstream: UpstreamSettings = UpstreamSettings()
    tools: ToolSettings = ToolSettings()
    webhook: WebhookSettings = WebhookSettings()
    limits: LimitSettings = LimitSettings()

    @property
    def store_url(self) -> str:
        """
        The store's URL, the default one where none was given.
        """
        return self.store or f"sqlite:///{self.data_dir.rstrip('/')}/service.sqlite"

    def with_values(self, values: Mapping[str, Any]) -> Self:
        """
        Return these settings with some values replaced, sections merged.

        Raises:
            pydantic.ValidationError: The values do not fit.
        """
        merged = _merge(self.model_dump(exclude_unset=True), values)
        return type(self).model_validate(merged, context=_ALREADY_PARSED)

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
            return (base or cls()).with_values(values)
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
