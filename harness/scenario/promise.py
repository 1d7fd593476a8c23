"""
What a service promises, part by part.

A part that is null is not promised, and nothing of it is judged. The reference
service promises what its settings say.
"""

from typing import Annotated, Any

from pydantic import Field

from harness.resilience import RetryBudgetOptions
from harness.scenario.base import ScenarioModel
from harness.settings import Count, PositiveDuration, Rate, ServiceSettings


class ChatPromise(ScenarioModel):
    """
    How the service is asked.
    """

    path: str = "/chat"
    body: dict[str, Any] = Field(
        default_factory=lambda: {"message": "{message}", "user_id": "{user}"}
    )
    """The JSON body; ``{message}`` and ``{user}`` are filled in."""

    answer: str = "response"
    """Where the answer's text stands in the body."""

    is_async: bool = Field(default=True, alias="async")
    """Whether ``Prefer: respond-async`` is understood."""

    idempotency: bool = True
    """Whether ``Idempotency-Key`` is understood."""


class RetryBudgetPromise(ScenarioModel):
    """
    How far retries may multiply the traffic, in any window.
    """

    share: Annotated[float, Field(ge=0)] = 0.2
    """Retries per request."""

    reserve: Rate = 3.0
    """Retries that are there even without requests."""

    window: PositiveDuration = 10.0
    """What is earned and spent counts for so long."""


class UpstreamPromise(ScenarioModel):
    """
    How patiently the model API is asked.
    """

    attempts_max: Count | None = None
    attempt_timeout: PositiveDuration | None = None
    total_timeout: PositiveDuration | None = None
    backoff_base: PositiveDuration | None = None
    backoff_max: PositiveDuration | None = None
    retry_after_max: PositiveDuration | None = None
    """Who asks for a longer wait is not asked again; null promises nothing of it."""

    retry_budget: RetryBudgetPromise | None = None
    """Null promises no budget: all that bounds retries is their number."""


class BreakerPromise(ScenarioModel):
    """
    When nothing more is asked of a model API that fails.
    """

    failure_threshold: Count = 5
    break_duration: PositiveDuration = 30.0
    probes_max: Count = 3
    successes_to_close: Count = 3


class RateLimitPromise(ScenarioModel):
    """
    How fast the model API is asked at most.
    """

    rate: Rate = 100.0
    burst: Count = 200


class ToolsPromise(ScenarioModel):
    """
    Which tools there are and how they are run.
    """

    names: tuple[str, ...] = ()
    deferred: str | None = None
    turns_max: Count | None = None
    parallel: bool = True
    pending_timeout: PositiveDuration | None = None


class WebhookPromise(ScenarioModel):
    """
    How results are delivered.
    """

    format: str = "standard"
    attempts_max: Count | None = None
    timeout: PositiveDuration | None = None
    backoff_base: PositiveDuration | None = None
    backoff_max: PositiveDuration | None = None
    receive_path: str = "/webhook/callback"


class Promise(ScenarioModel):
    """
    What is judged.
    """

    chat: ChatPromise | None = ChatPromise()
    upstream: UpstreamPromise | None = None
    breaker: BreakerPromise | None = None
    rate_limit: RateLimitPromise | None = None
    tools: ToolsPromise | None = None
    webhook: WebhookPromise | None = None

    @property
    def named(self) -> frozenset[str]:
        """
        The parts that were named: these must be seen to hold, not only not to break.
        """
        return frozenset(
            name for name in self.model_fields_set if getattr(self, name) is not None
        )


_PARTS: dict[str, type[ScenarioModel]] = {
    "upstream": UpstreamPromise,
    "breaker": BreakerPromise,
    "rate_limit": RateLimitPromise,
    "tools": ToolsPromise,
    "webhook": WebhookPromise,
}


def promise_of_settings(
    settings: ServiceSettings, *, named: Promise | None = None
) -> Promise:
    """
    Return what the reference service promises with these settings.

    Args:
        settings: The settings; a strategy that is switched off is not promised.
        named: What a scenario names. A named part is promised whatever the settings
            say, with the values of the settings where it gives none.
    """
    named = named or Promise()
    parts: dict[str, Any] = {"chat": named.chat}
    for name, model in _PARTS.items():
        section = getattr(settings, name)
        values = {
            field: getattr(section, field)
            for field in model.model_fields
            if hasattr(section, field)
        }
        if name == "tools":
            values |= {
                "names": ("get_weather", "query_order"),
                "deferred": "approve_refund",
            }
        if name == "upstream":
            values |= _promise_of_retries(settings)
        part = getattr(named, name)
        if name in named.model_fields_set:
            given = {
                field: getattr(part, field)
                for field in (() if part is None else part.model_fields_set)
            }
            parts[name] = part and model.model_construct(**values | given)
        else:
            is_on = getattr(section, "enabled", True)
            parts[name] = model.model_construct(**values) if is_on else None
    return Promise.model_construct(_fields_set=set(named.model_fields_set), **parts)


def _promise_of_retries(settings: ServiceSettings) -> dict[str, Any]:
    retry = settings.upstream.retry_options()
    if retry is None:
        return {"attempts_max": 1, "retry_budget": None}
    budget: RetryBudgetPromise | None = None
    match retry.budget:
        case RetryBudgetOptions(share=share, reserve_per_s=rate, window_s=window_s):
            budget = RetryBudgetPromise.model_construct(
                share=share, reserve=rate, window=window_s
            )
    return {"retry_budget": budget, "retry_after_max": retry.retry_after_max_s}
