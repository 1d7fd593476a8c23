"""
A script: what the outside of a service does, surface by surface.
"""

from typing import Self

from pydantic import Field, model_validator

from mock_server.script.base import Json, OneOrMoreNumbers, ScriptModel
from mock_server.script.batch_script import BatchScript
from mock_server.script.fault_script import (
    ToolFault,
    UpstreamFault,
    WebhookEmitterFault,
    WebhookEndpointFault,
)
from mock_server.script.latency_script import LatencyScript, LatencyValue
from mock_server.script.quota_script import QuotasScript
from mock_server.script.rule import Rule
from mock_server.units import Duration

_DEFAULT_MODELS = ("gpt-4o", "gpt-4o-mini", "gpt-4.1", "gpt-4.1-mini", "gpt-5")


class BackgroundScript(ScriptModel):
    """
    How background responses are worked off.
    """

    queue_s: Duration = Field(default=0.0, alias="queue")
    """How long a response is queued before it is in progress.

    After that it takes as long as its stream would.
    """


class ThreadScript(ScriptModel):
    """
    How runs of threads are polled.
    """

    poll_after_s: Duration = Field(default=0.1, alias="poll_after")
    """When a poller is told to come back: the header ``openai-poll-after-ms``."""


class UpstreamScript(ScriptModel):
    """
    What the model API does.
    """

    script: list[Rule] = Field(default_factory=list)
    """First match wins. Without any rule every reply is as ``auto`` makes it."""

    models: list[str] | None = None
    """Which models exist; by default every model that is asked for."""

    api_keys: list[str] | None = None
    """Which keys are accepted; by default any."""

    strict: bool = True
    """Requests are validated as the real API does it; false loosens it."""

    background: BackgroundScript = Field(default_factory=BackgroundScript.empty)
    quotas: QuotasScript = Field(default_factory=QuotasScript.empty)
    """How much an API key may ask for; by default as much as it likes."""

    batches: BatchScript = Field(default_factory=BatchScript.empty)
    threads: ThreadScript = Field(default_factory=ThreadScript.empty)

    latency: LatencyScript = Field(default_factory=LatencyScript.empty)
    faults: list[UpstreamFault] = Field(default_factory=list)

    @property
    def listed_models(self) -> tuple[str, ...]:
        """
        What ``GET /v1/models`` names.
        """
        return tuple(self.models) if self.models is not None else _DEFAULT_MODELS


class ToolErrorScript(ScriptModel):
    """
    Why a tool failed.
    """

    code: str = "tool_failed"
    message: str = "The tool failed."


class ToolReplyScript(ScriptModel):
    """
    What a tool answers.
    """

    result: Json = None
    """The result; texts in it may be templates over ``arguments``."""

    status: int = Field(default=200, ge=200, le=599)
    error: ToolErrorScript | None = None
    """A deferred tool reports it by webhook; any other answers with ``status`` 500."""

    deferred: bool = False
    """Answers 202; the result comes by webhook."""

    resolve_after_s: Duration = Field(default=0.1, alias="resolve_after")
    """How long after the 202 a deferred tool's webhook is sent."""


class ToolMatch(ScriptModel):
    """
    Which executions a tool's rule is for.
    """

    arguments: dict[str, Json] = Field(default_factory=dict)
    """Values that the arguments must hold; dots reach inside."""

    execution: OneOrMoreNumbers | None = None
    """The nth execution under one idempotency key, from 1."""


class ToolRule(ToolReplyScript):
    """
    A tool's answer to some executions; the first whose match holds is given.
    """

    match: ToolMatch = Field(default_factory=ToolMatch.empty)


class ToolScript(ToolReplyScript):
    """
    What a tool of the tool backend does.
    """

    script: list[ToolRule] = Field(default_factory=list)
    """Tried first; what is beside it is the answer when none matches."""

    latency: LatencyValue | None = None
    faults: list[ToolFault] = Field(default_factory=list)


class WebhookReplyScript(ScriptModel):
    """
    How a webhook endpoint acknowledges.
    """

    status: int = Field(default=200, ge=200, le=599)
    headers: dict[str, str] = Field(default_factory=dict)
    body: Json = None


class WebhookMatch(ScriptModel):
    """
    Which deliveries a rule of a webhook endpoint is for.
    """

    type: str | None = None
    """The event type; ``*`` stands for anything."""

    attempt: OneOrMoreNumbers | None = None
    """The nth attempt of the message, from 1."""


class WebhookRule(ScriptModel):
    """
    The first rule whose match holds gives the acknowledgement.
    """

    match: WebhookMatch = Field(default_factory=WebhookMatch.empty)
    reply: WebhookReplyScript


class NamedEndpointScript(ScriptModel):
    """
    What one webhook endpoint does.
    """

    script: list[WebhookRule] = Field(default_factory=list)
    reply: WebhookReplyScript = Field(default_factory=WebhookReplyScript.empty)
    """The acknowledgement when no rule matches."""

    latency: LatencyValue | None = None
    faults: list[WebhookEndpointFault] = Field(default_factory=list)


class WebhookEndpointScript(NamedEndpointScript):
    """
    What the endpoints do that receive the service's webhooks.
    """

    tolerance_s: Duration = Field(default=300.0, alias="tolerance")
    """How far a timestamp may be from the mock's clock to be called verified."""

    endpoints: dict[str, NamedEndpointScript] = Field(default_factory=dict)
    """Endpoints that differ, by name; each replaces everything said beside it."""


class WebhookEmitterScript(ScriptModel):
    """
    How the mock sends webhooks to the service.
    """

    latency: LatencyValue | None = None
    attempts_max: int = Field(default=5, ge=1, le=100)
    timeout_s: Duration = Field(default=10.0, alias="timeout", gt=0)
    backoff_base_s: Duration = Field(default=0.5, alias="backoff_base")
    backoff_max_s: Duration = Field(default=30.0, alias="backoff_max")
    faults: list[WebhookEmitterFault] = Field(default_factory=list)


class MockScript(ScriptModel):
    """
    What everything outside the service does.
    """

    upstream: UpstreamScript = Field(default_factory=UpstreamScript.empty)
    tools: dict[str, ToolScript] = Field(default_factory=dict)
    webhook_endpoint: WebhookEndpointScript = Field(
        default_factory=WebhookEndpointScript.empty
    )
    webhook_emitter: WebhookEmitterScript = Field(
        default_factory=WebhookEmitterScript.empty
    )

    @model_validator(mode="after")
    def _check_tool_names(self) -> Self:
        for name in self.tools:
            if not name or "/" in name:
                message = f"{name!r} is no tool name"
                raise ValueError(message)
        return self
